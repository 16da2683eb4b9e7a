"""Sliding windows over a time series, for forecasting."""

from __future__ import annotations

from typing import Any, NamedTuple

import jax
import numpy as np

from recur.checks import check_whole, describe
from recur.masks import step_count


class Sliding(NamedTuple):
    """N windows of a series, in NumPy.

    `make_batches` and `batches` take it as a source of N examples: the windows are the steps, and
    the targets are the labels, `[B, S, ahead, ...]`.

    Attributes:
      inputs: the windows, each `[N, steps, ...]`.
      targets: the steps that follow each window, each `[N, ahead, ...]`.
    """

    inputs: Any
    targets: Any


def sliding(series: Any, steps: int, *, ahead: int = 1, stride: int = 1) -> Sliding:
    """Cuts a time series into overlapping sliding windows and the steps that follow each.

        inputs_n = x_{b..b+steps-1},    targets_n = x_{b+steps..b+steps+ahead-1}
        b = b_0 + n stride,    n = 0 ... N - 1

    The last target ends with the series; the first b_0 < stride steps of the series are unused.

    Args:
      series: a pytree of `[T, ...]` arrays.
      steps: the number of steps of a window.
      ahead: the number of steps after it to forecast.
      stride: the number of steps between the starts of consecutive windows.

    Returns:
      A `Sliding`; its windows are views of the series, not copies.

    Raises:
      ValueError: if a number is below 1, the arrays of the series differ in length, or the series
        is shorter than one window and its targets.

    Example:
      >>> import numpy as np
      >>> from recur.sequences import sliding
      >>> windows = sliding(np.arange(5), steps=2)
      >>> windows.inputs.tolist(), windows.targets.tolist()
      ([[0, 1], [1, 2], [2, 3]], [[2], [3], [4]])
    """
    for name, value in {"steps": steps, "ahead": ahead, "stride": stride}.items():
        check_whole(f"sliding: {name}", value, 1)
    try:
        count = step_count(series)
    except ValueError as error:
        raise ValueError(
            f"sliding: expected a series of arrays [T, ...], got {describe(series)}. Convert a "
            "list of numbers with numpy.asarray."
        ) from error
    if count < steps + ahead:
        raise ValueError(
            f"sliding: expected a series of at least {steps + ahead} steps, for a window of "
            f"{steps} and {ahead} ahead, got {count}."
        )
    begin = (count - steps - ahead) % stride

    def cut(leaf):
        windows = np.lib.stride_tricks.sliding_window_view(np.asarray(leaf), steps + ahead, axis=0)
        return np.moveaxis(windows, -1, 1)[begin::stride]

    windows = jax.tree.map(cut, series)
    return Sliding(
        inputs=jax.tree.map(lambda leaf: leaf[:, :steps], windows),
        targets=jax.tree.map(lambda leaf: leaf[:, steps:], windows),
    )
