"""Regression of each step of a series on the steps before it, with gaps."""

from __future__ import annotations

from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from recur.arrays import as_array
from recur.checks import known_value
from recur.dtypes import as_float
from recur.masks import zero_invalid


def as_series(caller: str, series: Any) -> jax.Array:
    """Converts a series to floats `[T, D]`; gaps are NaN.

    Raises:
      TypeError: if it does not hold real numbers.
      ValueError: if it has another shape, or is known to hold infinity.
    """
    array = as_array(f"{caller}: series", series)
    if not any(jnp.issubdtype(array.dtype, kind) for kind in (jnp.floating, jnp.integer)):
        raise TypeError(f"{caller}: expected a series of real numbers, got {array.dtype}.")
    if array.ndim != 2 or not array.shape[1]:
        raise ValueError(
            f"{caller}: expected a series [T, D], got the shape {list(array.shape)}. Write "
            "series[:, None] for one value per step, and use jax.vmap for many series."
        )
    known = known_value(array)
    if known is not None and len(rows := np.argwhere(np.isinf(known.astype(float)))):
        raise ValueError(
            f"{caller}: expected finite values, or NaN for a gap, got "
            f"{known[tuple(rows[0])]} at step {rows[0][0]}."
        )
    return as_float(array)


def lagged(
    caller: str, series: jax.Array, order: int, *, zeroed: bool = True
) -> tuple[jax.Array, jax.Array, jax.Array]:
    """Returns the p steps before each step, from the last to the first, and the step itself.

    Returns:
      Lags `[N, p D]`, targets `[N, D]` and bool `[N]`, whether neither has a gap, with N = T - p.
      Rows with a gap are zero if `zeroed`.
    """
    count = len(series)
    if count <= order:
        raise ValueError(
            f"{caller}: expected a series of at least {order + 1} steps, for an order of {order}, "
            f"got {count}."
        )
    each = [series[order - k : count - k] for k in range(1, order + 1)]
    lags = jnp.concatenate([series[order:, :0], *each], axis=1)
    targets = series[order:]
    seen = ~jnp.isnan(lags).any(1) & ~jnp.isnan(targets).any(1)
    if zeroed:
        lags, targets = zero_invalid(seen, (lags, targets))
    return lags, targets, seen


def check_complete(caller: str, seen: jax.Array, least: int) -> None:
    """Raises a ValueError if fewer than `least` steps are known to have no gap before them."""
    known = known_value(seen)
    if known is not None and known.sum() < least:
        raise ValueError(
            f"{caller}: expected at least {least} steps without a gap in the steps before them, as "
            f"the coefficients of this order need, got {known.sum()}. Choose a lower order."
        )


def center(values: jax.Array, seen: jax.Array) -> tuple[jax.Array, jax.Array, jax.Array]:
    """Subtracts the mean of each column over the rows that are seen; other rows stay zero.

    Returns:
      `(values, mean, scale)`, mean and scale `[1, M]`. The scale is the standard deviation, and 1
      for constant columns, whose values are exactly zero.
    """
    count = seen.sum().astype(values.dtype)
    mean = values.sum(0, keepdims=True) / count
    values = zero_invalid(seen, values - mean)
    variance = jnp.square(values).sum(0, keepdims=True) / count
    rounding = 16 * jnp.finfo(values.dtype).eps * jnp.abs(mean)
    varies = variance > jnp.square(rounding)
    return jnp.where(varies, values, 0), mean, jnp.sqrt(jnp.where(varies, variance, 1))
