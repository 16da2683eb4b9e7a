"""Dropout for recurrent cells, with masks that are drawn once a sequence.

`bind` draws the masks, and they are constants of the loop: if a mask changed from step to step, no
unit could remember for long. Without a key there is no dropout.
"""

from __future__ import annotations

from collections.abc import Iterable
from functools import partial
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp

from recur.call_repr import call_repr
from recur.checks import check_cell, check_rate, describe
from recur.combine.wrap import first_output, wrap_bound
from recur.keys import split, split_like
from recur.structure import named_shapes, on_named, on_products, recurrent_products
from recur.types import Bound, Cell, Shaped

Masks = tuple[jax.Array, ...]  # one for each shape that is masked


class _Bound(NamedTuple):
    """Bound params and masks; a mask is None where nothing is dropped."""

    cell: Bound
    inputs: Any = None
    recurrent: Masks | None = None
    outputs: Any = None


@call_repr
def variational_dropout(
    cell: Cell, *, inputs: float = 0.0, recurrent: float = 0.0, outputs: float = 0.0
) -> Cell:
    """Applies variational dropout: the same units are dropped at all steps of a sequence.

        d ~ bernoulli(1 - p) / (1 - p)    for each of d_x, d_h, d_y, once a sequence
        (h_{t-1} ⊙ d_h) U                 in place of h_{t-1} U, for each recurrent product
        carry_t, v_t = step(carry_{t-1}, x_t ⊙ d_x)    with these products
        y_t = v_t ⊙ d_y

    d_h acts only inside the products: a state that a gate carries over is not dropped. Recurrent
    products are found in the step. Those whose left factors have the same shape share a mask, such
    as h_{t-1} and `r_t ⊙ h_{t-1}` of a GRU with reset="before".

    Dropout is on when a key is given. Each sequence of a batch has its own masks; sequences packed
    into one row share them.

    Args:
      cell: the cell; wrap each cell of a stack, so that each has its own masks.
      inputs: dropout rate p of the input x.
      recurrent: dropout rate p of the hidden state h.
      outputs: dropout rate p of the output y.

    Returns:
      A `Cell` with the params and the carry of `cell`; the cell itself when all rates are 0.

    Raises:
      TypeError: when `cell` is not a cell; while tracing, when `recurrent` is above 0 for a cell
        without recurrent products, such as `indrnn`, or a dropped array is not floating-point.
      ValueError: when a rate is not in [0, 1).

    Example:
      >>> import jax, jax.numpy as jnp, recur
      >>> layer = recur.scan(recur.variational_dropout(recur.lstm(8), inputs=0.2, recurrent=0.3))
      >>> xs = jnp.ones((5, 3))
      >>> params = layer.init(jax.random.key(0), xs)
      >>> noisy = layer(params, xs, key=jax.random.key(1))
      >>> bool(jnp.allclose(noisy, layer(params, xs)))
      False

    References:
      Gal & Ghahramani 2016, A Theoretically Grounded Application of Dropout in Recurrent Neural
      Networks, https://arxiv.org/abs/1512.05287
    """
    caller = "variational_dropout"
    check_cell(cell, caller)
    inputs = check_rate(caller, "inputs", inputs)
    recurrent = check_rate(caller, "recurrent", recurrent)
    outputs = check_rate(caller, "outputs", outputs)
    if not (inputs or recurrent or outputs):
        return cell

    def bind(params, x, *, key=None, context=None):
        cell_key, x_key, h_key, y_key = split(key, 4)
        bound = cell.bind(params, x, key=cell_key, context=context)
        factors = factor_shapes(bound, x) if recurrent else ()

        def draw(key, rate, shapes):
            return draw_mask(key, rate, shapes, caller) if key is not None and rate else None

        return _Bound(
            cell=bound,
            inputs=draw(x_key, inputs, x),
            recurrent=draw(h_key, recurrent, factors),
            outputs=draw(y_key, outputs, first_output_shape(bound, x)),
        )

    first_output_shape = partial(jax.eval_shape, partial(first_output, cell))

    def factor_shapes(bound, x):
        carry = jax.eval_shape(cell.init_carry, bound, x)
        products, _ = recurrent_products(cell.step, bound, carry, x)
        if not products:
            raise TypeError(
                f"{caller}: recurrent > 0 needs a cell with recurrent products, h @ U, and none "
                "was found in its step. Use recur.zoneout, which takes any cell."
            )
        return _distinct(product.factor.aval for product in products)

    def step(bound, carry, x, key=None):
        noisy = cell.step
        if bound.recurrent is not None:
            noisy = on_products(noisy, factor=lambda _, n, h: _masked(h, bound.recurrent))
        if bound.inputs is not None:
            x = jax.tree.map(jnp.multiply, x, bound.inputs)
        carry, v = noisy(bound.cell, carry, x, key)
        if bound.outputs is not None:
            v = jax.tree.map(jnp.multiply, v, bound.outputs)
        return carry, v

    return wrap_bound(cell, cell.init, step, bind)


