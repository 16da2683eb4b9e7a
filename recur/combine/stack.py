"""Depth: one cell above another, within the step."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, NamedTuple

import jax

from recur.checks import check_cell, check_entries
from recur.combine.series import in_series
from recur.combine.structure import first_output, map_inputs, map_outputs, side_by_side
from recur.keys import split
from recur.types import AnyCell, Bound, Carry, Params


class Stack(NamedTuple):
    """A cell made of cells, which it keeps, so that a lift may run it layer by layer."""

    init: Callable[..., Params]
    bind: Callable[..., Bound]
    start: Callable[..., Carry]
    step: Callable[..., tuple[Carry, Any]]
    cells: tuple[AnyCell, ...]


class Below(NamedTuple):
    """What the cells of a stack with skips hand up."""

    x: jax.Array  # x_t: the input of the stack
    outputs: tuple[jax.Array, ...]  # y_t^1 ... y_t^{l-1}


def stack(*cells: AnyCell, skips: bool = False) -> Stack:
    """Stacks cells: the outputs of one are the inputs of the next.

        carry_t^l, y_t^l = step^l(carry_{t-1}^l, x_t^l)    for l = 1 ... L
        x_t^1 = x_t,    x_t^{l+1} = y_t^l,           y_t = y_t^L
        x_t^1 = x_t,    x_t^{l+1} = [x_t, y_t^l],    y_t = [y_t^1, ..., y_t^L]    with skips

    Skips lead the input to every cell and every cell's output out, so that each weight is as near
    to both as in one cell alone. What users of `torch.nn.LSTM(num_layers=L)` expect is what `run`
    gives on a lifted stack: the last layer at every step, and every layer at the last.

    Args:
      *cells: from the lowest to the highest; at least one.
      skips: whether all cells see the input and are seen in the output; x and all y^l are then
        arrays that differ in their last axis alone.

    Returns:
      A `Stack`; its params and its carry are tuples, one entry a cell.

    Raises:
      ValueError: when there are no cells; while tracing, when what skips put side by side does not
        fit.
      TypeError: when one of them is not a cell.

    Example:
      >>> import jax, jax.numpy as jnp, recur
      >>> layer = recur.scan(recur.stack(recur.lstm(4), recur.lstm(4)))
      >>> xs = jnp.ones((5, 3))
      >>> params = layer.init(jax.random.key(0), xs)
      >>> final, ys = layer.run(params, xs)
      >>> ys.shape, [state.hidden.shape for state in final]
      ((5, 4), [(4,), (4,)])

    References:
      Graves 2013, Generating Sequences With Recurrent Neural Networks,
      https://arxiv.org/abs/1308.0850
    """
    if not cells:
        raise ValueError("stack: expected at least one cell, got none.")
    for cell in cells:
        check_cell(cell, "stack")

    if skips:
        top = len(cells) - 1
        cells = tuple(_skipping(cell, n == 0, n == top) for n, cell in enumerate(cells))
    init, bind, start = in_series(cells, first_output)

    def step(bound, carry, x, key=None):
        check_entries("carry", carry, len(cells))
        carries = []
        keys = split(key, len(cells))
        for cell, b, c, cell_key in zip(cells, bound, carry, keys, strict=True):
            c, x = cell.step(b, c, x, cell_key)
            carries.append(c)
        return tuple(carries), x

    return Stack(init, bind, start, step, cells)


def _skipping(cell: AnyCell, lowest: bool, highest: bool) -> AnyCell:
    """The cell, with its own params, from `Below` to `Below`; x goes in, all outputs come out."""

    def seen(below):
        return below if lowest else side_by_side("stack", below.x, below.outputs[-1])

    def hand_up(bound, y, below, key):
        del bound, key
        x, outputs = (below, ()) if lowest else below
        outputs = (*outputs, y)
        return side_by_side("stack", *outputs) if highest else Below(x, outputs)

    def init(key, below, context=None):
        return cell.init(key, jax.eval_shape(seen, below), context=context)

    def bind(params, below, *, key=None, context=None):
        return cell.bind(params, jax.eval_shape(seen, below), key=key, context=context)

    fed = map_inputs(cell, lambda bound, below, key: seen(below))
    return map_outputs(fed._replace(init=init, bind=bind), hand_up)
