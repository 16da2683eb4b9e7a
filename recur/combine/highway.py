"""The highway connection around a cell."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
from jax.nn.initializers import constant, lecun_normal

from recur.checks import check_cell, describe
from recur.combine.structure import map_outputs, output_shape, within
from recur.keys import check_key, split
from recur.products import product
from recur.types import AnyCell, Params


class HighwayParams(NamedTuple):
    """Weights of `highway`."""

    cell: Params
    kernel: jax.Array  # W: [I, I]
    bias: jax.Array  # b: [I]


def highway(
    cell: AnyCell,
    *,
    kernel_init: Callable[..., jax.Array] = lecun_normal(),
    bias_init: Callable[..., jax.Array] = constant(-1.0),
    param_dtype: Any = jnp.float32,
) -> AnyCell:
    """Lets a gate choose between the output and the input.

        t_t = sigmoid(x_t W + b)
        y_t = t_t ⊙ v_t + (1 - t_t) ⊙ x_t,    where carry_t, v_t = step(carry_{t-1}, x_t)

    With a negative b the input passes at first, however many cells are stacked. The structure of a
    `GatedCell` or an `AffineCell` survives: the gate is formed after the loop, as one product for
    all steps.

    Args:
      cell: a cell whose outputs have the shape of its inputs, I wide.
      kernel_init: of W `[I, I]`.
      bias_init: of b `[I]`.
      param_dtype: what W and b are stored in; computed is in the dtype of v.

    Returns:
      A cell of the same kind (a plain `Cell` for a stack) with `HighwayParams`; its carry is the
      cell's own.

    Raises:
      TypeError: when `cell` is not a cell.
      ValueError: when the shapes of x and v differ, or x is not as wide as at `init`.

    Example:
      >>> import jax, jax.numpy as jnp, recur
      >>> deep = recur.stack(*[recur.highway(recur.gru(4)) for _ in range(3)])
      >>> layer = recur.scan(deep)
      >>> xs = jnp.ones((5, 4))
      >>> layer(layer.init(jax.random.key(0), xs), xs).shape
      (5, 4)

    References:
      Srivastava, Greff & Schmidhuber 2015, Highway Networks, https://arxiv.org/abs/1505.00387
    """
    check_cell(cell, "highway")

    def init(key, x, context=None):
        cell_key, kernel_key, bias_key = split(check_key(key), 3)
        params = cell.init(cell_key, x, context=context)
        _check_same_shape(x, output_shape(cell, params, x, context))
        width = x.shape[-1]
        return HighwayParams(
            cell=params,
            kernel=kernel_init(kernel_key, (width, width), param_dtype),
            bias=bias_init(bias_key, (width,), param_dtype),
        )

    def bind(params, x, *, key=None, context=None):
        if x.shape[-1] != len(params.bias):
            raise ValueError(
                f"highway was initialised for inputs of width {len(params.bias)}, got "
                f"{x.shape[-1]}."
            )
        return params._replace(cell=cell.bind(params.cell, x, key=key, context=context))

    def choose(bound, v, x, key):
        del key
        _check_same_shape(x, v)
        x, kernel, bias = (a.astype(v.dtype) for a in (x, bound.kernel, bound.bias))
        a = product(x, kernel)
        t = jax.nn.sigmoid(a + jnp.broadcast_to(bias, a.shape))
        return t * v + (1 - t) * x

    return map_outputs(within(cell, init, bind), choose)


def _check_same_shape(x: Any, v: Any) -> None:
    """Raises a ValueError unless the input and the output are arrays of one shape."""
    shapes = [getattr(value, "shape", None) for value in (x, v)]
    if shapes[0] != shapes[1] or not shapes[0]:
        raise ValueError(
            f"highway passes x or the output, so both need one shape: x is {describe(x)}, the "
            f"output is {describe(v)}. Make the cell as wide as its input."
        )
