"""Sliding windows over a time series, for forecasting."""

from __future__ import annotations

from typing import Any, NamedTuple

import jax
import numpy as np

from recur.checks import check_whole, describe
from recur.masks import step_count


class Sliding(NamedTuple):
    """N windows of a series, in NumPy."""

    inputs: Any  # [N, steps, ...] each
    targets: Any  # [N, ahead, ...] each, what follows


def sliding(series: Any, steps: int, *, ahead: int = 1, stride: int = 1) -> Sliding:
    """Cuts a series into overlapping windows and what follows each.

        inputs_n = x_{b..b+steps-1},    targets_n = x_{b+steps..b+steps+ahead-1}
        b = b_0 + n stride,    n = 0 ... N - 1

    The last window ends with the series; b_0, less than stride, is what is left over at its start.

    Args:
      series: a pytree of `[T, ...]` arrays.
      steps: how many steps a window reads.
      ahead: how many steps after it are to be forecast.
      stride: how many steps after the previous window the next one begins.

    Returns:
      A `Sliding`; its windows are views of the series, not copies.

    Raises:
      ValueError: if a number is below 1, the arrays of the series differ in length, or it is too
        short for one window and what follows it.

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
            f"sliding: expected a series of arrays [T, ...], got {describe(series)}. A list of "
            "numbers becomes an array with numpy.asarray."
        ) from error
    if count < steps + ahead:
        raise ValueError(
            f"sliding: a window of {steps} steps and the {ahead} after it need a series of "
            f"{steps + ahead} steps, got {count}."
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
