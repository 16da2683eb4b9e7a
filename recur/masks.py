"""Arrays with a leading time axis, and masks of the steps that count."""

from __future__ import annotations

from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jax.core import Tracer

from recur.arrays import as_array
from recur.checks import check_leaves
from recur.keys import is_key
from recur.manual_axes import drop_axes
from recur.types import Mask


def make_mask(
    xs: Any, *, length: Any = None, mask: Any = None, reset: Any = None, batch_axes: int = 0
) -> Mask:
    """Checks a user's length, mask and reset and combines them into one `Mask`.

    Args:
      xs: `[*B, T, ...]`.
      length: integers `[*B]`, the number of steps of each sequence that count.
      mask: bool `[*B, T]`, True where the step counts.
      reset: bool `[*B, T]`, True at the first step of a segment.
      batch_axes: the number of batch axes before the time axis.

    Raises:
      TypeError: if a dtype is wrong.
      ValueError: if a shape is wrong, or a known length is not from 0 to T.
    """
    *rows, count = leading_shape(xs, batch_axes)
    valid = None if mask is None else _check_flags("mask", mask, rows, count)
    if length is not None:
        length = _check_length(length, rows, count)
        steps = jnp.arange(count)
        length = jnp.expand_dims(length.astype(steps.dtype), -1)
        in_length = steps.reshape((1,) * len(rows) + (count,)) < length
        valid = in_length if valid is None else in_length & valid
    return Mask(valid, None if reset is None else _check_flags("reset", reset, rows, count))


def check_mask(
    mask: jax.Array, shape: tuple[int, ...], name: str, argument: str = "mask"
) -> jax.Array:
    """Returns `mask` as an array; raises an error unless it is one bool for each step."""
    mask = as_array(f"{name}: {argument}", mask)
    if mask.dtype != jnp.bool_:
        raise TypeError(f"{name}: expected {argument} as bool flags, got {mask.dtype}.")
    if mask.shape != shape:
        raise ValueError(
            f"{name}: expected a {argument} of the shape {list(shape)}, got {list(mask.shape)}."
        )
    return mask


def leading_shape(xs: Any, batch_axes: int) -> tuple[int, ...]:
    """Returns `(*B, T)`, the leading axes that all arrays of xs share.

    Raises:
      ValueError: if they differ.
    """
    if not jax.tree.leaves(xs):
        raise ValueError(
            "xs holds no array, so it has no steps. For a recurrence without input, pass inputs of "
            "width 0, jnp.zeros((T, 0))."
        )
    shapes = [tuple(jnp.shape(leaf)) for leaf in jax.tree.leaves(xs)]
    leading = {shape[: batch_axes + 1] for shape in shapes}
    if len(leading) != 1 or len(next(iter(leading))) <= batch_axes:
        came = ", ".join(str(list(shape)) for shape in shapes)
        if batch_axes:
            raise ValueError(
                f"batch: expected xs of shape [B, T, ...], got {came}. Each array needs a leading "
                "batch axis and a time axis; for a single sequence, pass xs[None]."
            )
        raise ValueError(
            f"xs: expected arrays with one leading time axis, got shapes {came}. Convert a list of "
            "numbers with jnp.asarray."
        )
    return leading.pop()


def step_count(xs: Any) -> int:
    """Returns T, the length of the leading time axis of all arrays of xs."""
    return leading_shape(xs, 0)[0]


def is_known(count: Any) -> bool:
    """Whether a number of steps is an int, not a symbolic dimension of `jax.export`."""
    return isinstance(count, int)


def drop_leading_axis(tree: Any) -> Any:
    """Returns the shapes without their first axis: those of one step, or of one row.

    The dtypes are JAX's: unless x64 is enabled, NumPy's int64 becomes int32.
    """
    return jax.tree.map(lambda leaf: drop_axes(leaf, 1), tree)


def add_leading_axis(shapes: Any, count: Any) -> Any:
    """Returns the shapes with a first axis: those of `count` steps, or of `count` rows."""
    return jax.tree.map(lambda s: jax.ShapeDtypeStruct((count, *s.shape), s.dtype), shapes)


def zero_invalid(valid: jax.Array | None, tree: Any) -> Any:
    """Zeroes arrays at the steps that are not valid; keys are not changed.

    The axes of `valid` are the leading axes of the arrays: `[T]`, or `[B, T]`.
    """
    if valid is None:
        return tree

    def zero(leaf):
        if is_key(leaf):
            return leaf
        return jnp.where(expand_like(valid, leaf), leaf, jnp.zeros_like(leaf))

    return jax.tree.map(zero, tree)


def expand_like(of_steps: jax.Array, leaf: jax.Array) -> jax.Array:
    """Appends an axis of length 1 for each feature axis of `leaf`, so that both broadcast."""
    return of_steps.reshape(of_steps.shape + (1,) * (leaf.ndim - of_steps.ndim))


def check_known_length(length: Any, count: int) -> None:
    """Raises a ValueError that names the row, unless all lengths are from 0 to `count`.

    Traced lengths are not checked.
    """
    if length is None or isinstance(length, Tracer):
        return
    for row in np.argwhere((np.asarray(length) < 0) | (np.asarray(length) > count)):
        where = f"length of row {', '.join(map(str, row))}" if row.size else "length"
        raise ValueError(
            f"{where}: expected from 0 to {count}, the number of steps, got "
            f"{np.asarray(length)[tuple(row)]}."
        )


def _check_length(length: Any, rows: list[int], count: int) -> jax.Array:
    check_leaves("length", length)
    known = length
    length = jnp.asarray(length)
    if not jnp.issubdtype(length.dtype, jnp.integer):
        raise TypeError(f"length: expected an integer, got {length.dtype}.")
    if list(length.shape) != rows:
        raise ValueError(f"length: expected {_per_row(rows)}, got the shape {list(length.shape)}.")
    check_known_length(known, count)
    return length


def _check_flags(name: str, flags: Any, rows: list[int], count: int) -> jax.Array:
    check_leaves(name, flags)
    flags = jnp.asarray(flags)
    if flags.dtype != jnp.bool_:
        raise TypeError(f"{name}: expected bool flags, got {flags.dtype}.")
    if list(flags.shape) != [*rows, count]:
        batched = "" if rows else " For a batch of sequences, wrap the layer in recur.batch."
        raise ValueError(
            f"{name}: expected one flag per step, of shape {[*rows, count]}, got "
            f"{list(flags.shape)}.{batched}"
        )
    return flags


def _per_row(rows: list[int]) -> str:
    if rows:
        return f"one integer for each row, of shape {rows}"
    return "one integer for one sequence (for a batch of sequences, wrap the layer in recur.batch)"
