"""Stacks of cells, which compute all layers in one step."""

from __future__ import annotations

import dataclasses
from functools import partial
from typing import NamedTuple

import jax

from recur.call_repr import call_repr
from recur.checks import check_cell, check_entries, check_flag
from recur.combine.series import in_series
from recur.combine.wrap import first_output, side_by_side
from recur.keys import split
from recur.types import Cell


@dataclasses.dataclass(frozen=True, eq=False, repr=False)
class Stack(Cell):
    """A stack of cells; it keeps them, so that a lift can run it layer by layer.

    Attributes:
      cells: the cells, from the lowest to the highest.
    """

    cells: tuple[Cell, ...]


class _Below(NamedTuple):
    """What a cell of a stack with skips receives from the cells below it."""

    x: jax.Array  # x_t: the input of the stack
    outputs: tuple[jax.Array, ...]  # y_t^1 ... y_t^{l-1}


@call_repr
def stack(*cells: Cell, skips: bool = False) -> Stack:
    """Stacks cells into a deep RNN: the outputs of one are the inputs of the next.

        carry_t^l, y_t^l = step^l(carry_{t-1}^l, x_t^l)    for l = 1 ... L
        x_t^1 = x_t,    x_t^{l+1} = y_t^l,           y_t = y_t^L
        x_t^1 = x_t,    x_t^{l+1} = [x_t, y_t^l],    y_t = [y_t^1, ..., y_t^L]    with skips

    With skips, every cell reads the input and the outputs of all cells are concatenated, which
    shortens the paths of gradients. `run` of a lifted stack returns the outputs of the last cell
    and the last carry of every cell, as `torch.nn.LSTM(num_layers=L)` does.

    Args:
      *cells: the cells, from the lowest to the highest; at least one.
      skips: whether all cells read the input and are part of the output; x and all y^l must then be
        arrays that differ only in their last axis.

    Returns:
      A `Stack`, which is a `Cell`; its params and its carry are tuples with one entry for each
      cell.

    Raises:
      ValueError: when there are no cells; while tracing, when arrays that skips concatenate differ
        in more than their last axis.
      TypeError: when one of them is not a cell, or skips is not a bool.

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
    check_flag("stack: skips", skips)

    if skips:
        top = len(cells) - 1
        cells = tuple(_skipping(cell, n == 0, n == top) for n, cell in enumerate(cells))
    # Made once, since jax.eval_shape caches traces by the identity of the function.
    shapes = {cell: partial(jax.eval_shape, partial(first_output, cell)) for cell in cells}
    init, bind, init_carry = in_series(
        cells, lambda cell: cell.init_carry, lambda cell, bound, x: shapes[cell](bound, x)
    )

    def step(bound, carry, x, key=None):
        check_entries("carry", carry, len(cells))
        carries = []
        for cell, b, c, k in zip(cells, bound, carry, split(key, len(cells)), strict=True):
            c, x = cell.step(b, c, x, k)
            carries.append(c)
        return tuple(carries), x

    return Stack(init, bind, init_carry, step, cells)


def _skipping(cell: Cell, is_lowest: bool, is_highest: bool) -> Cell:
    """Makes a cell of a stack with skips, from `_Below` to `_Below`, or to all outputs."""

    def seen(below):
        return below if is_lowest else side_by_side("stack", below.x, below.outputs[-1])

    def seen_shape(below):
        return jax.eval_shape(seen, below)

    def init(key, below, context=None):
        return cell.init(key, seen_shape(below), context=context)

    def bind(params, below, *, key=None, context=None):
        return cell.bind(params, seen_shape(below), key=key, context=context)

    def init_carry(bound, below):
        return cell.init_carry(bound, seen_shape(below))

    def step(bound, carry, below, key=None):
        carry, y = cell.step(bound, carry, seen(below), key)
        x, outputs = (below, ()) if is_lowest else below
        outputs = (*outputs, y)
        return carry, side_by_side("stack", *outputs) if is_highest else _Below(x, outputs)

    return Cell(init, bind, init_carry, step)
