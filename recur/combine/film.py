"""Feature-wise linear modulation (FiLM): the context scales and shifts the outputs of a cell."""

from __future__ import annotations

from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
from jax.nn.initializers import Initializer, lecun_normal

from recur.call_repr import call_repr
from recur.checks import (
    check_cell,
    check_floating,
    check_initializer,
    check_params,
    describe,
    drawn_by,
)
from recur.combine.context_values import check_width, vector_from
from recur.combine.wrap import output_shape, wrap_bound
from recur.keys import check_key, split
from recur.types import Cell, Params


class FilmParams(NamedTuple):
    """Weights of `film`.

    Attributes:
      cell: params of the cell.
      scale_kernel: G, `[D, F]`.
      shift_kernel: B, `[D, F]`.
    """

    cell: Params
    scale_kernel: jax.Array
    shift_kernel: jax.Array


class _Bound(NamedTuple):
    """What is computed once a sequence."""

    cell: Any
    scale: jax.Array  # 1 + z G: [F]
    shift: jax.Array  # z B: [F]


@call_repr
def film(
    cell: Cell,
    name: str,
    *,
    kernel_init: Initializer = lecun_normal(),
    param_dtype: Any = jnp.float32,
) -> Cell:
    """Applies feature-wise linear modulation (FiLM): a context vector scales and shifts outputs.

        y_t = (1 + z G) ⊙ v_t + z B,    where carry_t, v_t = step(carry_{t-1}, x_t)

    z G and z B are computed once a sequence.

    Args:
      cell: the cell whose outputs `[F]`, or `[..., F]`, are modulated.
      name: the name of z in the context, real `[D]`.
      kernel_init: initializer of G and B `[D, F]`, drawn independently.
      param_dtype: the dtype of G and B; y is computed in the dtype of v.

    Returns:
      A `Cell` with `FilmParams` and the carry of `cell`.

    Raises:
      TypeError: when `cell` is not a cell, `kernel_init` not an initializer, the dtype not real, or
        z does not hold real numbers.
      ValueError: while tracing, when the context has no such name, z is not `[D]` with the D of
        init, or the output is not one array `[..., F]`.

    Example:
      >>> import jax, jax.numpy as jnp, recur
      >>> layer = recur.scan(recur.film(recur.gru(8), "question"))
      >>> xs, context = jnp.ones((5, 3)), {"question": jnp.ones(6)}
      >>> params = layer.init(jax.random.key(0), xs, context=context)
      >>> layer(params, xs, context=context).shape
      (5, 8)

    References:
      Perez et al. 2018, FiLM: Visual Reasoning with a General Conditioning Layer,
      https://arxiv.org/abs/1709.07871
    """
    check_cell(cell, "film")
    check_initializer("film: kernel_init", kernel_init)
    check_floating("film", param_dtype=param_dtype)

    def init(key, x, context=None):
        cell_key, scale_key, shift_key = split(check_key(key), 3)
        width = vector_from(context, name, "film").shape[0]
        params = cell.init(cell_key, x, context=context)
        v = output_shape(cell, params, x, context)
        if not getattr(v, "shape", ()):
            raise ValueError(f"film: expected a cell with outputs [F], got {describe(v)}.")
        shape = (width, v.shape[-1])
        return FilmParams(
            cell=params,
            scale_kernel=drawn_by(kernel_init, scale_key, shape, param_dtype),
            shift_kernel=drawn_by(kernel_init, shift_key, shape, param_dtype),
        )

    def bind(params, x, *, key=None, context=None):
        check_params("film", params, FilmParams)
        z = jnp.asarray(vector_from(context, name, "film"))
        check_width(z.shape[0], params.scale_kernel.shape[0], f"film: {name!r}")
        z = z.astype(params.scale_kernel.dtype)
        return _Bound(
            cell=cell.bind(params.cell, x, key=key, context=context),
            scale=1 + z @ params.scale_kernel,
            shift=z @ params.shift_kernel,
        )

    def step(bound, carry, x, key=None):
        carry, v = cell.step(bound.cell, carry, x, key)
        scale, shift = (jnp.broadcast_to(each, v.shape).astype(v.dtype) for each in bound[1:])
        return carry, scale * v + shift

    return wrap_bound(cell, init, step, bind)
