"""Early stopping: the end of a run when a metric no longer improves."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable

from recur.checks import check_number, check_whole
from recur.train.loop import Report, check_one_number


def early_stopping(
    metric: str, patience: int, *, min_delta: float = 0.0, seen: Iterable[float] = ()
) -> Callable[[Report], bool]:
    """Makes a condition for `fit(stop=)`: a metric has not improved for a number of reports.

        best_n = min(best_{n-1}, metric_n)   where it is lower by more than min_delta
        stop   = patience values in a row have not improved best

    Only reports with the metric count, such as those of a validation under `every`. The lower the
    better; of a metric such as the accuracy, report the error instead. NaN is no improvement.

    Args:
      metric: the name of the metric, which the step or a callback reports.
      patience: the number of values without improvement after which the run ends, at least 1.
      min_delta: the smallest decrease that counts as an improvement, at least 0.
      seen: the values reported before a resume, such as those in the log of the run.

    Returns:
      A function of a `Report` that returns whether to stop. It keeps the values it has seen.

    Raises:
      TypeError: if metric is not a string; in the run, if it is not one number.
      ValueError: if patience is not a whole number of at least 1, or min_delta is below 0.

    Example:
      >>> from recur.train import Report, early_stopping
      >>> stop = early_stopping("valid", patience=2)
      >>> [stop(Report(1, 0, None, {"valid": value})) for value in (3.0, 2.0, 2.5, 1.9, 2.0, 1.9)]
      [False, False, False, False, False, True]
    """
    if not isinstance(metric, str):
        raise TypeError(f"early_stopping: metric: expected a name, got {type(metric).__name__}.")
    patience = check_whole("early_stopping: patience", patience, 1)
    min_delta = check_number("early_stopping: min_delta", min_delta)
    if min_delta < 0:
        raise ValueError(f"early_stopping: min_delta: expected at least 0, got {min_delta}.")
    best, since = math.inf, 0

    def is_stalled(value: float) -> bool:
        nonlocal best, since
        if value < best - min_delta:
            best, since = value, 0
        else:
            since += 1
        return since >= patience

    def stop(report: Report) -> bool:
        if metric not in report.metrics:
            return False
        value = report.metrics[metric]
        check_one_number("early_stopping", metric, value)
        return is_stalled(value)

    for value in seen:
        is_stalled(value)
    return stop
