"""Pooling: one value for a whole sequence, of its valid steps alone.

All functions take `ys` of `[..., T, ...]` and `valid` of `[..., T]`, whose last axis is time: so
they serve one sequence, a batch, and what `segments` makes of packed rows. What stands at invalid
steps never matters, NaN included; a sequence without valid steps gives zeros.
"""

from __future__ import annotations

import jax
import jax.numpy as jnp

from recur.sequences.lengths import beside, zero_invalid

__all__ = ["attention", "last", "max", "mean"]


def last(ys: jax.Array, valid: jax.Array | None = None) -> jax.Array:
    """The value at the last valid step.

        pooled = y_e,    e = max {t: valid_t}

    Args:
      ys: `[..., T, ...]`.
      valid: bool `[..., T]`, which steps count; with None all do, and the first axis is time.

    Returns:
      `[..., ...]`, without the time axis.

    Raises:
      TypeError: when valid is not bool.
      ValueError: when the shapes do not fit.

    Example:
      >>> import jax.numpy as jnp
      >>> from recur.sequences import pool
      >>> pool.last(jnp.array([1.0, 2.0, 3.0]), jnp.array([True, True, False])).item()
      2.0
    """
    ys, valid = _prepare(ys, valid, "last")
    steps = jnp.arange(1, valid.shape[-1] + 1, dtype=jnp.int32)
    at = jnp.argmax(jnp.where(valid, steps, 0), axis=-1, keepdims=True)
    return jnp.take_along_axis(ys, beside(at, ys), axis=at.ndim - 1).squeeze(at.ndim - 1)


def mean(ys: jax.Array, valid: jax.Array | None = None) -> jax.Array:
    """The mean over valid steps.

        pooled = sum_t valid_t y_t / sum_t valid_t

    Args:
      ys: `[..., T, ...]`.
      valid: bool `[..., T]`, which steps count; with None all do, and the first axis is time.

    Returns:
      `[..., ...]`, without the time axis; of the dtype of ys, or float32 where that is of integers.

    Raises:
      TypeError: when valid is not bool.
      ValueError: when the shapes do not fit.

    Example:
      >>> import jax.numpy as jnp
      >>> from recur.sequences import pool
      >>> pool.mean(jnp.array([1.0, 3.0, jnp.nan]), jnp.array([True, True, False])).item()
      2.0
    """
    ys, valid = _prepare(ys, valid, "mean")
    count = jnp.maximum(valid.sum(-1, keepdims=True), 1)
    return _weighted_sum(ys, 1 / count.astype(_wide(ys.dtype)), count.ndim)


def max(ys: jax.Array, valid: jax.Array | None = None) -> jax.Array:
    """The greatest value of each feature over valid steps.

        pooled_i = max {y_{t,i}: valid_t}

    Args:
      ys: `[..., T, ...]`.
      valid: bool `[..., T]`, which steps count; with None all do, and the first axis is time.

    Returns:
      `[..., ...]`, without the time axis.

    Raises:
      TypeError: when valid is not bool.
      ValueError: when the shapes do not fit.

    Example:
      >>> import jax.numpy as jnp
      >>> from recur.sequences import pool
      >>> pool.max(jnp.array([-2.0, -1.0, 9.0]), jnp.array([True, True, False])).item()
      -1.0
    """
    ys, valid = _prepare(ys, valid, "max")
    axis = valid.ndim - 1
    here = beside(valid, ys)
    greatest = jnp.max(ys, axis, where=here, initial=_least(ys.dtype))
    return jnp.where(here.any(axis), greatest, jnp.zeros_like(greatest))


def attention(ys: jax.Array, scores: jax.Array, valid: jax.Array | None = None) -> jax.Array:
    """The mean over valid steps, weighted by how much attention each gets.

        pooled = sum_t a_t y_t,    a = softmax over valid t of scores_t

    Args:
      ys: `[..., T, ...]`.
      scores: float `[..., T]`, what a module makes of each step, such as `Dense(1)(y)[..., 0]`.
      valid: bool `[..., T]`, which steps count; with None all do, and the first axis is time.

    Returns:
      `[..., ...]`, without the time axis; of the dtype of ys, or float32 where that is of integers.

    Raises:
      TypeError: when valid is not bool.
      ValueError: when the shapes do not fit.

    Example:
      >>> import jax.numpy as jnp
      >>> from recur.sequences import pool
      >>> ys, scores = jnp.array([1.0, 3.0, 9.0]), jnp.zeros(3)
      >>> pool.attention(ys, scores, jnp.array([True, True, False])).item()
      2.0

    References:
      Lin et al. 2017, A Structured Self-Attentive Sentence Embedding,
      https://arxiv.org/abs/1703.03130
    """
    scores = jnp.asarray(scores)
    ys, valid = _prepare(ys, valid, "attention")
    if scores.shape != valid.shape:
        raise ValueError(
            f"pool.attention: expected one score a step, the shape {list(valid.shape)}, got "
            f"{list(scores.shape)}."
        )
    weights = jax.nn.softmax(zero_invalid(valid, scores), axis=-1, where=valid)
    weights = zero_invalid(valid, weights)  # where no step is valid, softmax has nothing to say
    return _weighted_sum(ys, weights, valid.ndim)


def _prepare(ys: jax.Array, valid: jax.Array | None, name: str) -> tuple[jax.Array, jax.Array]:
    """Checks both, and zeroes the invalid steps."""
    ys = jnp.asarray(ys)
    valid = jnp.ones(ys.shape[:1], bool) if valid is None else jnp.asarray(valid)
    if valid.dtype != jnp.bool_:
        raise TypeError(f"pool.{name}: expected valid as bool flags, got {valid.dtype}.")
    if valid.ndim == 0 or valid.shape[-1] == 0 or ys.shape[: valid.ndim] != valid.shape:
        raise ValueError(
            f"pool.{name}: expected ys of {list(valid.shape)} and more axes, as valid is, with at "
            f"least one step, got the shape {list(ys.shape)}."
        )
    return zero_invalid(valid, ys), valid


def _weighted_sum(ys: jax.Array, weights: jax.Array, time: int) -> jax.Array:
    """Over time, in at least 32 bits; of the dtype of ys, if that is of real numbers."""
    dtype = _wide(ys.dtype)
    pooled = (ys.astype(dtype) * beside(weights, ys).astype(dtype)).sum(time - 1)
    return pooled.astype(ys.dtype) if jnp.issubdtype(ys.dtype, jnp.inexact) else pooled


def _wide(dtype: jnp.dtype) -> jnp.dtype:
    """The dtype to add up in: real, and of at least 32 bits."""
    is_wide = jnp.issubdtype(dtype, jnp.inexact) and dtype.itemsize >= 4
    return dtype if is_wide else jnp.dtype(jnp.float32)


def _least(dtype: jnp.dtype) -> float | int | bool:
    if dtype == jnp.bool_:
        return False
    return -jnp.inf if jnp.issubdtype(dtype, jnp.floating) else jnp.iinfo(dtype).min
