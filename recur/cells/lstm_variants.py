"""LSTMs with fewer gates: with coupled gates, and without a forget gate as in 1997."""

from __future__ import annotations

from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
from jax.nn.initializers import lecun_normal, orthogonal, zeros

from recur.call_repr import call_repr
from recur.cells.initial import GatedParams, Initializer, gate_weights, optional
from recur.cells.lstm import LSTMState, lstm_carry
from recur.cells.parts import Activation, make_cell, pre_activations, sigmoid
from recur.modules import activation as activation_of
from recur.structure import name
from recur.types import Cell


class CoupledGates(NamedTuple):
    """The gates of `coupled_lstm`, with one array for each.

    Attributes:
      forget: the array of the forget gate f.
      candidate: the array of the candidate g.
      output: the array of the output gate o.
    """

    forget: jax.Array
    candidate: jax.Array
    output: jax.Array


class OriginalGates(NamedTuple):
    """The gates of `original_lstm`, with one array for each.

    Attributes:
      input: the array of the input gate i.
      candidate: the array of the candidate g.
      output: the array of the output gate o.
    """

    input: jax.Array
    candidate: jax.Array
    output: jax.Array


@call_repr
def coupled_lstm(
    features: int,
    *,
    activation: Activation = "tanh",
    use_bias: bool = True,
    forget_bias: float = 1.0,
    kernel_init: Initializer = lecun_normal(),
    recurrent_kernel_init: Initializer = orthogonal(),
    bias_init: Initializer = zeros,
    initial_carry_init: Initializer | None = None,
    dtype: Any = None,
    param_dtype: Any = jnp.float32,
    carry_dtype: Any = None,
) -> Cell:
    """Long short-term memory (LSTM) with coupled input and forget gates (CIFG): i = 1 - f.

        f_t = sigmoid(x_t W_f + h_{t-1} U_f + b_f)
        g_t = φ(x_t W_g + h_{t-1} U_g + b_g)
        c_t = f_t ⊙ c_{t-1} + (1 - f_t) ⊙ g_t
        o_t = sigmoid(x_t W_o + h_{t-1} U_o + b_o)
        h_t = o_t ⊙ φ(c_t)
        y_t = h_t

    It has a quarter fewer weights than `lstm`. c is a moving average of candidates, so it stays
    within the range of φ if it starts at zero.

    Args:
      features: H, the width of the state.
      activation: φ, a name in `recur.modules.ACTIVATIONS` or any elementwise function.
      use_bias: whether to add biases.
      forget_bias: added to the initial b_f, so that the cell state is kept at first; stored
        in the weights. Without biases it has no effect.
      kernel_init: initializer of W_f, W_g and W_o `[I, H]`, each drawn with its own key.
      recurrent_kernel_init: initializer of U_f, U_g and U_o `[H, H]`, likewise.
      bias_init: initializer of b_f, b_g and b_o `[H]`.
      initial_carry_init: initializer of learned h_0 and c_0 `[H]`; by default they are zero.
      dtype: dtype of the products, h and y; by default what the weights and the input promote to.
      param_dtype: dtype of the weights.
      carry_dtype: dtype of c and of the gates; by default that of the products, at least float32.

    Returns:
      A `Cell` with `GatedParams`; x is `[I]`, the carry is `LSTMState`, y is `[H]`.

    Raises:
      ValueError: if features is not a positive int, the activation is unknown, or x is not `[I]`.
      TypeError: if a dtype or x is not real, or an option or params have the wrong type.

    Example:
      >>> import jax, jax.numpy as jnp, recur
      >>> layer = recur.scan(recur.coupled_lstm(4))
      >>> xs = jnp.ones((5, 3))
      >>> params = layer.init(jax.random.key(0), xs)
      >>> layer(params, xs).shape
      (5, 4)

    References:
      Greff et al. 2017, LSTM: A Search Space Odyssey, https://arxiv.org/abs/1503.04069
    """
    phi = activation_of(activation)
    inits = kernel_init, recurrent_kernel_init, optional(bias_init, use_bias)
    weights = gate_weights(CoupledGates, features, inits, forget=forget_bias)
    carry = lstm_carry(features, features, initial_carry_init)

    def step(bound, state, x, key=None):
        h, c = state
        a = pre_activations(bound, x, h, c.dtype, "coupled_lstm")
        f = sigmoid(a.forget, "forget")
        g = name(phi(a.candidate), "candidate")
        c = f * c + (1 - f) * g
        o = sigmoid(a.output, "output")
        h = (o * phi(c)).astype(h.dtype)
        return LSTMState(h, c), h

    dtypes = dtype, param_dtype, carry_dtype
    return make_cell("coupled_lstm", features, GatedParams, weights, carry, step, dtypes)


