"""Depth: one cell above another, within the step."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, NamedTuple

from recur.checks import check_cell, check_entries
from recur.combine.series import in_series
from recur.keys import split
from recur.types import AnyCell, Bound, Carry, Params


class Stack(NamedTuple):
    """A cell made of cells, which it keeps, so that a lift may run it layer by layer."""

    init: Callable[..., Params]
    bind: Callable[..., Bound]
    start: Callable[..., Carry]
    step: Callable[..., tuple[Carry, Any]]
    cells: tuple[AnyCell, ...]


def stack(*cells: AnyCell) -> Stack:
    """Stacks cells: the outputs of one are the inputs of the next.

        x_t^1 = x_t,    carry_t^l, x_t^{l+1} = step^l(carry_{t-1}^l, x_t^l),    y_t = x_t^{L+1}

    What users of `torch.nn.LSTM(num_layers=L)` expect is what `run` gives on a lifted stack: the
    last layer at every step, and every layer at the last.

    Args:
      *cells: from the lowest to the highest; at least one.

    Returns:
      A `Stack`; its params and its carry are tuples, one entry a cell.

    Raises:
      ValueError: when there are no cells.
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

    init, bind, start = in_series(cells, _first_output)

    def step(bound, carry, x, key=None):
        check_entries("carry", carry, len(cells))
        carries = []
        keys = split(key, len(cells))
        for cell, b, c, cell_key in zip(cells, bound, carry, keys, strict=True):
            c, x = cell.step(b, c, x, cell_key)
            carries.append(c)
        return tuple(carries), x

    return Stack(init, bind, start, step, cells)


def _first_output(cell: AnyCell, bound: Bound, x: Any) -> Any:
    return cell.step(bound, cell.start(bound, x), x)[1]
