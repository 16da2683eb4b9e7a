"""Metrics as JSON lines: one object a report, for people, for plots and for other programs."""

from __future__ import annotations

import json
import os
import pathlib

from recur.train.loop import Report


class JsonLines:
    """A callback that writes each report's metrics as one line of JSON.

        {"step": 100, "loss": 2.31, "gradient_norm": 0.84}

    Nothing in a line depends on the clock, so a run that was killed and resumed leaves the file of
    the run that was not.

    Args:
      path: the file; made when it is not there.
      step: how many updates the run has done: lines after it, written by a run that was killed
        before its next checkpoint, are taken out.

    Raises:
      ValueError: when a line that is not the last is no JSON; it names the line.

    Example:
      >>> import pathlib, tempfile
      >>> from recur.train import JsonLines, Report, read_json_lines
      >>> path = pathlib.Path(tempfile.mkdtemp()) / "metrics.jsonl"
      >>> log = JsonLines(path)
      >>> log(Report(10, 0, None, {"loss": 2.5}))
      >>> read_json_lines(path)
      [{'step': 10, 'loss': 2.5}]
    """

    def __init__(self, path: str | os.PathLike, step: int = 0):
        self._path = pathlib.Path(path)
        kept = (
            [r for r in read_json_lines(path) if r["step"] <= step] if self._path.exists() else []
        )
        fresh = self._path.with_name(self._path.name + ".new")  # so that no moment has half a file
        fresh.write_text("".join(json.dumps(record) + "\n" for record in kept), encoding="utf-8")
        fresh.replace(self._path)

    def __call__(self, report: Report) -> None:
        """Writes one line, where there is something new."""
        if report.step == report.since:
            return
        with self._path.open("a", encoding="utf-8") as file:
            file.write(json.dumps({"step": report.step, **report.metrics}) + "\n")


def read_json_lines(path: str | os.PathLike) -> list[dict]:
    r"""The records of a file of JSON lines; a last line cut short by a kill is left out.

    Args:
      path: the file.

    Returns:
      One dict a line.

    Raises:
      ValueError: when a line that is not the last is no JSON; it names the line.

    Example:
      >>> import pathlib, tempfile
      >>> from recur.train import read_json_lines
      >>> path = pathlib.Path(tempfile.mkdtemp()) / "metrics.jsonl"
      >>> _ = path.write_text('{"step": 10, "loss": 2.5}\n{"step": 20, "lo')
      >>> read_json_lines(path)
      [{'step': 10, 'loss': 2.5}]
    """
    records = []
    lines = pathlib.Path(path).read_text(encoding="utf-8").splitlines()
    for number, line in enumerate(lines, start=1):
        try:
            records.append(json.loads(line))
        except json.JSONDecodeError as error:
            if number < len(lines):
                raise ValueError(
                    f"{path}, line {number}: expected one JSON object a line, got {line[:60]!r}. "
                    "Mend or remove the line."
                ) from error
    return records
