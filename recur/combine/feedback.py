"""Feedback: the output of one step is read by the next."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp

from recur.checks import check_cell, describe
from recur.combine.structure import output_shape, side_by_side
from recur.keys import check_key
from recur.types import AnyCell, Bound, Carry, Cell


class Feedback(NamedTuple):
    """The carry of `feedback`."""

    cell: Carry  # the cell's own
    output: Any  # y_t


class FeedbackBound(NamedTuple):
    """Bound params of `feedback`, whose output has no shape before there are weights."""

    cell: Bound
    output: Any  # y_0


def feedback(cell: AnyCell, join: Callable[[Any, Any], Any] | None = None) -> Cell:
    """Feeds the output back: the cell reads it beside the next input.

        carry_t, y_t = step(carry_{t-1}, join(x_t, y_{t-1})),    y_0 = 0

    Around a `readout` it makes any cell one that hears what it said, as decoders do; around a
    feed-forward net it is the network of Jordan. On inputs of width 0 the net runs on its own.

    The shape of y is found by initialising the cell, in shapes only, for x alone; it must be the
    same for the joined input, which is what the cell has its weights for.

    Args:
      cell: the cell.
      join: a function of x_t and y_{t-1}; by default both side by side, `[x_t, y_{t-1}]`.

    Returns:
      A `Cell` with the cell's own params; its carry is `Feedback`, x as `join` takes it, y as the
      cell gives it.

    Raises:
      TypeError: when `cell` is not a cell, or `join` not a function.
      ValueError: while tracing, when y is another for x alone than for x joined with y, or does not
        fit beside x.

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
    if not callable(join):
        raise TypeError(f"feedback: expected join as a function (x, y) -> x', got {join!r}.")

    def init(key, x, context=None):
        alone = jax.eval_shape(cell.init, check_key(key), x, context)
        y = output_shape(cell, alone, x, context)
        return cell.init(key, jax.eval_shape(join, x, y), context=context)

    def bind(params, x, *, key=None, context=None):
        alone = jax.eval_shape(cell.init, jax.random.key(0), x, context)
        alone = jax.tree.map(lambda a, p: jax.ShapeDtypeStruct(a.shape, p.dtype), alone, params)
        y = output_shape(cell, alone, x, context)
        seen = jax.eval_shape(join, x, y)
        _check_same(y, output_shape(cell, params, seen, context))
        y = jax.tree.map(lambda leaf: jnp.zeros(leaf.shape, leaf.dtype), y)
        return FeedbackBound(cell.bind(params, seen, key=key, context=context), y)

    def start(bound, x):
        seen = jax.eval_shape(join, x, bound.output)
        return Feedback(cell.start(bound.cell, seen), bound.output)

    def step(bound, carry, x, key=None):
        state, y = cell.step(bound.cell, carry.cell, join(x, carry.output), key)
        return Feedback(state, y), y

    return Cell(init, bind, start, step)


def _check_same(alone: Any, joined: Any) -> None:
    """Raises a ValueError unless the output is the same for x alone and for x joined with y."""
    if describe(alone) != describe(joined):
        raise ValueError(
            f"feedback: the output has no shape of its own: it is {describe(alone)} for x alone, "
            f"and {describe(joined)} for x joined with it. Give it one with recur.readout."
        )
