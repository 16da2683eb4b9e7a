"""Pooling over time: one value for each sequence, computed from the steps that count.

All functions take `ys` `[..., T, ...]` and a mask `[..., T]`, whose last axis is time. They work on
one sequence, on a batch, and on the values that `recur.sequences.segments` returns. Without a mask
they take one sequence, `[T]` or `[T, D]`. Masked steps are ignored, even if they are NaN. The
result of a sequence without steps that count is zero.
"""

from __future__ import annotations

import jax
import jax.numpy as jnp

from recur.arrays import as_array
from recur.masks import expand_like, zero_invalid

__all__ = ["attention", "ends", "last", "max", "mean"]


def last(ys: jax.Array, mask: jax.Array | None = None) -> jax.Array:
    """Returns the value at the last step that counts (last-step pooling).

        pooled = y_e,    e = max {t: mask_t}

    Args:
      ys: `[..., T, ...]`, the values of the steps.
      mask: bool `[..., T]`, True where the step counts; None for one sequence `[T]` or `[T, D]`
        whose steps all count.

    Returns:
      `[..., ...]`, without the time axis.

    Raises:
      TypeError: if ys is not an array of numbers, or mask is not bool.
      ValueError: if the shapes do not fit, or ys has more axes than `[T, D]` without a mask.

    Example:
      >>> import jax.numpy as jnp
      >>> from recur.sequences import pool
      >>> pool.last(jnp.array([1.0, 2.0, 3.0]), jnp.array([True, True, False])).item()
      2.0
    """
    ys, mask = _prepare(ys, mask, "last")
    steps = jnp.arange(1, mask.shape[-1] + 1, dtype=jnp.int32)
    at = jnp.argmax(jnp.where(mask, steps, 0), axis=-1, keepdims=True)
    return jnp.take_along_axis(ys, expand_like(at, ys), axis=at.ndim - 1).squeeze(at.ndim - 1)


def ends(ys: jax.Array, mask: jax.Array | None = None) -> jax.Array:
    """Returns the final outputs of both directions of a bidirectional layer, side by side.

        pooled = [y_e[:D/2], y_b[D/2:]],    e = max {t: mask_t},    b = min {t: mask_t}

    The first half of the features reads forward and ends at the last step that counts; the second
    half reads backward and ends at the first one. `last` would take the backward half where it has
    read one step only.

    Args:
      ys: `[..., T, ..., D]`, the outputs of `recur.bidirectional` with its default merge, of two
        layers with the same number of features.
      mask: bool `[..., T]`, True where the step counts; None for one sequence `[T, D]` whose steps
        all count.

    Returns:
      `[..., ..., D]`, without the time axis.

    Raises:
      TypeError: if ys is not an array of numbers, or mask is not bool.
      ValueError: if the shapes do not fit, D is odd, or ys has more axes than `[T, D]` without a
        mask.

    Example:
      >>> import jax.numpy as jnp
      >>> from recur.sequences import pool
      >>> ys = jnp.array([[1.0, 6.0], [2.0, 5.0], [3.0, 4.0]])
      >>> pool.ends(ys, jnp.array([True, True, False])).tolist()
      [2.0, 6.0]

    References:
      Schuster & Paliwal 1997, Bidirectional Recurrent Neural Networks,
      https://doi.org/10.1109/78.650093
    """
    ys, mask = _prepare(ys, mask, "ends")
    if ys.ndim == mask.ndim or ys.shape[-1] % 2:
        raise ValueError(
            "pool.ends: expected ys [..., T, ..., D] with an even D, half of it of each direction, "
            f"got the shape {list(ys.shape)}."
        )
    forward, backward = jnp.split(ys, 2, axis=-1)
    axis = mask.ndim - 1
    return jnp.concatenate(
        [last(forward, mask), last(jnp.flip(backward, axis), jnp.flip(mask, axis))], axis=-1
    )


def mean(ys: jax.Array, mask: jax.Array | None = None) -> jax.Array:
    """Computes the mean over the steps that count (mean pooling).

        pooled = sum_t mask_t y_t / sum_t mask_t

    Args:
      ys: `[..., T, ...]`, the values of the steps.
      mask: bool `[..., T]`, True where the step counts; None for one sequence `[T]` or `[T, D]`
        whose steps all count.

    Returns:
      `[..., ...]`, without the time axis; in the dtype of ys, or float32 if ys holds integers.

    Raises:
      TypeError: if ys is not an array of numbers, or mask is not bool.
      ValueError: if the shapes do not fit, or ys has more axes than `[T, D]` without a mask.

    Example:
      >>> import jax.numpy as jnp
      >>> from recur.sequences import pool
      >>> pool.mean(jnp.array([1.0, 3.0, jnp.nan]), jnp.array([True, True, False])).item()
      2.0
    """
    ys, mask = _prepare(ys, mask, "mean")
    count = jnp.maximum(mask.sum(-1, keepdims=True), 1)
    return _weighted_sum(ys, 1 / count.astype(_wide(ys.dtype)), count.ndim)


