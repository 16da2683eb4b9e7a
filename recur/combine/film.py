"""Feature-wise linear modulation: a context scales and shifts what a cell gives."""

from __future__ import annotations

from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
from jax.nn.initializers import Initializer, lecun_normal

from recur.checks import check_cell, describe
from recur.combine.structure import map_outputs, output_shape, within
from recur.combine.vectors import check_width, vector_from
from recur.keys import check_key, split
from recur.products import product
from recur.types import AnyCell, Params


class FilmParams(NamedTuple):
    """Weights of `film`."""

    cell: Params
    scale_kernel: jax.Array  # G: [D, F]
    shift_kernel: jax.Array  # B: [D, F]


class _Bound(NamedTuple):
    cell: Any
    scale: jax.Array  # 1 + z G: [F]
    shift: jax.Array  # z B: [F]


def film(
    cell: AnyCell,
    name: str,
    *,
    kernel_init: Initializer = lecun_normal(),
    param_dtype: Any = jnp.float32,
) -> AnyCell:
    """Scales and shifts the features of the output by a vector z of the context.

        y_t = (1 + z G) ⊙ v_t + z B,    where carry_t, v_t = step(carry_{t-1}, x_t)

    The structure of a `GatedCell` or an `AffineCell` survives. z G and z B are computed once a
    sequence.

    Args:
      cell: the cell whose outputs are modulated.
      name: of z `[D]` in the context, real numbers.
      kernel_init: of G and B `[D, F]`, each drawn apart.
      param_dtype: what G and B are stored in.

    Returns:
      A cell of the same kind (a plain `Cell` for a stack) with `FilmParams`; its carry is the
      cell's own, y is `[F]`, or `[..., F]`, as that of the cell.

    Raises:
      TypeError: when `cell` is not a cell, or z does not hold real numbers.
      ValueError: while tracing, when there is no such context, z is not `[D]` with the D of init,
        or the output is not one array `[..., F]`.

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

    def init(key, x, context=None):
        cell_key, scale_key, shift_key = split(check_key(key), 3)
        width = vector_from(context, name, "film").shape[0]
        params = cell.init(cell_key, x, context=context)
        shape = (width, _features(output_shape(cell, params, x, context)))
        return FilmParams(
            cell=params,
            scale_kernel=kernel_init(scale_key, shape, param_dtype),
            shift_kernel=kernel_init(shift_key, shape, param_dtype),
        )

    def bind(params, x, *, key=None, context=None):
        z = jnp.asarray(vector_from(context, name, "film"))
        check_width(z.shape[0], params.scale_kernel.shape[0], f"film: {name!r}")
        z = z.astype(params.scale_kernel.dtype)
        return _Bound(
            cell=cell.bind(params.cell, x, key=key, context=context),
            scale=1 + product(z, params.scale_kernel),
            shift=product(z, params.shift_kernel),
        )

    def modulate(bound, v, x, key):
        del x, key
        scale, shift = (jnp.broadcast_to(each, v.shape).astype(v.dtype) for each in bound[1:])
        return scale * v + shift

    return map_outputs(within(cell, init, bind), modulate)


def _features(v: Any) -> int:
    if not getattr(v, "shape", ()):
        raise ValueError(f"film: expected outputs [F] of the cell, got {describe(v)}.")
    return v.shape[-1]
