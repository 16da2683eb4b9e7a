"""Metrics of predicted numbers: RMSE, MAE, MASE and the coverage of intervals."""

from __future__ import annotations

from typing import Any

import jax
import jax.numpy as jnp

from recur.arrays import as_array
from recur.checks import check_whole
from recur.dtypes import as_float
from recur.masks import check_mask, zero_invalid
from recur.train.losses import as_common_floats, check_known, mask_or_all, masked_sums
from recur.train.metrics import Average


def rmse(
    predicted: jax.Array,
    targets: jax.Array,
    mask: jax.Array | None = None,
    weights: jax.Array | None = None,
) -> Average:
    """Computes the root mean squared error (RMSE), over all batches that are merged.

        sqrt(sum_t mask_t w_t (p_t - y_t)² / sum_t mask_t w_t)

    Args:
      predicted: p, of the shape of targets.
      targets: y, `[..., T]` or `[..., T, O]`; all O numbers of a step count alike.
      mask: bool, of all or of the leading axes of targets, such as `[..., T]`; True where the step
        counts. All steps by default.
      weights: w, of the shape of a mask, at least 0; 1 by default.

    Returns:
      An `Average` of squared errors, whose value is the square root.

    Raises:
      TypeError: if an array does not hold real numbers, or mask is not bool.
      ValueError: if the shapes do not fit, or a weight is known to be negative.

    Example:
      >>> import jax.numpy as jnp
      >>> from recur.train import rmse
      >>> first, second = jnp.zeros(3), jnp.zeros(1)
      >>> rmse(first, first).merge(rmse(second, second + 4.0)).value().item()
      2.0
    """
    errors = _differences("rmse", predicted, targets)
    return Average(*_sums("rmse", jnp.square(errors), mask, weights), jnp.sqrt)


def mae(
    predicted: jax.Array,
    targets: jax.Array,
    mask: jax.Array | None = None,
    weights: jax.Array | None = None,
) -> Average:
    """Computes the mean absolute error (MAE).

        sum_t mask_t w_t |p_t - y_t| / sum_t mask_t w_t

    Args:
      predicted: p, of the shape of targets.
      targets: y, `[..., T]` or `[..., T, O]`; all O numbers of a step count alike.
      mask: bool, of all or of the leading axes of targets, such as `[..., T]`; True where the step
        counts. All steps by default.
      weights: w, of the shape of a mask, at least 0; 1 by default.

    Returns:
      An `Average`.

    Raises:
      TypeError: if an array does not hold real numbers, or mask is not bool.
      ValueError: if the shapes do not fit, or a weight is known to be negative.

    Example:
      >>> import jax.numpy as jnp
      >>> from recur.train import mae
      >>> mae(jnp.array([1.0, 2.0]), jnp.array([0.0, 5.0])).value().item()
      2.0
    """
    errors = _differences("mae", predicted, targets)
    return Average(*_sums("mae", jnp.abs(errors), mask, weights))


def mase(
    predicted: jax.Array,
    targets: jax.Array,
    scale: jax.Array,
    mask: jax.Array | None = None,
    weights: jax.Array | None = None,
) -> Average:
    """Computes the mean absolute scaled error (MASE) of forecasts.

        sum mask_{b,t} w_{b,t} |p_{b,t} - y_{b,t}| / scale_b / sum mask_{b,t} w_{b,t}

    Args:
      predicted: p, `[..., T]`, the forecasts.
      targets: y, `[..., T]`, a series in each row.
      scale: `[...]`, the error of the naive forecast of each series over its history, from
        `seasonal_naive_error`. Mask the series that have none, or a constant history.
      mask: bool `[..., T]`, True where the step counts; all steps by default.
      weights: w, `[..., T]`, at least 0; 1 by default.

    Returns:
      An `Average`. Below 1, forecasts are better than naive forecasts of one step.

    Raises:
      TypeError: if an array does not hold real numbers, or mask is not bool.
      ValueError: if the shapes do not fit, a weight is known to be negative, or the scale of a
        series that counts is known not to be above 0.

    Example:
      >>> import jax.numpy as jnp
      >>> from recur.train import mase, seasonal_naive_error
      >>> scale = seasonal_naive_error(jnp.array([1.0, 3.0, 5.0, 3.0]))
      >>> mase(jnp.array([4.0, 4.0]), jnp.array([3.0, 4.0]), scale).value().item()
      0.25

    References:
      Hyndman & Koehler 2006, Another look at measures of forecast accuracy,
      https://doi.org/10.1016/j.ijforecast.2006.03.001
    """
    given = scale
    predicted, targets, scale = as_common_floats(
        "mase", predicted=predicted, targets=targets, scale=scale
    )
    _check_alike("mase", predicted=predicted, targets=targets)
    if not targets.ndim:
        raise ValueError("mase: expected targets of shape [..., T], got one number.")
    if scale.shape != targets.shape[:-1]:
        raise ValueError(
            f"mase: expected scale of shape {list(targets.shape[:-1])}, one number for each of the "
            f"series {list(targets.shape)}, got {list(scale.shape)}."
        )
    if mask is not None:
        mask = check_mask(mask, targets.shape, "mase")
    series = None if mask is None else mask.any(-1)
    check_known("mase: expected scale above 0", given, series, lambda value: value > 0)
    errors = jnp.abs(predicted - targets) / scale[..., None]
    return Average(*masked_sums("mase", errors, mask, weights))


