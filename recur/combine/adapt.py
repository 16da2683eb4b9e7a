"""Modules applied to the input or to the output of a cell."""

from __future__ import annotations

from typing import Any, NamedTuple

import jax

from recur.call_repr import call_repr
from recur.checks import check_cell, check_params
from recur.combine.wrap import bind_field, output_shape, wrap_bound
from recur.keys import check_key, split
from recur.modules import as_module
from recur.types import Cell, Params


class ReadinParams(NamedTuple):
    """Weights of `readin`.

    Attributes:
      input: params of the module ψ.
      cell: params of the cell.
    """

    input: Params
    cell: Params


class ReadoutParams(NamedTuple):
    """Weights of `readout`.

    Attributes:
      cell: params of the cell.
      output: params of the module ψ.
    """

    cell: Params
    output: Params


@call_repr
def readin(cell: Cell, input: Any) -> Cell:
    """Applies a module to the input of each step, such as an embedding or an MLP.

        carry_t, y_t = step(carry_{t-1}, ψ(x_t))

    With an MLP, it is the deep input-to-hidden function of Pascanu et al.

    Args:
      cell: the cell that reads ψ(x_t).
      input: ψ, a module, a function of one step, or a name of `recur.modules.ACTIVATIONS`.

    Returns:
      A `Cell` with `ReadinParams` and the carry of `cell`; x is the input of ψ.

    Raises:
      TypeError: when `cell` is not a cell, or `input` none of these types.
      ValueError: when `input` is an unknown name, or a module with mutable collections.

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
    _check_order(cell, input, "readin")
    psi = as_module(input)

    def init(key, x, context=None):
        input_key, cell_key = split(check_key(key), 2)
        params = psi.init(input_key, x)
        seen = jax.eval_shape(psi.apply, params, x)
        return ReadinParams(input=params, cell=cell.init(cell_key, seen, context=context))

    def bind(params, x, *, key=None, context=None):
        check_params("readin", params, ReadinParams)
        seen = jax.eval_shape(psi.apply, params.input, x)
        return params._replace(cell=cell.bind(params.cell, seen, key=key, context=context))

    def init_carry(bound, x):
        return cell.init_carry(bound.cell, jax.eval_shape(psi.apply, bound.input, x))

    def step(bound, carry, x, key=None):
        input_key, cell_key = split(key, 2)
        x = psi.apply(bound.input, x, key=input_key)
        return cell.step(bound.cell, carry, x, cell_key)

    return Cell(init, bind, init_carry, step)


@call_repr
def readout(cell: Cell, output: Any) -> Cell:
    """Applies a module to the output of each step, such as a dense layer.

        y_t = ψ(v_t),    where carry_t, v_t = step(carry_{t-1}, x_t)

    Args:
      cell: the cell whose output is v_t.
      output: ψ, a module, a function of one step, or a name of `recur.modules.ACTIVATIONS`.

    Returns:
      A `Cell` with `ReadoutParams` and the carry of `cell`; y is the output of ψ.

    Raises:
      TypeError: when `cell` is not a cell, or `output` none of these types.
      ValueError: when `output` is an unknown name, or a module with mutable collections.

    Example:
      >>> import jax, jax.numpy as jnp, recur
      >>> from flax import linen as nn
      >>> tagger = recur.scan(recur.readout(recur.lstm(8), nn.Dense(2)))
      >>> xs = jnp.ones((5, 3))
      >>> params = tagger.init(jax.random.key(0), xs)
      >>> tagger(params, xs).shape
      (5, 2)
    """
    _check_order(cell, output, "readout")
    psi = as_module(output)

    def init(key, x, context=None):
        cell_key, output_key = split(check_key(key), 2)
        params = cell.init(cell_key, x, context=context)
        v = output_shape(cell, params, x, context)
        return ReadoutParams(cell=params, output=psi.init(output_key, v))

    def step(bound, carry, x, key=None):
        cell_key, output_key = split(key, 2)
        carry, v = cell.step(bound.cell, carry, x, cell_key)
        return carry, psi.apply(bound.output, v, key=output_key)

    return wrap_bound(cell, init, step, bind_field(cell, "readout", ReadoutParams))


def _check_order(cell: Any, module: Any, caller: str) -> None:
    """Raises a TypeError unless `cell` is a cell; the message says if the two are swapped."""
    if isinstance(module, Cell) and not isinstance(cell, Cell):
        raise TypeError(f"{caller}: expected the cell first, recur.{caller}(cell, module).")
    check_cell(cell, caller)
