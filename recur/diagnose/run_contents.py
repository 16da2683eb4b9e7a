"""What the folder of a run holds, read without the script that made it."""

from __future__ import annotations

import json
import os
import pathlib
from typing import Any, NamedTuple

import numpy as np

from recur.diagnose.diagnosis import DIAGNOSIS, Diagnosis
from recur.train import Checkpoints, read_json_lines

_OPTIONS = "options.json"  # a folder with this file is that of a run
_CURVE = "curve.png"  # of metrics, which the report draws itself
_PICTURES = 12  # of the run at most, of at most so many bytes each
_LARGEST_PICTURE = 2_000_000

Lines = dict[str, tuple[list[float], list[float]]]


class RunContents(NamedTuple):
    """The contents of the folder of a run, or of one of its parts.

    Attributes:
      folder: the folder.
      options: the options it was started with.
      metrics: for each metric, the updates and its values, without those that are not finite.
      results: the rows of the results.
      step: the update of the last checkpoint; None if there is none.
      params: its params by path.
      diagnosis: the model on a held-out example, if the run has saved it.
      pictures: other pictures in the folder.
      parts: the parts of the run.
    """

    folder: pathlib.Path
    options: dict[str, Any]
    metrics: Lines
    results: list[dict[str, Any]]
    step: int | None
    params: dict[str, np.ndarray]
    diagnosis: Diagnosis | None
    pictures: list[pathlib.Path]
    parts: list[RunContents]


def read_run(folder: str | os.PathLike) -> RunContents:
    """Reads the folder of a run.

    Args:
      folder: the folder, which nothing is written to.

    Raises:
      ValueError: if it is not the folder of a run, neither it nor its parts have a checkpoint, or a
        file is damaged.
      OSError: if a file cannot be read.
    """
    folder = pathlib.Path(folder)
    if not (folder / _OPTIONS).is_file():
        found = "one without" if folder.is_dir() else "a file" if folder.exists() else "none"
        raise ValueError(
            f"{folder}: expected the folder of a run, with {_OPTIONS} in it, got {found}."
        )
    contents = _read(folder)
    if not any(part.step is not None for part in (contents, *contents.parts)):
        raise ValueError(f"{folder}: expected a run with a checkpoint, got none. Train it longer.")
    return contents


def _read(folder: pathlib.Path) -> RunContents:
    step, params = _read_checkpoint(folder / "checkpoints")
    inside = sorted(path.parent for path in folder.glob(f"*/{_OPTIONS}"))
    pictures = [
        path
        for path in sorted(folder.glob("*.png"))
        if path.name != _CURVE and path.stat().st_size <= _LARGEST_PICTURE
    ]
    log, saved = folder / "metrics.jsonl", folder / DIAGNOSIS
    return RunContents(
        folder,
        _read_json(folder / _OPTIONS, {}),
        _by_metric(read_json_lines(log) if log.exists() else []),
        _read_json(folder / "results.json", []),
        step,
        params,
        Diagnosis.load(saved) if saved.exists() else None,
        pictures[:_PICTURES],
        [_read(path) for path in inside],
    )


def _read_checkpoint(folder: pathlib.Path) -> tuple[int | None, dict[str, np.ndarray]]:
    """The update and the params of the last checkpoint."""
    if not folder.is_dir():  # `Checkpoints` would create it
        return None, {}
    with Checkpoints(folder) as checkpoints:
        steps = checkpoints.steps()
        return (steps[-1], checkpoints.params_by_path()) if steps else (None, {})


def _read_json(path: pathlib.Path, missing: Any) -> Any:
    if not path.exists():
        return missing
    try:
        value = json.loads(path.read_text("utf-8"))
    except ValueError as error:
        raise ValueError(f"{path}: expected JSON, got a damaged file ({error}).") from error
    if type(value) is not type(missing):
        raise ValueError(
            f"{path}: expected JSON of a {type(missing).__name__}, got {type(value).__name__}."
        )
    return value


def _by_metric(records: list[dict[str, Any]]) -> Lines:
    """The curve of each metric; one with axes has a curve for each of its entries."""
    lines: Lines = {}
    for record in records:
        for metric, value in record.items():
            for index, number in _entries(value) if metric != "step" else ():
                name = "/".join([metric, *map(str, index)])
                steps, values = lines.setdefault(name, ([], []))
                steps.append(record["step"])
                values.append(number)
    return lines


def _entries(value: Any) -> list[tuple[tuple[int, ...], float]]:
    """The finite numbers of a metric, with their indices."""
    try:
        array = np.asarray(value, float)
    except (TypeError, ValueError):
        return []
    return [(index, float(x)) for index, x in np.ndenumerate(array) if np.isfinite(x)]
