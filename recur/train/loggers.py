"""Logging of metrics to TensorBoard and to Weights & Biases."""

from __future__ import annotations

import os
import pathlib
import socket
import struct
import time
from collections.abc import Mapping
from typing import Any

import numpy as np

from recur.checks import check_whole
from recur.train.loop import Report, is_complete

_EVENTS = "events.out.tfevents"  # how the names of files begin


class TensorBoard:
    """A callback for `fit` that logs the metrics of each report to TensorBoard, by tensorboardX.

    View them by `tensorboard --logdir folder`. Metrics with axes, such as those of an ensemble, are
    logged by their indices: `loss/0`, `loss/1`. Each report is written at once.

    Args:
      folder: the folder of the run; it is created if it does not exist.
      step: the number of updates done, when a run resumes. TensorBoard hides the values of later
        steps, written before the run was killed. By default the run is new.

    Raises:
      ImportError: if tensorboardX is not installed.
      ValueError: if the folder has files of events and no step is given, or step is not a whole
        number.

    Example:
      >>> import pathlib, tempfile
      >>> from recur.train import Report, TensorBoard
      >>> folder = pathlib.Path(tempfile.mkdtemp()) / "gru"
      >>> log = TensorBoard(folder)
      >>> log(Report(10, 0, None, {"loss": 2.5}))
      >>> [path.name.split(".")[:3] for path in folder.iterdir()]
      [['events', 'out', 'tfevents']]
    """

    def __init__(self, folder: str | os.PathLike, step: int | None = None):
        try:
            from tensorboardX.proto import event_pb2
            from tensorboardX.record_writer import masked_crc32c
        except ImportError as error:
            raise ImportError(
                "TensorBoard needs tensorboardX: pip install tensorboardX."
            ) from error
        events: Any = event_pb2  # whose names are made when it is imported
        self._event, self._checksum = events.Event, masked_crc32c
        folder = pathlib.Path(folder)
        first = {"file_version": "brain.Event:2"}
        self._waiting: list[dict[str, Any]] = [first]  # events to write before the next one
        if step is not None:
            step = check_whole("TensorBoard: step", step, 0)
            self._waiting.append({"step": step + 1, "session_log": {"status": "START"}})
        files = [*folder.glob(f"{_EVENTS}.*")]
        if files and step is None:
            raise ValueError(
                f"{folder}: expected a folder without events of TensorBoard, got one with some. "
                "Pass step=, the updates done, to resume that run, or name another folder."
            )
        name = f"{_EVENTS}.{int(time.time())}.{socket.gethostname()}.{len(files)}"
        self._path = folder / name  # TensorBoard reads files in the order of their names

    def __call__(self, report: Report) -> None:
        """Writes the metrics, unless there are no new ones or a signal made the report early."""
        if not is_complete(report):
            return
        metrics = _flat(report.metrics).items()
        values = [{"tag": name, "simple_value": value} for name, value in metrics]
        events = [*self._waiting, {"step": report.step, "summary": {"value": values}}]
        self._path.parent.mkdir(parents=True, exist_ok=True)
        with self._path.open("ab") as file:
            for event in events:
                file.write(self._record(self._event(wall_time=time.time(), **event)))
        self._waiting = []

    def _record(self, event: Any) -> bytes:
        """An event in the format TFRecord: length and data, each followed by its checksum."""
        data = event.SerializeToString()
        parts = struct.pack("<Q", len(data)), data
        return b"".join(part + struct.pack("<I", self._checksum(part)) for part in parts)


class WeightsAndBiases:
    """A callback for `fit` that logs the metrics of each report to Weights & Biases.

    Metrics with axes, such as those of an ensemble, are logged by their indices: `loss/0`,
    `loss/1`. When a run resumes, open it again by `wandb.init(id=..., resume="must")`. Steps that
    it has are not logged again: the resumed run computes the same values.

    Args:
      run: from `wandb.init`.

    Raises:
      TypeError: if run has no method `log`.

    Example:
      >>> from recur.train import Report, WeightsAndBiases
      >>> class Run:  # in place of wandb.init(project="gru")
      ...     def log(self, values, step, commit):
      ...         print(step, values)
      >>> WeightsAndBiases(Run())(Report(10, 0, None, {"loss": 2.5}))
      10 {'loss': 2.5}
    """

    def __init__(self, run: Any):
        if not callable(getattr(run, "log", None)):
            raise TypeError(
                "WeightsAndBiases: expected a run, as wandb.init returns it, got "
                f"{type(run).__name__}."
            )
        self._run = run

    def __call__(self, report: Report) -> None:
        """Logs the metrics, unless there are no new ones or a signal made the report early."""
        if is_complete(report) and report.step >= getattr(self._run, "step", 0):
            # Without commit, a step is held until the next one, and lost if the run is killed.
            self._run.log(_flat(report.metrics), step=report.step, commit=True)


def _flat(metrics: Mapping[str, Any]) -> dict[str, float]:
    """Metrics as numbers; each value of an array by its indices, as in `loss/0`."""
    return {
        "/".join([name, *map(str, index)]): float(value)
        for name, array in metrics.items()
        for index, value in np.ndenumerate(array)
    }