@call_repr
def recurrent_dropout(cell: Cell, rate: float) -> Cell:
    """Applies recurrent dropout without memory loss: drops units of the candidate values.

        d ~ bernoulli(1 - p) / (1 - p)    once a sequence
        c_t = f_t ⊙ c_{t-1} + i_t ⊙ (g_t ⊙ d)    in an LSTM; likewise in other cells

    It drops what a cell adds to its memory, and never the memory itself. The candidate is the value
    that the step names "candidate" with `recur.name`. Candidates of the same shape share a mask.

    Dropout is on when a key is given. Each sequence of a batch has its own mask; sequences packed
    into one row share it.

    Args:
      cell: a cell with a candidate, such as `lstm` and `gru`, or your own cell that names one; wrap
        each cell of a stack.
      rate: dropout rate p.

    Returns:
      A `Cell` with the params and the carry of `cell`; the cell itself when the rate is 0.

    Raises:
      TypeError: when `cell` is not a cell; while tracing, when its step names no candidate.
      ValueError: when the rate is not in [0, 1).

    Example:
      >>> import jax, jax.numpy as jnp, recur
      >>> layer = recur.scan(recur.recurrent_dropout(recur.lstm(8), 0.25))
      >>> xs = jnp.ones((5, 3))
      >>> params = layer.init(jax.random.key(0), xs)
      >>> final, ys = layer.run(params, xs, key=jax.random.key(1))
      >>> 0 < int((final.cell == 0).sum()) < 8  # nothing was ever added there
      True

    References:
      Semeniuta, Severyn & Barth 2016, Recurrent Dropout without Memory Loss,
      https://arxiv.org/abs/1603.05118
    """
    caller = "recurrent_dropout"
    check_cell(cell, caller)
    rate = check_rate(caller, "rate", rate)
    if not rate:
        return cell

    def bind(params, x, *, key=None, context=None):
        cell_key, mask_key = split(key, 2)
        bound = cell.bind(params, x, key=cell_key, context=context)
        carry = jax.eval_shape(cell.init_carry, bound, x)
        shapes = _distinct(named_shapes(cell.step, "candidate", bound, carry, x, caller))
        masks = None if mask_key is None else draw_mask(mask_key, rate, shapes, caller)
        return _Bound(bound, recurrent=masks)

    def step(bound, carry, x, key=None):
        noisy = cell.step
        if bound.recurrent is not None:
            noisy = on_named(noisy, "candidate", lambda _, g: _masked(g, bound.recurrent), caller)
        return noisy(bound.cell, carry, x, key)

    return wrap_bound(cell, cell.init, step, bind)


def draw_mask(key: jax.Array, rate: float, shapes: Shaped, caller: str) -> Any:
    """Draws `bernoulli(1 - rate) / (1 - rate)`, of mean 1, for each array of a pytree.

    Raises:
      TypeError: when one of them is not floating-point.
    """
    if not all(jnp.issubdtype(leaf.dtype, jnp.inexact) for leaf in jax.tree.leaves(shapes)):
        raise TypeError(
            f"{caller}: expected floating-point arrays to apply dropout to, got "
            f"{describe(shapes)}. To embed tokens first, wrap the result in recur.readin."
        )

    def draw(leaf, key):
        kept = jax.random.bernoulli(key, 1 - rate, leaf.shape)
        return kept.astype(leaf.dtype) / (1 - rate)

    return jax.tree.map(draw, shapes, split_like(key, shapes))


def _distinct(shapes: Iterable[Any]) -> tuple[jax.ShapeDtypeStruct, ...]:
    """Returns one array of each shape, in order."""
    dtypes: dict[tuple[int, ...], Any] = {}
    for each in shapes:
        dtypes.setdefault(each.shape, each.dtype)
    return tuple(jax.ShapeDtypeStruct(*item) for item in dtypes.items())


def _masked(value: jax.Array, masks: Masks) -> jax.Array:
    """Multiplies a value by the mask of its shape."""
    [mask] = [mask for mask in masks if mask.shape == value.shape]
    return value * mask.astype(value.dtype)
