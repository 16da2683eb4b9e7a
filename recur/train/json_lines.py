"""Logging of metrics to a file of JSON lines, one object per report."""

from __future__ import annotations

import json
import os
import pathlib

import numpy as np

from recur.checks import check_whole
from recur.files import replacing
from recur.train.loop import Report, is_complete


class JsonLines:
    """A callback for `fit` that logs the metrics of each report as one line of JSON.

        {"step": 100, "loss": 2.31, "gradient_norm": 0.84}

    Metrics with axes, such as those of an ensemble, are lists. No line depends on the clock, so a
    run that was killed or interrupted and resumed writes the same file as an uninterrupted run.

    Args:
      path: the file; it is created if it does not exist.
      step: the number of updates done, when a run resumes. Later lines, written before the run was
        killed, are removed. By default the run is new.

    Raises:
      ValueError: if the file does not hold such lines, it has lines and no step is given, or step
        is not a whole number.

    Example:
      >>> import pathlib, tempfile
      >>> from recur.train import JsonLines, Report, read_json_lines
      >>> path = pathlib.Path(tempfile.mkdtemp()) / "metrics.jsonl"
      >>> log = JsonLines(path)
      >>> log(Report(10, 0, None, {"loss": 2.5}))
      >>> read_json_lines(path)
      [{'step': 10, 'loss': 2.5}]
    """

    def __init__(self, path: str | os.PathLike, step: int | None = None):
        self._path = pathlib.Path(path)
        if step is not None:
            step = check_whole("JsonLines: step", step, 0)
        lines = _lines_of(self._path) if self._path.exists() else []
        records = _parse(self._path, lines)
        for number, record in enumerate(records, start=1):
            _check_record(self._path, number, record)
        for number, line in enumerate(lines[len(records) :], start=len(records) + 1):
            if not '{"step": '.startswith(line[:9]):  # not a line cut short when the run was killed
                raise _expected_object(self._path, number, line)
        if records and step is None:
            raise ValueError(
                f"{path}: expected a new file, got one with metrics up to update "
                f"{records[-1]['step']}. Pass step=, the updates done, to resume that run, or "
                "name another file."
            )
        kept = [line for line, r in zip(lines, records, strict=False) if r["step"] <= (step or 0)]
        with replacing(self._path) as file:
            file.writelines(f"{line}\n" for line in kept)

    def __call__(self, report: Report) -> None:
        """Writes one line, unless the report has no new metrics or was made early by a signal."""
        if not is_complete(report):
            return
        with self._path.open("a", encoding="utf-8") as file:
            record = {"step": report.step, **report.metrics}
            file.write(json.dumps(record, default=np.ndarray.tolist) + "\n")


def read_json_lines(path: str | os.PathLike) -> list[dict]:
    r"""Reads a file of JSON lines; an incomplete last line, of a killed run, is skipped.

    Args:
      path: the file.

    Returns:
      One dict per line.

    Raises:
      ValueError: if a line before the last is not a JSON object; it names the line.

    Example:
      >>> import pathlib, tempfile
      >>> from recur.train import read_json_lines
      >>> path = pathlib.Path(tempfile.mkdtemp()) / "metrics.jsonl"
      >>> _ = path.write_text('{"step": 10, "loss": 2.5}\n{"step": 20, "lo')
      >>> read_json_lines(path)
      [{'step': 10, 'loss': 2.5}]
    """
    path = pathlib.Path(path)
    return _parse(path, _lines_of(path))


def _lines_of(path: pathlib.Path) -> list[str]:
    try:
        return path.read_text(encoding="utf-8").split("\n")
    except UnicodeDecodeError as error:
        raise ValueError(f"{path}: expected JSON lines in UTF-8, got {error}.") from error


def _parse(path: pathlib.Path, lines: list[str]) -> list[dict]:
    """The records of lines; the text after the last newline is empty, or a line cut short."""
    records = []
    for number, line in enumerate(lines, start=1):
        try:
            record = json.loads(line)
        except (json.JSONDecodeError, RecursionError) as error:
            if number < len(lines):
                raise _expected_object(path, number, line) from error
            continue
        if not isinstance(record, dict):
            raise _expected_object(path, number, line)
        records.append(record)
    return records


def _expected_object(path: pathlib.Path, number: int, line: str) -> ValueError:
    return ValueError(
        f"{path}, line {number}: expected one JSON object a line, got {line[:60]!r}. Correct "
        "or remove the line, or name another file."
    )


def _check_record(path: pathlib.Path, number: int, record: dict) -> None:
    step = record.get("step")
    if not isinstance(step, int):
        raise ValueError(
            f"{path}, line {number}: expected an integer as step, the number of an update, got "
            f"{step!r}. Correct or remove the line, or name another file."
        )
