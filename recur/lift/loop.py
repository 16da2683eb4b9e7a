"""The plain Python loop, the reference for all other lifts."""

from __future__ import annotations

import jax
import jax.numpy as jnp

from recur.call_repr import call_repr
from recur.checks import check_cell, check_flag
from recur.layer import Layer
from recur.lift.mask import Steps, masked_step
from recur.lift.over_time import over_time, step_of
from recur.masks import step_count
from recur.types import Cell


@call_repr
def loop(cell: Cell, *, reverse: bool = False) -> Layer:
    """Runs a cell over time in a Python loop, step by step, for reference and debugging.

        carry_t, y_t = step(bound, carry_{t-1}, x_t)    for t = 1 ... T

    It defines what a lift computes, and the faster lifts are tested against it. All steps are
    traced, so compile time grows with T. Under `jax.disable_jit()` you can print values and set
    breakpoints in the step.

    Args:
      cell: any cell.
      reverse: whether to read from the last step to the first; outputs stay aligned with inputs.

    Returns:
      A `Layer` with the cell's params and carry.

    Raises:
      TypeError: if `cell` is not a cell, or `reverse` is not a bool.

    Example:
      >>> import jax, jax.numpy as jnp, recur
      >>> layer = recur.loop(recur.gru(4))
      >>> xs = jnp.ones((5, 3))
      >>> layer(layer.init(jax.random.key(0), xs), xs).shape
      (5, 4)
    """
    check_cell(cell, "loop")
    reverse = check_flag("loop: reverse", reverse)

    def run(bound, carry, initial_carry, steps, all_carries):
        step = masked_step(
            lambda carry, x, key: cell.step(bound, carry, x, key), initial_carry, all_carries
        )
        order = range(step_count(steps.x))
        if not order:
            y = jax.eval_shape(step, carry, step_of(steps))[1]
            return carry, jax.tree.map(lambda leaf: jnp.zeros((0, *leaf.shape), leaf.dtype), y)
        ys = {}
        for t in reversed(order) if reverse else order:
            carry, ys[t] = step(carry, _at(steps, t))
        return carry, jax.tree.map(lambda *leaves: jnp.stack(leaves), *(ys[t] for t in order))

    return over_time(cell, run, reverse=reverse)


def _at(steps: Steps, t: int) -> Steps:
    return jax.tree.map(lambda leaf: leaf[t], steps)
