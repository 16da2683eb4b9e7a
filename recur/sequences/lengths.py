"""Arrays with one time axis in front, and which of their steps count."""

from __future__ import annotations

from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from recur.keys import is_key


def zero_invalid(valid: jax.Array | None, tree: Any) -> Any:
    """Zeroes arrays at the steps that are not valid; keys are left alone.

    The axes of `valid` stand in front: `[T]`, or those of rows too where there is no layer between.
    """
    if valid is None:
        return tree

    def zero(leaf):
        if is_key(leaf):
            return leaf
        return jnp.where(beside(valid, leaf), leaf, jnp.zeros_like(leaf))

    return jax.tree.map(zero, tree)


def beside(of_steps: jax.Array, leaf: jax.Array) -> jax.Array:
    """What is known of each step, with an axis of 1 for each feature axis of `leaf`."""
    return of_steps.reshape(of_steps.shape + (1,) * (leaf.ndim - of_steps.ndim))


def validity(count: int, length: Any, valid: Any) -> jax.Array | None:
    """Bool `[T]`, the steps within `length` that `valid` counts; None where all are."""
    flags = None if valid is None else check_flags("valid", valid, count)
    if length is None:
        return flags
    length = check_length(length)
    check_known_length(length, count)
    steps = jnp.arange(count)
    within = steps < length.astype(steps.dtype)
    return within if flags is None else within & flags


def check_length(length: Any) -> jax.Array:
    """`length` as an array, when it is one integer."""
    length = jnp.asarray(length)
    if not jnp.issubdtype(length.dtype, jnp.integer):
        raise TypeError(f"length: expected an integer, got {length.dtype}.")
    if length.ndim != 0:
        raise ValueError(
            f"length: expected one integer for one sequence, got the shape {list(length.shape)}. "
            "For a batch of sequences, wrap the layer in recur.batch."
        )
    return length


def check_known_length(length: Any, count: int) -> None:
    """Raises a ValueError that names the row, unless all lengths are from 0 to `count`.

    Inside a transformation lengths have no values yet: there nothing is checked.
    """
    if length is None or isinstance(length, jax.core.Tracer):
        return
    for row in np.argwhere((np.asarray(length) < 0) | (np.asarray(length) > count)):
        where = f"length of row {', '.join(map(str, row))}" if row.size else "length"
        raise ValueError(
            f"{where}: expected from 0 to the {count} steps there are, got "
            f"{np.asarray(length)[tuple(row)]}."
        )


def check_flags(name: str, flags: Any, count: int) -> jax.Array:
    """`flags` as an array, when it is bool `[T]`."""
    flags = jnp.asarray(flags)
    if flags.dtype != jnp.bool_:
        raise TypeError(f"{name}: expected bool flags, got {flags.dtype}.")
    if flags.shape != (count,):
        raise ValueError(
            f"{name}: expected one flag a step, the shape [{count}], got {list(flags.shape)}. For "
            "a batch of sequences, wrap the layer in recur.batch."
        )
    return flags


def one_of(tree: Any) -> Any:
    """The shapes without their first axis: those of one step, or of one row.

    In the dtypes that JAX gives them: without 64 bits, NumPy's int64 becomes int32.
    """

    def shape(leaf):
        dtype = jax.dtypes.canonicalize_dtype(leaf.dtype, allow_extended_dtype=True)
        return jax.ShapeDtypeStruct(leaf.shape[1:], dtype)

    return jax.tree.map(shape, tree)


def step_count(xs: Any) -> int:
    """T, the one length of the time axes in front of all arrays of xs."""
    leaves = jax.tree.leaves(xs)
    if not leaves:
        raise ValueError(
            "xs holds no array, so it has no steps. A recurrence without input reads inputs of "
            "width 0, jnp.zeros((T, 0))."
        )
    counts = {jnp.shape(leaf)[:1] for leaf in leaves}
    if len(counts) != 1 or () in counts:
        shapes = ", ".join(str(list(jnp.shape(leaf))) for leaf in leaves)
        raise ValueError(
            f"xs: expected arrays with one time axis in front, got shapes {shapes}. A list of "
            "numbers becomes an array with jnp.asarray."
        )
    return counts.pop()[0]
