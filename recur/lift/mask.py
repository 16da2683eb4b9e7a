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

from recur.keys import split_along
from recur.sequences.lengths import check_flags, step_count, validity, zero_invalid
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
    advance: Callable[[Carry, Any, Any], tuple[Carry, Any]],
    fresh: Carry,
    see: Callable[[Carry], Any],
) -> Callable[[Carry, Steps], tuple[Carry, tuple[Any, Any]]]:
    """Puts resets before and validity after `advance(carry, x, key) -> (carry, y)`.

    Args:
      advance: one step.
      fresh: the carry with which a segment starts.
      see: what of each carry is wanted beside the outputs.

    Returns:
      `(carry, one of Steps) -> (carry, (see(carry), y))`. Outputs at invalid steps are left to
      `zero_invalid`.
    """

    def guarded(carry, step):
        if step.reset is not None:
            carry = select(step.reset, fresh, carry)
        advanced, y = advance(carry, step.x, step.key)
        if step.valid is not None:
            advanced = select(step.valid, advanced, carry)
        return advanced, (see(advanced), y)

    return guarded


def select(flag: jax.Array, on_true: Any, on_false: Any) -> Any:
    """One pytree or the other, by a single flag."""
    return jax.tree.map(lambda a, b: jnp.where(flag, a, b), on_true, on_false)
