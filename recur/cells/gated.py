"""The gated cell: a gate lets the state pass through or lets it be renewed."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
from jax.nn.initializers import lecun_normal, orthogonal, zeros

from recur.cells.initial import Initializer, draw_each, draw_start
from recur.cells.parts import candidate, casting, input_width, itself, linear_each, same, start_from
from recur.keys import check_key
from recur.modules import activation as activation_of
from recur.types import GatedCell


class GatedGates(NamedTuple):
    """One array a gate of `gated`."""

    update: jax.Array  # z
    candidate: jax.Array  # h̄


class GatedParams(NamedTuple):
    """Weights of `gated`."""

    kernel: GatedGates  # W_x: [I, H] each
    recurrent_kernel: GatedGates  # W_h: [H, H] each
    bias: GatedGates | None  # b: [H] each
    start: jax.Array | None  # h_0: [H], when learned


def gated(
    features: int,
    *,
    activation: str | Callable = "relu",
    use_bias: bool = True,
    kernel_init: Initializer = lecun_normal(),
    recurrent_kernel_init: Initializer = orthogonal(),
    bias_init: Initializer = zeros,
    start_init: Initializer | None = None,
    dtype: Any = None,
    param_dtype: Any = jnp.float32,
) -> GatedCell:
    """The pass-through cell: one gate, between the old state and a full update.

        z_t = sigmoid(x_t W_xz + h_{t-1} W_hz + b_z)
        h̄_t = φ(x_t W_xh + h_{t-1} W_hh + b_h)
        h_t = z_t ⊙ h_{t-1} + (1 - z_t) ⊙ h̄_t
        y_t = h_t

    Where z is 1 the state passes through unchanged, and its gradient with it. It is a GRU without
    a reset gate.

    Args:
      features: H, the width of the state.
      activation: φ, a name of `recur.modules.ACTIVATIONS` or any elementwise function.
      use_bias: whether there are b_z and b_h.
      kernel_init: of W_xz and W_xh `[I, H]`, each drawn apart.
      recurrent_kernel_init: of W_hz and W_hh `[H, H]`, each drawn apart.
      bias_init: of b_z and b_h `[H]`.
      start_init: of h_0 `[H]`, which is then learned; without it h_0 is zero.
      dtype: what is computed in; by default what the weights and the input promote to.
      param_dtype: what the weights are stored in.

    Returns:
      A `GatedCell` with `GatedParams`; the carry is h `[H]`, x is `[I]`, y is `[H]`.

    Raises:
      ValueError: when the activation is unknown or x is not `[I]`.

    Example:
      >>> import jax, jax.numpy as jnp, recur
      >>> layer = recur.scan(recur.gated(4))
      >>> xs = jnp.ones((5, 3))
      >>> params = layer.init(jax.random.key(0), xs)
      >>> layer(params, xs).shape
      (5, 4)

    References:
      Cho et al. 2014, Learning Phrase Representations using RNN Encoder-Decoder (the update gate,
      alone), https://arxiv.org/abs/1406.1078
    """
    phi = activation_of(activation)

    def init(key, x, context=None):
        del context
        width = input_width(x, "gated")
        w, u, b, h = jax.random.split(check_key(key), 4)
        square = (features, features)
        return GatedParams(
            kernel=draw_each(GatedGates, kernel_init, w, (width, features), param_dtype),
            recurrent_kernel=draw_each(GatedGates, recurrent_kernel_init, u, square, param_dtype),
            bias=draw_each(GatedGates, bias_init, b, (features,), param_dtype)
            if use_bias
            else None,
            start=draw_start(start_init, h, (features,), param_dtype),
        )

    def start(bound, x):
        del x
        return start_from(bound.start, bound.kernel.update, features)

    def project(bound, x, key=None):
        del key
        return linear_each(x, bound.kernel, bound.bias, "gated")

    def kernels(bound):
        return bound.recurrent_kernel

    def gates(bound, h, u, m):
        del bound
        z = jax.nn.sigmoid(u.update + m.update)
        h = z * h + (1 - z) * candidate(phi, u.candidate, m.candidate)
        return h, h

    return GatedCell(init, casting(dtype), start, project, itself, kernels, gates, same)