def max(ys: jax.Array, mask: jax.Array | None = None) -> jax.Array:
    """Computes the maximum of each feature over the steps that count (max pooling).

        pooled_i = max {y_{t,i}: mask_t}

    Args:
      ys: `[..., T, ...]`, the values of the steps.
      mask: bool `[..., T]`, True where the step counts; None for one sequence `[T]` or `[T, D]`
        whose steps all count.

    Returns:
      `[..., ...]`, without the time axis.

    Raises:
      TypeError: if ys is not an array of numbers, or mask is not bool.
      ValueError: if the shapes do not fit, or ys has more axes than `[T, D]` without a mask.

    Example:
      >>> import jax.numpy as jnp
      >>> from recur.sequences import pool
      >>> pool.max(jnp.array([-2.0, -1.0, 9.0]), jnp.array([True, True, False])).item()
      -1.0
    """
    ys, mask = _prepare(ys, mask, "max")
    axis = mask.ndim - 1
    counts = expand_like(mask, ys)
    greatest = jnp.max(ys, axis, where=counts, initial=_least(ys.dtype))
    return jnp.where(counts.any(axis), greatest, jnp.zeros_like(greatest))


def attention(ys: jax.Array, scores: jax.Array, mask: jax.Array | None = None) -> jax.Array:
    """Computes a mean over time weighted by the softmax of scores (attention pooling).

        pooled = sum_t a_t y_t,    a = softmax over the t with mask_t of scores_t

    Args:
      ys: `[..., T, ...]`, the values of the steps.
      scores: float `[..., T]`, such as `Dense(1)(y)[..., 0]` of a module.
      mask: bool `[..., T]`, True where the step counts; None for one sequence `[T]` or `[T, D]`
        whose steps all count.

    Returns:
      `[..., ...]`, without the time axis; in the dtype of ys, or float32 if ys holds integers.

    Raises:
      TypeError: if ys is not an array of numbers, scores are not floats, or mask is not bool.
      ValueError: if the shapes do not fit, or ys has more axes than `[T, D]` without a mask.

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
    scores = as_array("pool.attention: scores", scores)
    if not jnp.issubdtype(scores.dtype, jnp.floating):
        raise TypeError(f"pool.attention: expected scores as floats, got {scores.dtype}.")
    ys, mask = _prepare(ys, mask, "attention")
    if scores.shape != mask.shape:
        raise ValueError(
            f"pool.attention: expected one score per step, of shape {list(mask.shape)}, got "
            f"{list(scores.shape)}."
        )
    # If no step counts, the softmax is over all steps, to avoid NaN; ys are zero there.
    counts = mask | ~mask.any(-1, keepdims=True)
    weights = jax.nn.softmax(zero_invalid(mask, scores), axis=-1, where=counts)
    return _weighted_sum(ys, weights, mask.ndim)


def _prepare(ys: jax.Array, mask: jax.Array | None, name: str) -> tuple[jax.Array, jax.Array]:
    """Checks ys and mask, and zeroes the masked steps."""
    ys = as_array(f"pool.{name}: ys", ys)
    if mask is None and ys.ndim > 2:
        raise ValueError(
            f"pool.{name}: expected ys of one sequence, [T] or [T, D], if there is no mask, got "
            f"the shape {list(ys.shape)}. For outputs [B, T, D] of recur.batch pass their mask "
            "[B, T], jnp.ones((B, T), bool) if all steps count."
        )
    mask = jnp.ones(ys.shape[:1], bool) if mask is None else as_array(f"pool.{name}: mask", mask)
    if mask.dtype != jnp.bool_:
        raise TypeError(f"pool.{name}: expected mask as bool flags, got {mask.dtype}.")
    if mask.ndim == 0 or mask.shape[-1] == 0 or ys.shape[: mask.ndim] != mask.shape:
        raise ValueError(
            f"pool.{name}: expected ys [..., T, ...] and a mask [..., T], with T >= 1, got the "
            f"shapes {list(ys.shape)} and {list(mask.shape)}."
        )
    return zero_invalid(mask, ys), mask


def _weighted_sum(ys: jax.Array, weights: jax.Array, time: int) -> jax.Array:
    """Sums over time in at least 32 bits; returns the dtype of ys if that is inexact."""
    dtype = _wide(ys.dtype)
    pooled = (ys.astype(dtype) * expand_like(weights, ys).astype(dtype)).sum(time - 1)
    return pooled.astype(ys.dtype) if jnp.issubdtype(ys.dtype, jnp.inexact) else pooled


def _wide(dtype: jnp.dtype) -> jnp.dtype:
    """Returns the dtype of sums: inexact, of at least 32 bits."""
    is_wide = jnp.issubdtype(dtype, jnp.inexact) and dtype.itemsize >= 4
    return dtype if is_wide else jnp.dtype(jnp.float32)


def _least(dtype: jnp.dtype) -> float | int | bool:
    if dtype == jnp.bool_:
        return False
    return -jnp.inf if jnp.issubdtype(dtype, jnp.floating) else jnp.iinfo(dtype).min
