"""Arithmetic with log probabilities, of which -inf is zero, and checks of symbols."""

from __future__ import annotations

import functools
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from recur.arrays import as_array, as_reals
from recur.dtypes import at_least_float32
from recur.ids import check_known_ids
from recur.log_sums import log_sum, safe_subtract
from recur.masks import make_mask


def normalised(values: jax.Array, axis: int | tuple[int, ...]) -> jax.Array:
    """Normalizes `values` to log probabilities; all -inf where all values are -inf."""
    return safe_subtract(values, jnp.expand_dims(log_sum(values, axis), axis))


def sum_of_logs(values: jax.Array) -> jax.Array:
    """The sum of `values`; -inf, with a gradient of zero, if one is -inf."""
    return jnp.where((values > -jnp.inf).all(), values.sum(), -jnp.inf)


def log_shares(counts: jax.Array, otherwise: jax.Array) -> jax.Array:
    """The log of each count's share of its row, the last axis; `otherwise` for rows of zeros."""
    totals = counts.sum(-1, keepdims=True)
    counted = counts > 0
    shares = jnp.log(jnp.where(counted, counts, 1)) - jnp.log(jnp.where(totals > 0, totals, 1))
    return jnp.where(totals > 0, jnp.where(counted, shares, -jnp.inf), otherwise)


def log_probabilities(name: str, probabilities: Any, rank: int) -> jax.Array:
    """Checks that probabilities sum to one along the last axis, and returns their logarithms.

    Raises:
      TypeError: if they are not numbers.
      ValueError: if they have another rank, are negative or not finite, or do not sum to one.
    """
    values = as_reals(name, probabilities).astype(np.float64)
    if values.ndim != rank or not values.size:
        raise ValueError(
            f"{name}: expected probabilities with {rank} axes, got the shape {list(values.shape)}."
        )
    if not np.isfinite(values).all() or (values < 0).any():
        worst = values[~np.isfinite(values) | (values < 0)][0]
        raise ValueError(f"{name}: expected probabilities from 0 to 1, got {worst}.")
    sums = values.sum(-1)
    wrong = np.argwhere(abs(sums - 1) > 1e-5)
    if len(wrong):
        place = tuple(wrong[0])
        where = f"row {place[0]} sums" if place else "they sum"
        raise ValueError(
            f"{name}: expected probabilities that sum to one, and {where} to {sums[place]:.6g}. "
            "Divide them by their sum."
        )
    with np.errstate(divide="ignore"):
        return jnp.asarray(np.log(values))


def common_dtype(tree: Any) -> Any:
    """Converts a tree of log probabilities to arrays of one dtype, at least float32."""
    leaves = at_least_float32(jax.tree.map(jnp.asarray, jax.tree.leaves(tree)))
    dtype = functools.reduce(jnp.promote_types, (leaf.dtype for leaf in leaves))
    return jax.tree.unflatten(jax.tree.structure(tree), [leaf.astype(dtype) for leaf in leaves])


def as_ids(name: str, ids: Any) -> Any:
    """Returns `ids` as an array, of integers for an empty list, which has no dtype.

    Inside `jax.jit`, known values stay known; `jnp.asarray` would convert them to tracers.
    """
    if hasattr(ids, "dtype"):
        return ids
    if isinstance(ids, (list, tuple)) and not ids:
        return np.zeros(0, np.int32)
    return as_array(name, ids)


def check_symbols(caller: str, what: str, ids: Any, size: int, length: Any = None) -> None:
    """Raises an error unless an array `[T]`, or `[B, T]`, holds integers from 0 to size - 1.

    Padding and tracers are not checked.
    """
    if not jnp.issubdtype(ids.dtype, jnp.integer):
        raise TypeError(f"{caller}: expected integer {what}, got {ids.dtype}.")
    check_known_ids(caller, what, ids, size, length=length)


def check_sequence(caller: str, what: str, ids: Any, size: int, length: Any = None) -> None:
    """As `check_symbols`, for one sequence `[T]`."""
    if ids.ndim != 1:
        shape = list(ids.shape)
        raise ValueError(f"{caller}: expected {what} of [T], got {shape}. Use jax.vmap for rows.")
    make_mask(ids, length=length)  # for its checks
    check_symbols(caller, what, ids, size, length)
