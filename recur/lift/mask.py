"""Masks and resets in a loop: the contract for sequences of any length, for all lifts of cells.

* Invalid steps keep the carry, and their outputs are zero.
* Padding has no effect on values or gradients, even if it is NaN: inputs are zeroed before the loop
  and outputs are selected after it. A select alone would give finite values but NaN gradients,
  since the derivative of the branch not taken is multiplied by zero.
* `reset[t]` is True at the first step of a segment. Read forward, step t then starts from the
  initial carry; read backward, step t does so if `reset[t + 1]` is True. Resets also apply at
  invalid steps, and they use a select, since 0 * NaN is NaN.
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
    """The values of a loop that vary over time.

    Attributes:
      x: the inputs, each `[T, ...]`.
      key: a typed key for each step, `[T]`, or None.
      valid: bool `[T]`, or None if all steps count.
      reset: bool `[T]`, in reading order, or None if there are no resets.
    """

    x: Any
    key: jax.Array | None
    valid: jax.Array | None
    reset: jax.Array | None


def prepare_steps(xs: Any, mask: Mask, key: jax.Array | None, *, reverse: bool = False) -> Steps:
    """Prepares a sequence for a loop: zeroes masked inputs, splits the key and aligns resets."""
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
    """Makes a step that applies resets and the mask around `advance(carry, x, key) -> (carry, y)`.

    Args:
      advance: one step.
      initial_carry: the carry from which a segment starts.
      all_carries: whether the carry is an output too.

    Returns:
      `(carry, one of Steps) -> (carry, (carry or (), y))`. Outputs at invalid steps are not zeroed;
      `zero_invalid` does that after the loop.
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
