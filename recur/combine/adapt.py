"""Maps around a cell: what is made of its outputs."""

from __future__ import annotations

from typing import Any, NamedTuple

from recur.checks import check_cell
from recur.combine.structure import map_outputs, output_shape, within
from recur.keys import check_key, split
from recur.modules import as_module
from recur.types import AnyCell, Params


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
    psi = as_module(output)

    def init(key, x, context=None):
        cell_key, output_key = split(check_key(key), 2)
        params = cell.init(cell_key, x, context=context)
        v = output_shape(cell, params, x, context)
        return ReadoutParams(cell=params, output=psi.init(output_key, v))

    def bind(params, x, *, key=None, context=None):
        return params._replace(cell=cell.bind(params.cell, x, key=key, context=context))

    nested = within(cell, init, bind)
    return map_outputs(nested, lambda bound, v, x, key: psi.apply(bound.output, v, key=key))
