"""Normalization inside the step.

Norms are taken over the units of one step of one sequence. Batch statistics are not supported
(Cooijmans et al. 2017, Recurrent Batch Normalization, https://arxiv.org/abs/1603.09025): a
recurrence needs separate statistics for each time step, and has none for steps beyond the longest
training sequence; a step would depend on the other rows of its batch instead of being a pure
function of one sequence; and padding would enter the statistics.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, NamedTuple

import jax

from recur.call_repr import call_repr
from recur.checks import check_cell
from recur.combine.wrap import bind_field, first_shapes, wrap_bound
from recur.keys import check_key, split
from recur.modules import as_module
from recur.structure import Product, input_products, on_inputs, on_products, recurrent_products
from recur.structure.jaxprs import aval_of
from recur.types import Cell, Params


class NormalizeParams(NamedTuple):
    """Weights of `normalize`.

    Attributes:
      cell: params of the cell.
      input: params of N for each product of the input, in the order of the step.
      recurrent: params of N' for each recurrent product, in the order of the step.
    """

    cell: Params
    input: tuple[Params, ...]
    recurrent: tuple[Params, ...]


@call_repr
def normalize(cell: Cell, norm: Any) -> Cell:
    """Applies layer normalization, or another norm, to the matrix products of a step.

        N(x_t W)         in place of x_t W, for each product of the input
        N'(h_{t-1} U)    in place of h_{t-1} U, for each recurrent product

    An Elman network becomes `h_t = tanh(N(x_t W) + N'(h_{t-1} U) + b)`, and the gates do not depend
    on the scale of the kernels. Biases are outside of the norms, as in Ba et al. Each product has
    its own norm, and a product that the step splits into gates counts once for each gate: an LSTM
    has eight norms.

    Products of the input are the last ones before it reaches the carry, so the products of an MLP
    in `readin` or `readout` are not normalized.

    Args:
      cell: a cell with recurrent products; wrap each cell of a stack.
      norm: N, a module that keeps the shape, such as `flax.linen.LayerNorm()` or
        `flax.linen.RMSNorm()`; or a function, or a name of `recur.modules.ACTIVATIONS`.

    Returns:
      A `Cell` with `NormalizeParams` and the carry of `cell`.

    Raises:
      TypeError: when `cell` is not a cell, or `norm` none of these types; while tracing, when the
        cell has no recurrent products.
      ValueError: when `norm` is an unknown name, or a module with mutable collections, such as
        BatchNorm; while tracing, when N does not keep the shape.

    Example:
      >>> import jax, jax.numpy as jnp, recur
      >>> from flax import linen as nn
      >>> layer = recur.scan(recur.normalize(recur.gru(4), nn.RMSNorm()))
      >>> xs = jnp.ones((5, 3))
      >>> params = layer.init(jax.random.key(0), xs)
      >>> layer(params, xs).shape, [norm["scale"].shape for norm in params.recurrent]
      ((5, 4), [(4,), (4,), (4,)])

    References:
      Ba, Kiros & Hinton 2016, Layer Normalization, https://arxiv.org/abs/1607.06450
      Zhang & Sennrich 2019, Root Mean Square Layer Normalization,
      https://arxiv.org/abs/1910.07467
    """
    check_cell(cell, "normalize")
    module = as_module(norm)

    def init(key, x, context=None):
        cell_key, input_key, recurrent_key = split(check_key(key), 3)
        params = cell.init(cell_key, x, context=context)
        bound, carry, _ = first_shapes(cell, params, x, context)
        recurrent, _ = recurrent_products(cell.step, bound, carry, x)
        if not recurrent:
            raise TypeError(
                "normalize: expected a cell with recurrent products, h @ U, and none was found in "
                "its step. Normalize its input or output with recur.readin or recur.readout."
            )
        of_input, _ = input_products(cell.step, bound, carry, x)
        return NormalizeParams(params, draw(input_key, of_input), draw(recurrent_key, recurrent))

    def draw(key: jax.Array, products: Sequence[Product]) -> tuple[Params, ...]:
        keys = split(key, len(products))
        return tuple(
            module.init(k, jax.ShapeDtypeStruct(aval_of(p.result).shape, aval_of(p.result).dtype))
            for k, p in zip(keys, products, strict=True)
        )

    def step(bound, carry, x, key=None):
        cell_key, input_key, recurrent_key = split(key, 3)

        def norms(params, key):
            keys = split(key, len(params))
            return lambda _, n, product: apply(params[n], product, keys[n])

        normal = on_inputs(cell.step, norms(bound.input, input_key))
        normal = on_products(normal, result=norms(bound.recurrent, recurrent_key))
        return normal(bound.cell, carry, x, cell_key)

    def apply(params, product, key):
        normal = module.apply(params, product, key=key)
        if normal.shape != product.shape:
            raise ValueError(
                f"normalize: expected norm to keep the shape {list(product.shape)}, got "
                f"{list(normal.shape)}."
            )
        return normal.astype(product.dtype)

    return wrap_bound(cell, init, step, bind_field(cell, "normalize", NormalizeParams))
