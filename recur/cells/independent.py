"""The independently recurrent network: each unit feeds back to itself alone."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
from jax.nn.initializers import lecun_normal, uniform, zeros

from recur.cells.initial import Initializer, draw, draw_start
from recur.cells.parts import casting, input_width, itself, linear, same, start_from
from recur.keys import check_key
from recur.modules import activation as activation_of
from recur.types import GatedCell


class IndRNNParams(NamedTuple):
    """Weights of `indrnn`."""

    kernel: jax.Array  # W: [I, H]
    recurrent: jax.Array  # u: [H]
    bias: jax.Array | None  # b: [H]
    start: jax.Array | None  # h_0: [H], when learned


def indrnn(
    features: int,
    *,
    activation: str | Callable = "relu",
    use_bias: bool = True,
    kernel_init: Initializer = lecun_normal(),
    recurrent_init: Initializer = uniform(1.0),
    bias_init: Initializer = zeros,
    start_init: Initializer | None = None,
    dtype: Any = None,
    param_dtype: Any = jnp.float32,
) -> GatedCell:
    """The independently recurrent network: a vector instead of the recurrent matrix.

        h_t = φ(x_t W + u ⊙ h_{t-1} + b)
        y_t = h_t

    Units meet in the layer above, so it is used as a stack. With ReLU the gradient of an active
    unit over n steps is u^n: it neither vanishes nor explodes over T steps where |u|^T stays near
    one. There is no product inside the loop.

    Args:
      features: H, the width of the state.
      activation: φ, a name of `recur.modules.ACTIVATIONS` or any elementwise function.
      use_bias: whether there is a b.
      kernel_init: of W `[I, H]`.
      recurrent_init: of u `[H]`; the default draws evenly from 0 to 1.
      bias_init: of b `[H]`.
      start_init: of h_0 `[H]`, which is then learned; without it h_0 is zero.
      dtype: what is computed in; by default what the weights and the input promote to.
      param_dtype: what the weights are stored in.

    Returns:
      A `GatedCell` without kernels, with `IndRNNParams`; the carry is h `[H]`, x is `[I]`, y is
      `[H]`.

    Raises:
      ValueError: when the activation is unknown or x is not `[I]`.

    Example:
      >>> import jax, jax.numpy as jnp, recur
      >>> layer = recur.scan(recur.stack(recur.indrnn(4), recur.indrnn(4)))
      >>> xs = jnp.ones((5, 3))
      >>> layer(layer.init(jax.random.key(0), xs), xs).shape
      (5, 4)

    References:
      Li et al. 2018, Independently Recurrent Neural Network (IndRNN): Building A Longer and Deeper
      RNN, https://arxiv.org/abs/1803.04831
    """
    phi = activation_of(activation)

    def init(key, x, context=None):
        del context
        width = input_width(x, "indrnn")
        w, u, b, h = jax.random.split(check_key(key), 4)
        return IndRNNParams(
            kernel=draw(kernel_init, w, (width, features), param_dtype),
            recurrent=draw(recurrent_init, u, (features,), param_dtype),
            bias=draw(bias_init, b, (features,), param_dtype) if use_bias else None,
            start=draw_start(start_init, h, (features,), param_dtype),
        )

    def start(bound, x):
        del x
        return start_from(bound.start, bound.kernel, features)

    def project(bound, x, key=None):
        del key
        return linear(x, bound.kernel, bound.bias, "indrnn")

    def kernels(bound):
        del bound
        return ()

    def gates(bound, h, u, m):
        del m
        h = phi(u + bound.recurrent * h)
        return h, h

    return GatedCell(init, casting(dtype), start, project, itself, kernels, gates, same)
