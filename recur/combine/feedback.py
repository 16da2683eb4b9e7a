"""Output feedback: the output of one step is part of the input of the next."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp

from recur.call_repr import call_repr
from recur.checks import PARAMS_REMEDY, check_cell, check_function, describe
from recur.combine.wrap import output_shape, side_by_side
from recur.keys import check_key
from recur.types import Bound, Carry, Cell


class Feedback(NamedTuple):
    """The carry of `feedback`, and of `attend` with input feeding.

    Attributes:
      cell: the carry of the cell.
      output: the output y_t of the last step.
    """

    cell: Carry
    output: Any


class _Bound(NamedTuple):
    """What is computed once a sequence."""

    cell: Bound
    output: Any  # y_0, whose shape depends on params


@call_repr
def feedback(cell: Cell, join: Callable[[Any, Any], Any] | None = None) -> Cell:
    """Feeds the output of each step back into the input of the next.

        carry_t, y_t = step(carry_{t-1}, join(x_t, y_{t-1})),    y_0 = 0

    Around a `readout` it makes a decoder that reads its last prediction; around a feed-forward
    network, a Jordan network. With inputs of width 0 the cell runs without external input.

    The weights are drawn for the joined input. The shape of y is computed for x alone, and must be
    the same for the joined input.

    Args:
      cell: the cell.
      join: a function of x_t and y_{t-1}; by default it concatenates them, `[x_t, y_{t-1}]`.

    Returns:
      A `Cell` with the params of `cell`; its carry is `Feedback`, x is the input of `join`.

    Raises:
      TypeError: when `cell` is not a cell, or `join` not a function.
      ValueError: at init, when the shape of y depends on that of the input, or y cannot be
        concatenated with x.

    Example:
      >>> import jax, jax.numpy as jnp, recur
      >>> from flax import linen as nn
      >>> decoder = recur.scan(recur.feedback(recur.readout(recur.lstm(8), nn.Dense(2))))
      >>> xs = jnp.zeros((5, 0))
      >>> params = decoder.init(jax.random.key(0), xs)
      >>> decoder(params, xs).shape, params.cell.kernel.input.shape
      ((5, 2), (2, 8))

    References:
      Jordan 1986, Attractor Dynamics and Parallelism in a Connectionist Sequential Machine;
      as a report: Serial Order, https://doi.org/10.1016/S0166-4115(97)80111-2
    """
    check_cell(cell, "feedback")
    if join is None:
        join = partial(side_by_side, "feedback")
    check_function("feedback: join", join)
    return feed_back(cell, "feedback", join)


def feed_back(
    cell: Cell,
    caller: str,
    join: Callable[[Any, Any], Any],
    part: Callable[[Any], Any] = lambda y: y,
) -> Cell:
    """Makes a cell with inputs `join(x_t, part(y_{t-1}))`, and with `Feedback` as its carry."""

    def part_shape(params, x, context):
        return part(output_shape(cell, params, x, context))

    def init(key, x, context=None):
        y = part_shape(jax.eval_shape(cell.init, check_key(key), x, context), x, context)
        seen = jax.eval_shape(join, x, y)
        params = cell.init(key, seen, context=context)
        joined = part_shape(params, seen, context)
        if describe(y) != describe(joined):
            raise ValueError(
                f"{caller}: expected an output whose shape does not depend on the input, got "
                f"{describe(y)} for x alone, and {describe(joined)} for x joined with it. Make its "
                "shape constant with recur.readout."
            )
        return params

    def bind(params, x, *, key=None, context=None):
        alone = jax.eval_shape(cell.init, jax.random.key(0), x, context)
        if jax.tree.structure(alone) != jax.tree.structure(params):
            raise TypeError(
                f"{caller}: expected params with the structure that init returns, "
                f"{type(alone).__name__}, got {type(params).__name__} with a different one. "
                f"{PARAMS_REMEDY}"
            )
        alone = jax.tree.map(lambda a, p: jax.ShapeDtypeStruct(a.shape, p.dtype), alone, params)
        y = part_shape(alone, x, context)
        seen = jax.eval_shape(join, x, y)
        y = jax.tree.map(lambda leaf: jnp.zeros(leaf.shape, leaf.dtype), y)
        return _Bound(cell.bind(params, seen, key=key, context=context), y)

    def init_carry(bound, x):
        seen = jax.eval_shape(join, x, bound.output)
        return Feedback(cell.init_carry(bound.cell, seen), bound.output)

    def step(bound, carry, x, key=None):
        inner, y = cell.step(bound.cell, carry.cell, join(x, carry.output), key)
        return Feedback(inner, part(y)), y

    return Cell(init, bind, init_carry, step)