@call_repr
def original_lstm(
    features: int,
    *,
    activation: Activation = "tanh",
    use_bias: bool = True,
    kernel_init: Initializer = lecun_normal(),
    recurrent_kernel_init: Initializer = orthogonal(),
    bias_init: Initializer = zeros,
    initial_carry_init: Initializer | None = None,
    dtype: Any = None,
    param_dtype: Any = jnp.float32,
    carry_dtype: Any = None,
) -> Cell:
    """The original long short-term memory (LSTM) of 1997, without a forget gate.

        i_t = sigmoid(x_t W_i + h_{t-1} U_i + b_i)
        g_t = φ(x_t W_g + h_{t-1} U_g + b_g)
        c_t = c_{t-1} + i_t ⊙ g_t
        o_t = sigmoid(x_t W_o + h_{t-1} U_o + b_o)
        h_t = o_t ⊙ φ(c_t)
        y_t = h_t

    The gradient with respect to c flows back unchanged over any number of steps (the constant error
    carousel). The paper squashes g by `4 sigmoid(a) - 2 = 2 tanh(a / 2)` and c by
    `2 sigmoid(c) - 1 = tanh(c / 2)`, and truncates the gradients through h. Here both functions are
    tanh and no gradient is truncated, as in the variant without a forget gate of Greff et al.

    Args:
      features: H, the width of the state.
      activation: φ, a name in `recur.modules.ACTIVATIONS` or any elementwise function.
      use_bias: whether to add biases.
      kernel_init: initializer of W_i, W_g and W_o `[I, H]`, each drawn with its own key.
      recurrent_kernel_init: initializer of U_i, U_g and U_o `[H, H]`, likewise.
      bias_init: initializer of b_i, b_g and b_o `[H]`.
      initial_carry_init: initializer of learned h_0 and c_0 `[H]`; by default they are zero.
      dtype: dtype of the products, h and y; by default what the weights and the input promote to.
      param_dtype: dtype of the weights.
      carry_dtype: dtype of c and of the gates; by default that of the products, at least float32.

    Returns:
      A `Cell` with `GatedParams`; x is `[I]`, the carry is `LSTMState`, y is `[H]`.

    Raises:
      ValueError: if features is not a positive int, the activation is unknown, or x is not `[I]`.
      TypeError: if a dtype or x is not real, or an option or params have the wrong type.

    Example:
      >>> import jax, jax.numpy as jnp, recur
      >>> layer = recur.scan(recur.original_lstm(4))
      >>> xs = jnp.ones((5, 3))
      >>> params = layer.init(jax.random.key(0), xs)
      >>> layer(params, xs).shape
      (5, 4)

    References:
      Hochreiter & Schmidhuber 1997, Long Short-Term Memory,
      https://doi.org/10.1162/neco.1997.9.8.1735
      Greff et al. 2017, LSTM: A Search Space Odyssey, https://arxiv.org/abs/1503.04069
    """
    phi = activation_of(activation)
    inits = kernel_init, recurrent_kernel_init, optional(bias_init, use_bias)
    weights = gate_weights(OriginalGates, features, inits)
    carry = lstm_carry(features, features, initial_carry_init)

    def step(bound, state, x, key=None):
        h, c = state
        a = pre_activations(bound, x, h, c.dtype, "original_lstm")
        i = sigmoid(a.input, "input")
        g = name(phi(a.candidate), "candidate")
        c = c + i * g
        o = sigmoid(a.output, "output")
        h = (o * phi(c)).astype(h.dtype)
        return LSTMState(h, c), h

    dtypes = dtype, param_dtype, carry_dtype
    return make_cell("original_lstm", features, GatedParams, weights, carry, step, dtypes)