def seasonal_naive_error(
    history: jax.Array, mask: jax.Array | None = None, *, season: int = 1
) -> jax.Array:
    """Computes the mean absolute error of the seasonal naive forecast, the scale of `mase`.

        mean_t |y_t - y_{t-season}|    over the steps with mask_t and mask_{t-season}

    Args:
      history: y, `[..., T]`, a series in each row: the steps before the forecast.
      mask: bool `[..., T]`, True where the step counts; all steps by default.
      season: the number of steps after which the series is predicted to repeat: 12 for monthly
        values with a yearly pattern, 1 for the naive forecast.

    Returns:
      `[...]`; NaN for a series without two such steps.

    Raises:
      TypeError: if history does not hold real numbers, or mask is not bool.
      ValueError: if the shapes do not fit, or season is below 1.

    Example:
      >>> import jax.numpy as jnp
      >>> from recur.train import seasonal_naive_error
      >>> seasonal_naive_error(jnp.array([1.0, 5.0, 2.0, 6.0]), season=2).item()
      1.0
    """
    name = "seasonal_naive_error"
    season = check_whole(f"{name}: season", season, 1)
    [history] = as_common_floats(name, history=history)
    if not history.ndim:
        raise ValueError(f"{name}: expected history of shape [..., T], got one number.")
    mask = mask_or_all(mask, history.shape, name)
    pairs = mask[..., season:] & mask[..., :-season]
    errors = zero_invalid(pairs, jnp.abs(history[..., season:] - history[..., :-season]))
    count = pairs.sum(-1).astype(history.dtype)
    return jnp.where(count == 0, jnp.nan, errors.sum(-1) / jnp.maximum(count, 1))


def interval_coverage(
    lower: jax.Array,
    upper: jax.Array,
    targets: jax.Array,
    mask: jax.Array | None = None,
    weights: jax.Array | None = None,
) -> Average:
    """Computes the coverage of prediction intervals, the share of targets within them.

        sum_t mask_t w_t [lower_t <= y_t <= upper_t] / sum_t mask_t w_t

    Args:
      lower: of the shape of targets, such as the predicted quantile 0.1.
      upper: of the shape of targets, such as the predicted quantile 0.9.
      targets: y, `[..., T]` or `[..., T, O]`; all O numbers of a step count alike.
      mask: bool, of all or of the leading axes of targets, such as `[..., T]`; True where the step
        counts. All steps by default.
      weights: w, of the shape of a mask, at least 0; 1 by default.

    Returns:
      An `Average`: near 0.8 for calibrated intervals from quantile 0.1 to 0.9.

    Raises:
      TypeError: if an array does not hold real numbers, or mask is not bool.
      ValueError: if the shapes do not fit, or a weight is known to be negative.

    Example:
      >>> import jax.numpy as jnp
      >>> from recur.train import interval_coverage
      >>> targets = jnp.array([0.0, 1.0, 2.0, 3.0])
      >>> interval_coverage(targets - 1, jnp.ones(4), targets).value().item()
      0.5
    """
    name = "interval_coverage"
    lower, upper, targets = as_common_floats(name, lower=lower, upper=upper, targets=targets)
    _check_alike(name, lower=lower, upper=upper, targets=targets)
    return Average(*_sums(name, (lower <= targets) & (targets <= upper), mask, weights))


def _differences(name: str, predicted: Any, targets: Any) -> jax.Array:
    predicted, targets = as_common_floats(name, predicted=predicted, targets=targets)
    _check_alike(name, predicted=predicted, targets=targets)
    return predicted - targets


def _check_alike(name: str, **arrays: jax.Array) -> None:
    shapes = [list(array.shape) for array in arrays.values()]
    if any(shape != shapes[0] for shape in shapes):
        came = ", ".join(map(str, shapes))
        raise ValueError(f"{name}: expected {', '.join(arrays)} of the same shape, got {came}.")


def _sums(name: str, values: jax.Array, mask: Any, weights: Any) -> tuple[jax.Array, jax.Array]:
    """`masked_sums` with a mask and weights of the leading axes of values."""
    shaping = mask if mask is not None else weights
    if shaping is not None:
        what = "mask" if mask is not None else "weights"
        steps = as_array(f"{name}: {what}", shaping).ndim
        values = as_float(values).mean(tuple(range(steps, values.ndim)))
    return masked_sums(name, values, mask, weights)
