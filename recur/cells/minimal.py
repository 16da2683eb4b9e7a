"""minGRU and minLSTM: their gates read only the input, so they are linear in their state."""

from __future__ import annotations

from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
from jax.nn.initializers import lecun_normal, zeros

from recur.call_repr import call_repr
from recur.cells.initial import Initializer, Weight, optional
from recur.cells.parts import (
    Activation,
    CarryPart,
    cast,
    check_real,
    linear_each,
    make_cell,
    sigmoid,
)
from recur.checks import check_array
from recur.modules import activation as activation_of
from recur.structure import name
from recur.types import Cell


class MinGRUGates(NamedTuple):
    """The gates of `min_gru`, with one array for each.

    Attributes:
      update: the array of the update gate z.
      candidate: the array of the candidate h̃.
    """

    update: jax.Array
    candidate: jax.Array


class MinLSTMGates(NamedTuple):
    """The gates of `min_lstm`, with one array for each.

    Attributes:
      forget: the array of the forget gate f.
      input: the array of the input gate i.
      candidate: the array of the candidate h̃.
    """

    forget: jax.Array
    input: jax.Array
    candidate: jax.Array


class MinimalParams(NamedTuple):
    """Weights of `min_gru` and `min_lstm`.

    Attributes:
      kernel: input kernels W, `[I, H]` for each gate.
      bias: biases b, `[H]` for each gate; None without biases.
      initial_carry: h_0, `[H]`; None unless it is learned.
    """

    kernel: MinGRUGates | MinLSTMGates
    bias: MinGRUGates | MinLSTMGates | None
    initial_carry: jax.Array | None


def positive(a: jax.Array) -> jax.Array:
    """A positive activation function for cells that run in log space (g in the paper).

        positive(a) = a + 1/2 if a ≥ 0, else sigmoid(a)

    It is continuous; at 0 its slope changes from 1/4 to 1.

    Args:
      a: real array of any shape.

    Returns:
      An array of the same shape and dtype, greater than zero.

    Raises:
      TypeError: if a is not an array of real numbers.

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
    check_array("positive: a", a)
    check_real(jnp.asarray(a), "positive")
    return jnp.where(a >= 0, a + 0.5, jax.nn.sigmoid(a))


@call_repr
def min_gru(
    features: int,
    *,
    activation: Activation = "identity",
    use_bias: bool = True,
    kernel_init: Initializer = lecun_normal(),
    bias_init: Initializer = zeros,
    initial_carry_init: Initializer | None = None,
    dtype: Any = None,
    param_dtype: Any = jnp.float32,
    carry_dtype: Any = None,
) -> Cell:
    """The minimal GRU (minGRU): linear in its state, so it runs in parallel over time.

        z_t = sigmoid(x_t W_z + b_z)
        h̃_t = φ(x_t W_h + b_h)
        h_t = (1 - z_t) ⊙ h_{t-1} + z_t ⊙ h̃_t
        y_t = h_t

    Args:
      features: H, the width of the state.
      activation: φ, a name in `recur.modules.ACTIVATIONS` or any elementwise function; with
        `recur.cells.positive` it also runs in log space.
      use_bias: whether to add b_z and b_h.
      kernel_init: initializer of W_z and W_h `[I, H]`, each drawn with its own key.
      bias_init: initializer of b_z and b_h `[H]`.
      initial_carry_init: initializer of a learned h_0 `[H]`; by default h_0 is zero.
      dtype: dtype of the products and of y; by default what the weights and the input promote to.
      param_dtype: dtype of the weights.
      carry_dtype: dtype of h and of the gates; by default that of the products, at least float32.

    Returns:
      A `Cell` with `MinimalParams`; x is `[I]`, the carry is h `[H]`, y is `[H]`.

    Raises:
      ValueError: if features is not a positive int, the activation is unknown, or x is not `[I]`.
      TypeError: if a dtype or x is not real, or an option or params have the wrong type.

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
    kernel = Weight(kernel_init, ("I", features), MinGRUGates)
    bias = Weight(optional(bias_init, use_bias), (features,), MinGRUGates)
    carry = CarryPart((features,), initial_carry_init)

    def step(bound, h, x, key=None):
        a = cast(linear_each(x, bound.kernel, bound.bias, "min_gru"), h.dtype)
        z = sigmoid(a.update, "update")
        g = name(phi(a.candidate), "candidate")
        h = jax.nn.sigmoid(-a.update) * h + z * g  # 1 - z, exact where z is nearly 1
        return h, h.astype(bound.kernel.update.dtype)

    dtypes = dtype, param_dtype, carry_dtype
    return make_cell("min_gru", features, MinimalParams, [kernel, bias], carry, step, dtypes)


@call_repr
def min_lstm(
    features: int,
    *,
    activation: Activation = "identity",
    use_bias: bool = True,
    kernel_init: Initializer = lecun_normal(),
    bias_init: Initializer = zeros,
    initial_carry_init: Initializer | None = None,
    dtype: Any = None,
    param_dtype: Any = jnp.float32,
    carry_dtype: Any = None,
) -> Cell:
    """The minimal LSTM (minLSTM): linear in its state, so it runs in parallel over time.

        f_t = sigmoid(x_t W_f + b_f)
        i_t = sigmoid(x_t W_i + b_i)
        f'_t = f_t / (f_t + i_t),    i'_t = i_t / (f_t + i_t)
        h̃_t = φ(x_t W_h + b_h)
        h_t = f'_t ⊙ h_{t-1} + i'_t ⊙ h̃_t
        y_t = h_t

    f' and i' add up to one, so the scale of the state does not depend on time.

    Args:
      features: H, the width of the state.
      activation: φ, a name in `recur.modules.ACTIVATIONS` or any elementwise function; with
        `recur.cells.positive` it also runs in log space.
      use_bias: whether to add b_f, b_i and b_h.
      kernel_init: initializer of W_f, W_i and W_h `[I, H]`, each drawn with its own key.
      bias_init: initializer of b_f, b_i and b_h `[H]`.
      initial_carry_init: initializer of a learned h_0 `[H]`; by default h_0 is zero.
      dtype: dtype of the products and of y; by default what the weights and the input promote to.
      param_dtype: dtype of the weights.
      carry_dtype: dtype of h and of the gates; by default that of the products, at least float32.

    Returns:
      A `Cell` with `MinimalParams`; x is `[I]`, the carry is h `[H]`, y is `[H]`.

    Raises:
      ValueError: if features is not a positive int, the activation is unknown, or x is not `[I]`.
      TypeError: if a dtype or x is not real, or an option or params have the wrong type.

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
    kernel = Weight(kernel_init, ("I", features), MinLSTMGates)
    bias = Weight(optional(bias_init, use_bias), (features,), MinLSTMGates)
    carry = CarryPart((features,), initial_carry_init)

    def step(bound, h, x, key=None):
        a = cast(linear_each(x, bound.kernel, bound.bias, "min_lstm"), h.dtype)
        # f / (f + i) is the sigmoid of log(f / i), which is right even if both round to zero.
        ratio = jax.nn.log_sigmoid(a.forget) - jax.nn.log_sigmoid(a.input)
        f, i = sigmoid(ratio, "forget"), sigmoid(-ratio, "input")
        g = name(phi(a.candidate), "candidate")
        h = f * h + i * g
        return h, h.astype(bound.kernel.forget.dtype)

    dtypes = dtype, param_dtype, carry_dtype
    return make_cell("min_lstm", features, MinimalParams, [kernel, bias], carry, step, dtypes)
