"""Masks and resets in a loop: the contract of sequences of any length, for all lifts of cells.

* The carry holds through invalid steps, and outputs there are zero.
* The padding never matters, NaN included, in values and in gradients: inputs are zeroed before the
  loop and outputs are selected after it. One select alone would give finite values and NaN
  gradients, since the derivative of the branch not taken is multiplied by zero.
* `reset[t]` marks the first step of a segment. Read forward, step t starts from the initial carry;
  read backward, step t does where `reset[t + 1]` is set. Resets act at invalid steps too, and they
  select, since 0 * NaN is NaN.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp

from recur.checks import check_step_carry
from recur.keys import split_along
from recur.manual_axes import placed_like
from recur.masks import step_count, zero_invalid
from recur.types import Carry, Mask


class Steps(NamedTuple):
    """What varies over time, each `[T, ...]`; keys and the parts of a mask may be None."""

    x: Any
    key: jax.Array | None
    valid: jax.Array | None
    reset: jax.Array | None


def prepare_steps(xs: Any, mask: Mask, key: jax.Array | None, *, reverse: bool = False) -> Steps:
    """Prepares one sequence for a loop in reading order."""
    reset = mask.reset
    if reverse and reset is not None:
        reset = jnp.concatenate([reset[1:], jnp.zeros_like(reset[:1])])
    keys = split_along(key, step_count(xs))
    return Steps(zero_invalid(mask.valid, xs), keys, mask.valid, reset)


def masked_step(
    advance: Callable[[Carry, Any, Any], tuple[Carry, Any]],
    initial_carry: Carry,
    all_carries: bool = False,
) -> Callable[[Carry, Steps], tuple[Carry, tuple[Any, Any]]]:
    """Puts resets before and validity after `advance(carry, x, key) -> (carry, y)`.

    Args:
      advance: one step.
      initial_carry: the carry from which a segment starts.
      all_carries: whether the carry is an output too.

    Returns:
      `(carry, one of Steps) -> (carry, (carry or (), y))`. Outputs at invalid steps are left to
      `zero_invalid`.
    """

    def step(carry, given):
        if given.reset is not None:
            carry = select(given.reset, initial_carry, carry)
        advanced, y = advance(carry, given.x, given.key)
        check_step_carry(carry, advanced)
        advanced = placed_like(carry, advanced)
        if given.valid is not None:
            advanced = select(given.valid, advanced, carry)
        return advanced, (advanced if all_carries else (), y)

    return step


def select(flag: jax.Array, on_true: Any, on_false: Any) -> Any:
    """Selects between two pytrees by a boolean."""
    return jax.tree.map(lambda a, b: jnp.where(flag, a, b), on_true, on_false)
