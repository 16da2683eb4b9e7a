"""Minimal recurrent cells, whose gates see the input alone: they are linear in their carry."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
from jax.nn.initializers import lecun_normal, zeros

from recur.cells.initial import Initializer, draw_each, draw_start
from recur.cells.parts import casting, input_width, linear_each, same, start_from
from recur.keys import check_key
from recur.modules import activation as activation_of
from recur.types import AffineCell


class MinGRUGates(NamedTuple):
    """One array a gate of `min_gru`."""

    update: jax.Array  # z
    candidate: jax.Array  # h̃


class MinGRUParams(NamedTuple):
    """Weights of `min_gru`."""

    kernel: MinGRUGates  # W: [I, H] each
    bias: MinGRUGates | None  # b: [H] each
    start: jax.Array | None  # h_0: [H], when learned


class MinLSTMGates(NamedTuple):
    """One array a gate of `min_lstm`."""

    forget: jax.Array  # f
    input: jax.Array  # i
    candidate: jax.Array  # h̃


class MinLSTMParams(NamedTuple):
    """Weights of `min_lstm`."""

    kernel: MinLSTMGates  # W: [I, H] each
    bias: MinLSTMGates | None  # b: [H] each
    start: jax.Array | None  # h_0: [H], when learned


def positive(a: jax.Array) -> jax.Array:
    """An activation whose values are positive, so that a state made of them has a logarithm.

        positive(a) = a + 1/2 where a ≥ 0, sigmoid(a) elsewhere

    It is the g of the paper: continuous, and so is its slope but for the step from 1/4 to 1 at 0.

    Args:
      a: any shape, real.

    Returns:
      The same shape and dtype, greater than zero.

    Example:
      >>> import jax, jax.numpy as jnp, recur
      >>> cell = recur.min_gru(4, activation=recur.cells.positive)
      >>> layer = recur.associative(cell, log_space=True)
      >>> xs = jnp.ones((5, 3))
      >>> bool((layer(layer.init(jax.random.key(0), xs), xs) > 0).all())
      True

    References:
      Feng et al. 2024, Were RNNs All We Needed?, https://arxiv.org/abs/2410.01201
    """
    return jnp.where(a >= 0, a + 0.5, jax.nn.sigmoid(a))


def min_gru(
    features: int,
    *,
    activation: str | Callable = "identity",
    use_bias: bool = True,
    kernel_init: Initializer = lecun_normal(),
    bias_init: Initializer = zeros,
    start_init: Initializer | None = None,
    dtype: Any = None,
    param_dtype: Any = jnp.float32,
) -> AffineCell:
    """The minimal gated recurrent unit that runs in parallel: no gate sees the state.

        z_t = sigmoid(x_t W_z + b_z)
        h̃_t = φ(x_t W_h + b_h)
        h_t = (1 - z_t) ⊙ h_{t-1} + z_t ⊙ h̃_t
        y_t = h_t

    Args:
      features: H, the width of the state.
      activation: φ, a name of `recur.modules.ACTIVATIONS` or any elementwise function; with
        `recur.cells.positive` it runs in log space too.
      use_bias: whether there are b_z and b_h.
      kernel_init: of W_z and W_h `[I, H]`, each drawn apart.
      bias_init: of b_z and b_h `[H]`.
      start_init: of h_0 `[H]`, which is then learned; without it h_0 is zero.
      dtype: what is computed in; by default what the weights and the input promote to.
      param_dtype: what the weights are stored in.

    Returns:
      An `AffineCell` with `MinGRUParams`; the carry is h `[H]`, x is `[I]`, y is `[H]`.

    Raises:
      ValueError: when the activation is unknown or x is not `[I]`.

    Example:
      >>> import jax, jax.numpy as jnp, recur
      >>> layer = recur.associative(recur.min_gru(4))
      >>> xs = jnp.ones((5, 3))
      >>> layer(layer.init(jax.random.key(0), xs), xs).shape
      (5, 4)

    References:
      Feng et al. 2024, Were RNNs All We Needed?, https://arxiv.org/abs/2410.01201
    """
    phi = activation_of(activation)

    def init(key, x, context=None):
        del context
        shape = (input_width(x, "min_gru"), features)
        w, b, h = jax.random.split(check_key(key), 3)
        return MinGRUParams(
            kernel=draw_each(MinGRUGates, kernel_init, w, shape, param_dtype),
            bias=draw_each(MinGRUGates, bias_init, b, (features,), param_dtype)
            if use_bias
            else None,
            start=draw_start(start_init, h, (features,), param_dtype),
        )

    def start(bound, x):
        del x
        return start_from(bound.start, bound.kernel.update, features)

    def coefficients(bound, x, key=None):
        del key
        u = linear_each(x, bound.kernel, bound.bias, "min_gru")
        z = jax.nn.sigmoid(u.update)
        return jax.nn.sigmoid(-u.update), z * phi(u.candidate)  # 1 - z, exact where z is nearly 1

    return AffineCell(init, casting(dtype), start, coefficients, same)


def min_lstm(
    features: int,
    *,
    activation: str | Callable = "identity",
    use_bias: bool = True,
    kernel_init: Initializer = lecun_normal(),
    bias_init: Initializer = zeros,
    start_init: Initializer | None = None,
    dtype: Any = None,
    param_dtype: Any = jnp.float32,
) -> AffineCell:
    """The minimal long short-term memory that runs in parallel: no gate sees the state.

        f_t = sigmoid(x_t W_f + b_f)
        i_t = sigmoid(x_t W_i + b_i)
        f'_t = f_t / (f_t + i_t),    i'_t = i_t / (f_t + i_t)
        h̃_t = φ(x_t W_h + b_h)
        h_t = f'_t ⊙ h_{t-1} + i'_t ⊙ h̃_t
        y_t = h_t

    f' and i' add up to one, so that the size of the state does not depend on the time.

    Args:
      features: H, the width of the state.
      activation: φ, a name of `recur.modules.ACTIVATIONS` or any elementwise function; with
        `recur.cells.positive` it runs in log space too.
      use_bias: whether there are b_f, b_i and b_h.
      kernel_init: of W_f, W_i and W_h `[I, H]`, each drawn apart.
      bias_init: of b_f, b_i and b_h `[H]`.
      start_init: of h_0 `[H]`, which is then learned; without it h_0 is zero.
      dtype: what is computed in; by default what the weights and the input promote to.
      param_dtype: what the weights are stored in.

    Returns:
      An `AffineCell` with `MinLSTMParams`; the carry is h `[H]`, x is `[I]`, y is `[H]`.

    Raises:
      ValueError: when the activation is unknown or x is not `[I]`.

    Example:
      >>> import jax, jax.numpy as jnp, recur
      >>> layer = recur.associative(recur.min_lstm(4))
      >>> xs = jnp.ones((5, 3))
      >>> layer(layer.init(jax.random.key(0), xs), xs).shape
      (5, 4)

    References:
      Feng et al. 2024, Were RNNs All We Needed?, https://arxiv.org/abs/2410.01201
    """
    phi = activation_of(activation)

    def init(key, x, context=None):
        del context
        shape = (input_width(x, "min_lstm"), features)
        w, b, h = jax.random.split(check_key(key), 3)
        return MinLSTMParams(
            kernel=draw_each(MinLSTMGates, kernel_init, w, shape, param_dtype),
            bias=draw_each(MinLSTMGates, bias_init, b, (features,), param_dtype)
            if use_bias
            else None,
            start=draw_start(start_init, h, (features,), param_dtype),
        )

    def start(bound, x):
        del x
        return start_from(bound.start, bound.kernel.forget, features)

    def coefficients(bound, x, key=None):
        del key
        u = linear_each(x, bound.kernel, bound.bias, "min_lstm")
        # f / (f + i) is the sigmoid of log(f / i), which is right where both are zero in floats.
        ratio = jax.nn.log_sigmoid(u.forget) - jax.nn.log_sigmoid(u.input)
        return jax.nn.sigmoid(ratio), jax.nn.sigmoid(-ratio) * phi(u.candidate)

    return AffineCell(init, casting(dtype), start, coefficients, same)
