"""Validity and resets, for all lifts: the contract of sequences of any length.

* The carry holds through invalid steps, and outputs there are zero.
* What stands in the padding never matters, NaN included, in values and in gradients: inputs are
  zeroed before the loop and outputs selected after it. One select alone would give finite values
  and NaN gradients, for the derivative of the branch not taken is multiplied by zero.
* `reset[t]` marks the first step of a segment. Read forwards, step t starts afresh; read backwards,
  step t starts afresh where `reset[t + 1]` stands. Resets act at invalid steps too, and they
  select, for 0 * NaN is NaN.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp

from recur.keys import is_key, split_along
from recur.types import Carry


class Steps(NamedTuple):
    """What travels in the lane `xs`, each `[T, ...]`; validity, resets and keys may be None."""

    x: Any
    key: jax.Array | None
    valid: jax.Array | None
    reset: jax.Array | None


def lay_out(
    xs: Any, *, length: Any, valid: Any, reset: Any, key: jax.Array | None, reverse: bool = False
) -> Steps:
    """Checks and prepares one sequence for a loop in reading order."""
    count = step_count(xs)
    valid = validity(count, length, valid)
    reset = None if reset is None else check_flags("reset", reset, count)
    if reverse and reset is not None:
        reset = jnp.concatenate([reset[1:], jnp.zeros_like(reset[:1])])
    return Steps(zero_invalid(valid, xs), split_along(key, count), valid, reset)


def guard(
    advance: Callable[[Carry, Any, Any], tuple[Carry, Any]], fresh: Carry
) -> Callable[[Carry, Steps], tuple[Carry, Any]]:
    """Puts resets before and validity after `advance(carry, x, key) -> (carry, y)`.

    Args:
      advance: one step.
      fresh: the carry with which a segment starts.

    Returns:
      `(carry, one of Steps) -> (carry, y)`. Outputs at invalid steps are left to `zero_invalid`.
    """

    def guarded(carry, step):
        if step.reset is not None:
            carry = select(step.reset, fresh, carry)
        advanced, y = advance(carry, step.x, step.key)
        if step.valid is not None:
            advanced = select(step.valid, advanced, carry)
        return advanced, y

    return guarded


def select(flag: jax.Array, on_true: Any, on_false: Any) -> Any:
    """One pytree or the other, by a single flag."""
    return jax.tree.map(lambda a, b: jnp.where(flag, a, b), on_true, on_false)


def zero_invalid(valid: jax.Array | None, tree: Any) -> Any:
    """Zeroes arrays at the steps that are not valid; keys are left alone.

    The axes of `valid` stand in front: `[T]`, or those of rows too where there is no layer between.
    """
    if valid is None:
        return tree

    def zero(leaf):
        if is_key(leaf):
            return leaf
        flags = valid.reshape(valid.shape + (1,) * (leaf.ndim - valid.ndim))
        return jnp.where(flags, leaf, jnp.zeros_like(leaf))

    return jax.tree.map(zero, tree)


def validity(count: int, length: Any, valid: Any) -> jax.Array | None:
    """Bool `[T]`, the steps within `length` that `valid` counts; None where all are."""
    flags = None if valid is None else check_flags("valid", valid, count)
    if length is None:
        return flags
    steps = jnp.arange(count)
    within = steps < check_length(length).astype(steps.dtype)
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
