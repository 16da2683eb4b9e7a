"""Skip connections around a cell: residual and highway connections."""

from __future__ import annotations

from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
from jax.nn.initializers import Initializer, constant, lecun_normal

from recur.call_repr import call_repr
from recur.checks import check_cell, check_floating, check_initializer, describe, drawn_by
from recur.combine.wrap import bind_field, output_shape, wrap_bound
from recur.keys import check_key, split
from recur.types import Cell, Params


@call_repr
def residual(cell: Cell) -> Cell:
    """Adds a residual connection: the input is added to the output.

        y_t = x_t + v_t,    where carry_t, v_t = step(carry_{t-1}, x_t)

    Args:
      cell: a cell whose outputs have the shape of its inputs.

    Returns:
      A `Cell` with the params and the carry of `cell`; y is in the dtype of v.

    Raises:
      TypeError: when `cell` is not a cell.
      ValueError: while tracing, when the shapes of x and v differ.

    Example:
      >>> import jax, jax.numpy as jnp, recur
      >>> deep = recur.stack(*[recur.residual(recur.gru(4)) for _ in range(3)])
      >>> layer = recur.scan(deep)
      >>> xs = jnp.ones((5, 4))
      >>> layer(layer.init(jax.random.key(0), xs), xs).shape
      (5, 4)

    References:
      He et al. 2016, Deep Residual Learning for Image Recognition, https://arxiv.org/abs/1512.03385
    """
    check_cell(cell, "residual")

    def step(bound, carry, x, key=None):
        carry, v = cell.step(bound, carry, x, key)
        _check_same_shape("residual", x, v)
        return carry, jax.tree.map(lambda v, x: v + x.astype(v.dtype), v, x)

    return Cell(cell.init, cell.bind, cell.init_carry, step)


class HighwayParams(NamedTuple):
    """Weights of `highway`.

    Attributes:
      cell: params of the cell.
      kernel: W, `[I, I]`.
      bias: b, `[I]`.
    """

    cell: Params
    kernel: jax.Array
    bias: jax.Array


@call_repr
def highway(
    cell: Cell,
    *,
    kernel_init: Initializer = lecun_normal(),
    bias_init: Initializer = constant(-1.0),
    param_dtype: Any = jnp.float32,
) -> Cell:
    """Adds a highway connection: a gate mixes the output and the input.

        t_t = sigmoid(x_t W + b)
        y_t = t_t ⊙ v_t + (1 - t_t) ⊙ x_t,    where carry_t, v_t = step(carry_{t-1}, x_t)

    With a negative b the input mostly passes through at first, so deep stacks can be trained.

    Args:
      cell: a cell whose outputs have the shape of its inputs, `[I]`.
      kernel_init: initializer of W `[I, I]`.
      bias_init: initializer of b `[I]`.
      param_dtype: the dtype of W and b; y is computed in the dtype of v.

    Returns:
      A `Cell` with `HighwayParams` and the carry of `cell`.

    Raises:
      TypeError: when `cell` is not a cell, an initializer is not one, or the dtype is not real.
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
    check_initializer("highway: kernel_init", kernel_init)
    check_initializer("highway: bias_init", bias_init)
    check_floating("highway", param_dtype=param_dtype)

    def init(key, x, context=None):
        cell_key, kernel_key, bias_key = split(check_key(key), 3)
        params = cell.init(cell_key, x, context=context)
        _check_same_shape("highway", x, output_shape(cell, params, x, context))
        if not getattr(x, "shape", ()):
            raise ValueError(f"highway: expected one array x of shape [I], got {describe(x)}.")
        width = x.shape[-1]
        return HighwayParams(
            cell=params,
            kernel=drawn_by(kernel_init, kernel_key, (width, width), param_dtype),
            bias=drawn_by(bias_init, bias_key, (width,), param_dtype),
        )

    def step(bound, carry, x, key=None):
        carry, v = cell.step(bound.cell, carry, x, key)
        _check_same_shape("highway", x, v)
        width = len(bound.bias)
        if x.shape[-1] != width:
            raise ValueError(
                f"highway: expected inputs of width {width}, as at init, got {x.shape[-1]}."
            )
        x, kernel, bias = (a.astype(v.dtype) for a in (x, bound.kernel, bound.bias))
        t = jax.nn.sigmoid(x @ kernel + jnp.broadcast_to(bias, x.shape))
        return carry, t * v + (1 - t) * x

    return wrap_bound(cell, init, step, bind_field(cell, "highway", HighwayParams))


def _check_same_shape(caller: str, x: Any, v: Any) -> None:
    """Raises a ValueError unless the input and the output have the same shape."""
    if jax.tree.map(lambda leaf: leaf.shape, x) != jax.tree.map(lambda leaf: leaf.shape, v):
        raise ValueError(
            f"{caller}: expected a cell whose output has the shape of its input, {describe(x)}, "
            f"got {describe(v)}. Make the cell as wide as its input."
        )
