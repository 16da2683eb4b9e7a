"""The logged metrics of a run."""

from __future__ import annotations

import pathlib
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from recur.train import Report, TrainState, read_json_lines


def read_records(path: pathlib.Path) -> list[dict[str, Any]]:
    """Reads the metrics of each report; none before the first."""
    return read_json_lines(path) if path.exists() else []


def read_points(path: pathlib.Path, metric: str) -> tuple[list[int], list[float]]:
    """Reads the updates at which a metric was logged, and its values.

    Raises:
      ValueError: if a line has another value than a number; it names the line.
    """
    found = []
    for number, record in enumerate(read_records(path), start=1):
        for name in ("step", metric) if metric in record else ():
            if not _is_number(record.get(name)):
                raise ValueError(
                    f"{path}, line {number}: expected a number as {name}, got "
                    f"{record.get(name)!r:.60}. Correct or remove the line."
                )
        if metric in record:
            found.append((record["step"], record[metric]))
    return [step for step, _ in found], [value for _, value in found]


def has_stopped(
    stop: Callable[[Report], bool],
    state: TrainState,
    records: Sequence[Mapping[str, Any]],
) -> bool:
    """Calls a condition to stop with the earlier reports, and returns its last answer."""
    answer = False
    for record in records:
        metrics = {name: value for name, value in record.items() if name != "step"}
        answer = bool(stop(Report(record["step"], record["step"] - 1, state, metrics)))
    return answer


def _is_number(value: Any) -> bool:
    return isinstance(value, float) or (isinstance(value, int) and abs(value) < 2**63)
