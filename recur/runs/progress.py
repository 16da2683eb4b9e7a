"""A progress bar for `fit`."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any, NamedTuple

import numpy as np

from recur.train import Report


def loss_text(metrics: Mapping[str, Any]) -> str:
    """The loss, or its mean over an ensemble."""
    return f"loss {np.mean(metrics['loss']):.4g}" if "loss" in metrics else ""


class Progress(NamedTuple):
    """What the progress bar of a run shows.

    Attributes:
      unit: the name of what is counted, such as "word".
      per_update: the number of units of one update.
      text: `text(metrics) -> str`, shown after the bar.
    """

    unit: str = "update"
    per_update: int = 1
    text: Callable[[Mapping[str, Any]], str] = loss_text


class ProgressBar:
    """A callback for `fit` that shows a progress bar with the speed and a metric.

    Args:
      progress: what to show.
      steps: the total number of updates.
      done: the number of updates already done.
    """

    def __init__(self, progress: Progress, steps: int, done: int):
        from tqdm import tqdm

        self._progress, self._done = progress, done
        self._bar = tqdm(
            total=steps * progress.per_update,
            initial=done * progress.per_update,
            unit=progress.unit,
            unit_scale=progress.per_update > 1,
            dynamic_ncols=True,
        )

    def __call__(self, report: Report) -> None:
        """Updates the bar."""
        self._bar.set_postfix_str(self._progress.text(report.metrics), False)
        self._bar.update((report.step - self._done) * self._progress.per_update)
        self._done = report.step

    def close(self) -> None:
        """Closes the bar, which stays on the screen."""
        self._bar.close()
