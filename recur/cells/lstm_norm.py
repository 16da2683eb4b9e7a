"""Long short-term memory (LSTM) with layer normalization inside the step."""

from __future__ import annotations

from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
from jax.nn.initializers import lecun_normal, ones, orthogonal, zeros

from recur.call_repr import call_repr
from recur.cells.initial import Initializer, Weight, gate_weights
from recur.cells.lstm import LSTMGates, LSTMState, lstm_carry
from recur.cells.parts import Activation, cast, linear_each, make_cell, sigmoid
from recur.checks import check_number
from recur.dtypes import at_least_float32
from recur.modules import activation as activation_of
from recur.structure import name
from recur.types import Cell


class LayerNormLSTMParams(NamedTuple):
    """Weights of `layer_norm_lstm`.

    Attributes:
      kernel: input kernels W_i, W_f, W_g and W_o, each `[I, H]`.
      recurrent_kernel: recurrent kernels U_i, U_f, U_g and U_o, each `[H, H]`.
      bias: biases b_i, b_f, b_g and b_o, each `[H]`.
      input_scale: scales α of the normalized products of x, each `[H]`.
      recurrent_scale: scales β of the normalized products of h, each `[H]`.
      cell_scale: scale γ of the normalized cell state, `[H]`.
      cell_bias: shift δ of the normalized cell state, `[H]`.
      initial_carry: h_0 and c_0, each `[H]`; None unless they are learned.
    """

    kernel: LSTMGates
    recurrent_kernel: LSTMGates
    bias: LSTMGates
    input_scale: LSTMGates
    recurrent_scale: LSTMGates
    cell_scale: jax.Array
    cell_bias: jax.Array
    initial_carry: LSTMState | None


@call_repr
def layer_norm_lstm(
    features: int,
    *,
    epsilon: float = 1e-5,
    activation: Activation = "tanh",
    forget_bias: float = 1.0,
    kernel_init: Initializer = lecun_normal(),
    recurrent_kernel_init: Initializer = orthogonal(),
    scale_init: Initializer = ones,
    bias_init: Initializer = zeros,
    initial_carry_init: Initializer | None = None,
    dtype: Any = None,
    param_dtype: Any = jnp.float32,
    carry_dtype: Any = None,
) -> Cell:
    """Long short-term memory (LSTM) with layer normalization of its gates and cell state.

        LN(a) = (a - mean(a)) / sqrt(var(a) + ε)                          over the H units of a
        a_k = LN(x_t W_k) ⊙ α_k + LN(h_{t-1} U_k) ⊙ β_k + b_k             for k = i, f, g, o
        i_t, f_t, o_t = sigmoid(a_i), sigmoid(a_f), sigmoid(a_o);    g_t = φ(a_g)
        c_t = f_t ⊙ c_{t-1} + i_t ⊙ g_t
        h_t = o_t ⊙ φ(LN(c_t) ⊙ γ + δ)
        y_t = h_t

    Except for ε, scaling W_k, U_k, x or h does not change the gates. b is the shift of both norms,
    so there is always a bias. Mean and variance are computed for each gate; in the paper, for all
    four gates together.

    Args:
      features: H, the width of the state.
      epsilon: ε, which keeps LN finite where all units are equal.
      activation: φ, a name in `recur.modules.ACTIVATIONS` or any function `[H] -> [H]`.
      forget_bias: added to the initial b_f, so that the cell state is kept at first; stored
        in the weights.
      kernel_init: initializer of W_i, W_f, W_g and W_o `[I, H]`, each drawn with its own key.
      recurrent_kernel_init: initializer of U_i, U_f, U_g and U_o `[H, H]`, likewise.
      scale_init: initializer of α and β `[H]` of each gate, and of γ `[H]`.
      bias_init: initializer of b_i, b_f, b_g, b_o and δ `[H]`.
      initial_carry_init: initializer of learned h_0 and c_0 `[H]`; by default they are zero.
      dtype: dtype of the products, h and y; by default what the weights and the input promote to.
      param_dtype: dtype of the weights.
      carry_dtype: dtype of c and of the gates; by default that of the products, at least float32.
        Means and variances are computed in at least float32.

    Returns:
      A `Cell` with `LayerNormLSTMParams`; x is `[I]`, the carry is `LSTMState`, whose c is not
      normalized, y is `[H]`.

    Raises:
      ValueError: if features is not a positive int, the activation is unknown, or x is not `[I]`.
      TypeError: if a dtype or x is not real, or an option or params have the wrong type.

    Example:
      >>> import jax, jax.numpy as jnp, recur
      >>> layer = recur.scan(recur.layer_norm_lstm(4))
      >>> xs = jnp.ones((5, 3))
      >>> params = layer.init(jax.random.key(0), xs)
      >>> layer(params, xs).shape
      (5, 4)

    References:
      Ba, Kiros & Hinton 2016, Layer Normalization, https://arxiv.org/abs/1607.06450
    """
    epsilon = check_number("layer_norm_lstm: epsilon", epsilon)
    phi = activation_of(activation)
    inits = kernel_init, recurrent_kernel_init, bias_init
    weights = gate_weights(LSTMGates, features, inits, forget=forget_bias)
    of_gate, single = (Weight(scale_init, (features,), gates) for gates in (LSTMGates, None))
    weights += [of_gate, of_gate, single, Weight(bias_init, (features,))]
    carry = lstm_carry(features, features, initial_carry_init)

    def norm(a):
        # In float16 the derivative at a variance of zero, which contains ε^(-3/2), overflows.
        wide = at_least_float32(a)
        centred = wide - wide.mean()
        return (centred * jax.lax.rsqrt((centred**2).mean() + epsilon)).astype(a.dtype)

    def step(bound, state, x, key=None):
        h, c = state
        u = linear_each(x, bound.kernel, None, "layer_norm_lstm")
        m = jax.tree.map(lambda kernel: h @ kernel, bound.recurrent_kernel)
        a = jax.tree.map(
            lambda u, alpha, m, beta, b: norm(u) * alpha + norm(m) * beta + b,
            *(u, bound.input_scale, m, bound.recurrent_scale, bound.bias),
        )
        a = cast(a, c.dtype)
        i = sigmoid(a.input, "input")
        f = sigmoid(a.forget, "forget")
        g = name(phi(a.candidate), "candidate")
        c = f * c + i * g
        o = sigmoid(a.output, "output").astype(h.dtype)
        h = o * phi(norm(c).astype(h.dtype) * bound.cell_scale + bound.cell_bias)
        return LSTMState(h, c), h

    dtypes = dtype, param_dtype, carry_dtype
    return make_cell("layer_norm_lstm", features, LayerNormLSTMParams, weights, carry, step, dtypes)
