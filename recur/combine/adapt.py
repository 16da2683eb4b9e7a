"""Maps around a cell: what is made of its inputs, and of its outputs."""

from __future__ import annotations

from typing import Any, NamedTuple

import jax

from recur.checks import check_cell
from recur.combine.structure import map_inputs, map_outputs, output_shape, within
from recur.keys import check_key, split
from recur.modules import as_module
from recur.types import AnyCell, Params


class ReadinParams(NamedTuple):
    """Weights of `readin`."""

    input: Params
    cell: Params


class ReadoutParams(NamedTuple):
    """Weights of `readout`."""

    cell: Params
    output: Params


def readin(cell: AnyCell, input: Any) -> AnyCell:
    """Reads an input into every step.

        carry_t, y_t = step(carry_{t-1}, x'_t),    where x'_t = ψ(x_t)

    The structure of a `GatedCell` or an `AffineCell` survives: ψ is done before the loop, where it
    is one product for all steps. With an MLP it is a deep transition from input to hidden state.
    What reads its input once more after the loop, as `residual` does inside of `readin`, sees ψ
    without noise there.

    Args:
      cell: the cell that reads what ψ gives.
      input: ψ, a Linen module, a function of one step, or a name of `recur.modules.ACTIVATIONS`.

    Returns:
      A cell of the same kind (a plain `Cell` for a stack) with `ReadinParams`; its carry is the
      cell's own.

    Raises:
      TypeError: when `cell` is not a cell, or `input` none of these.
      ValueError: when it is an unknown name, or a module with mutable collections.

    Example:
      >>> import jax, jax.numpy as jnp, recur
      >>> from flax import linen as nn
      >>> reader = recur.scan(recur.readin(recur.lstm(8), nn.Embed(10, 4)))
      >>> tokens = jnp.array([3, 1, 4, 1, 5])
      >>> params = reader.init(jax.random.key(0), tokens)
      >>> reader(params, tokens).shape
      (5, 8)

    References:
      Pascanu et al. 2014, How to Construct Deep Recurrent Neural Networks,
      https://arxiv.org/abs/1312.6026
    """
    check_cell(cell, "readin")
    psi = as_module(input)

    def init(key, x, context=None):
        input_key, cell_key = split(check_key(key), 2)
        params = psi.init(input_key, x)
        seen = jax.eval_shape(psi.apply, params, x)
        return ReadinParams(input=params, cell=cell.init(cell_key, seen, context=context))

    def bind(params, x, *, key=None, context=None):
        seen = jax.eval_shape(psi.apply, params.input, x)
        return params._replace(cell=cell.bind(params.cell, seen, key=key, context=context))

    nested = within(cell, init, bind)
    return map_inputs(nested, lambda bound, x, key: psi.apply(bound.input, x, key=key))


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
