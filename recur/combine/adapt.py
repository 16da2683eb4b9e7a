"""Maps around a cell: what is made of its outputs."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, NamedTuple

import jax

from recur.checks import check_cell
from recur.keys import check_key, split
from recur.modules import as_module
from recur.types import AffineCell, AnyCell, Cell, Context, GatedCell, Params, Shaped


class ReadoutParams(NamedTuple):
    """Weights of `readout`."""

    cell: Params
    output: Params


def readout(cell: AnyCell, output: Any) -> AnyCell:
    """Reads an output off every step.

        y_t = ψ(v_t),    where carry_t, v_t = step(carry_{t-1}, x_t)

    The structure of a `GatedCell` or an `AffineCell` survives: ψ waits until after the loop, where
    it is one product for all steps.

    Args:
      cell: the cell whose outputs are read.
      output: ψ, a Linen module, a function of one step, or a name of `recur.modules.ACTIVATIONS`.

    Returns:
      A cell of the same kind (a plain `Cell` for a stack) with `ReadoutParams`; its carry is the
      cell's own.

    Raises:
      TypeError: when `cell` is not a cell, or `output` none of these.
      ValueError: when it is an unknown name, or a module with mutable collections.

    Example:
      >>> import jax, jax.numpy as jnp, recur
      >>> from flax import linen as nn
      >>> tagger = recur.scan(recur.readout(recur.lstm(8), nn.Dense(2)))
      >>> xs = jnp.ones((5, 3))
      >>> params = tagger.init(jax.random.key(0), xs)
      >>> tagger(params, xs).shape
      (5, 2)
    """
    check_cell(cell, "readout")
    psi, cell = as_module(output), with_structure(cell)

    def init(key, x, context=None):
        cell_key, output_key = split(check_key(key), 2)
        params = cell.init(cell_key, x, context=context)
        v = output_shape(cell, params, x, context)
        return ReadoutParams(cell=params, output=psi.init(output_key, v))

    def bind(params, x, *, key=None, context=None):
        return params._replace(cell=cell.bind(params.cell, x, key=key, context=context))

    def inside(function):
        return lambda bound, *args, **options: function(bound.cell, *args, **options)

    parts = {name: inside(function) for name, function in cell._asdict().items()}
    nested = type(cell)(**{**parts, "init": init, "bind": bind})
    return map_outputs(nested, lambda bound, v, x, key: psi.apply(bound.output, v, key=key))


def map_outputs(cell: AnyCell, function: Callable[[Any, Any, Any, Any], Any]) -> AnyCell:
    """The cell with outputs `function(bound, v_t, x_t, key)`; its structure survives."""
    cell = with_structure(cell)
    if not isinstance(cell, Cell):

        def read(bound, value, x, key=None):
            cell_key, map_key = split(key, 2)
            return function(bound, cell.read(bound, value, x, cell_key), x, map_key)

        return cell._replace(read=read)

    def step(bound, carry, x, key=None):
        cell_key, map_key = split(key, 2)
        carry, v = cell.step(bound, carry, x, cell_key)
        return carry, function(bound, v, x, map_key)

    return Cell(cell.init, cell.bind, cell.start, step)


def with_structure(cell: AnyCell) -> Cell | GatedCell | AffineCell:
    """The cell with as much structure as its outputs can be mapped under; a stack has none."""
    if isinstance(cell, GatedCell | AffineCell):
        return cell
    return Cell(cell.init, cell.bind, cell.start, cell.step)


def output_shape(cell: AnyCell, params: Params, x: Shaped, context: Context) -> Shaped:
    """What one step gives, as `jax.ShapeDtypeStruct`s."""

    def first(params, x, context):
        bound = cell.bind(params, x, context=context)
        return cell.step(bound, cell.start(bound, x), x)[1]

    return jax.eval_shape(first, params, x, context)
