"""The Elman network: the simple recurrent network."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
from jax.nn.initializers import lecun_normal, orthogonal, zeros

from recur.cells.initial import Initializer, draw, draw_start
from recur.cells.parts import casting, input_width, itself, linear, same, start_from
from recur.keys import check_key
from recur.modules import activation as activation_of
from recur.types import GatedCell


class ElmanParams(NamedTuple):
    """Weights of `elman`."""

    kernel: jax.Array  # W: [I, H]
    recurrent_kernel: jax.Array  # U: [H, H]
    bias: jax.Array | None  # b: [H]
    start: jax.Array | None  # h_0: [H], when learned


def elman(
    features: int,
    *,
    activation: str | Callable = "tanh",
    use_bias: bool = True,
    kernel_init: Initializer = lecun_normal(),
    recurrent_kernel_init: Initializer = orthogonal(),
    bias_init: Initializer = zeros,
    start_init: Initializer | None = None,
    dtype: Any = None,
    param_dtype: Any = jnp.float32,
) -> GatedCell:
    """The simple recurrent network, whose hidden state is fed back.

        h_t = σ(x_t W + h_{t-1} U + b)
        y_t = h_t

    With ReLU and `recurrent_kernel_init=scaled_identity()` it is the IRNN; on inputs of width 0,
    `xs = jnp.zeros((T, 0))`, it is the dynamical system `h_t = σ(h_{t-1} U + b)`.

    Args:
      features: H, the width of the state.
      activation: σ, a name of `recur.modules.ACTIVATIONS` or any elementwise function.
      use_bias: whether there is a b.
      kernel_init: of W `[I, H]`.
      recurrent_kernel_init: of U `[H, H]`.
      bias_init: of b `[H]`.
      start_init: of h_0 `[H]`, which is then learned; without it h_0 is zero.
      dtype: what is computed in; by default what the weights and the input promote to.
      param_dtype: what the weights are stored in.

    Returns:
      A `GatedCell` with `ElmanParams`; the carry is h `[H]`, x is `[I]`, y is `[H]`.

    Raises:
      ValueError: when the activation is unknown or x is not `[I]`.

    Example:
      >>> import jax, jax.numpy as jnp, recur
      >>> layer = recur.scan(recur.elman(4))
      >>> xs = jnp.ones((5, 3))
      >>> params = layer.init(jax.random.key(0), xs)
      >>> layer(params, xs).shape
      (5, 4)

    References:
      Elman 1990, Finding Structure in Time, https://doi.org/10.1207/s15516709cog1402_1
    """
    sigma = activation_of(activation)

    def init(key, x, context=None):
        del context
        width = input_width(x, "elman")
        w, u, b, h = jax.random.split(check_key(key), 4)
        return ElmanParams(
            kernel=draw(kernel_init, w, (width, features), param_dtype),
            recurrent_kernel=draw(recurrent_kernel_init, u, (features, features), param_dtype),
            bias=draw(bias_init, b, (features,), param_dtype) if use_bias else None,
            start=draw_start(start_init, h, (features,), param_dtype),
        )

    def start(bound, x):
        del x
        return start_from(bound.start, bound.recurrent_kernel, features)

    def project(bound, x, key=None):
        del key
        return linear(x, bound.kernel, bound.bias, "elman")

    def kernels(bound):
        return bound.recurrent_kernel

    def gates(bound, h, u, m):
        del bound, h
        h = sigma(u + m)
        return h, h

    return GatedCell(init, casting(dtype), start, project, itself, kernels, gates, same)
