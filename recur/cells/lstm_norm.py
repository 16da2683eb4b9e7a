"""Long short-term memory with layer normalisation inside the step."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
from jax.nn.initializers import lecun_normal, ones, orthogonal, zeros

from recur.cells.initial import Initializer, draw, draw_bias, draw_each
from recur.cells.lstm import LSTMGates, LSTMState, draw_state, start_state
from recur.cells.parts import casting, input_width, linear_each
from recur.keys import check_key
from recur.modules import activation as activation_of
from recur.types import Cell


class LayerNormLSTMParams(NamedTuple):
    """Weights of `layer_norm_lstm`."""

    kernel: LSTMGates  # W: [I, H] each
    recurrent_kernel: LSTMGates  # U: [H, H] each
    bias: LSTMGates  # b: [H] each
    input_scale: LSTMGates  # α: [H] each
    recurrent_scale: LSTMGates  # β: [H] each
    cell_scale: jax.Array  # γ: [H]
    cell_bias: jax.Array  # δ: [H]
    start: LSTMState | None  # h_0 and c_0, when learned


def layer_norm_lstm(
    features: int,
    *,
    epsilon: float = 1e-5,
    activation: str | Callable = "tanh",
    forget_bias: float = 1.0,
    kernel_init: Initializer = lecun_normal(),
    recurrent_kernel_init: Initializer = orthogonal(),
    scale_init: Initializer = ones,
    bias_init: Initializer = zeros,
    start_init: Initializer | None = None,
    dtype: Any = None,
    param_dtype: Any = jnp.float32,
) -> Cell:
    """Long short-term memory whose pre-activations and memory are normalised over its units.

        LN(a) = (a - mean(a)) / sqrt(var(a) + ε)                          over the H units of a
        a_k = LN(x_t W_k) ⊙ α_k + LN(h_{t-1} U_k) ⊙ β_k + b_k             for k = i, f, g, o
        i_t, f_t, o_t = sigmoid(a_i), sigmoid(a_f), sigmoid(a_o);    g_t = φ(a_g)
        c_t = f_t ⊙ c_{t-1} + i_t ⊙ g_t
        h_t = o_t ⊙ φ(LN(c_t) ⊙ γ + δ)
        y_t = h_t

    Gates stay as they are when W_k, U_k, x or h is scaled, but for ε. b is the shift of both norms,
    so it is always there. Each gate has a mean and a variance of its own; the paper writes the four
    gates as one vector.

    Args:
      features: H, the width of the state.
      epsilon: ε, which keeps LN finite where all units are equal.
      activation: φ, a name of `recur.modules.ACTIVATIONS` or any function `[H] -> [H]`.
      forget_bias: what is added to the initial b_f, so that the memory is open at first; it is
        stored in the weights.
      kernel_init: of W_i, W_f, W_g and W_o `[I, H]`, each drawn apart.
      recurrent_kernel_init: of U_i, U_f, U_g and U_o `[H, H]`, each drawn apart.
      scale_init: of α and β `[H]`, one a gate each, and of γ `[H]`.
      bias_init: of b_i, b_f, b_g, b_o and δ `[H]`.
      start_init: of h_0 and c_0 `[H]`, which are then learned; without it they are zero.
      dtype: what is computed in; by default what the weights and the input promote to.
      param_dtype: what the weights are stored in.

    Returns:
      A `Cell`, for a norm is not elementwise, with `LayerNormLSTMParams`; the carry is `LSTMState`,
      whose c is not normalised, x is `[I]`, y is `[H]`.

    Raises:
      ValueError: when the activation is unknown or x is not `[I]`.

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
    phi = activation_of(activation)

    def init(key, x, context=None):
        del context
        width = input_width(x, "layer_norm_lstm")
        w, u, b, alpha, beta, gamma, delta, s = jax.random.split(check_key(key), 8)
        vector, square = (features,), (features, features)
        return LayerNormLSTMParams(
            kernel=draw_each(LSTMGates, kernel_init, w, (width, features), param_dtype),
            recurrent_kernel=draw_each(LSTMGates, recurrent_kernel_init, u, square, param_dtype),
            bias=draw_bias(LSTMGates, bias_init, b, vector, param_dtype, forget=forget_bias),
            input_scale=draw_each(LSTMGates, scale_init, alpha, vector, param_dtype),
            recurrent_scale=draw_each(LSTMGates, scale_init, beta, vector, param_dtype),
            cell_scale=draw(scale_init, gamma, vector, param_dtype),
            cell_bias=draw(bias_init, delta, vector, param_dtype),
            start=draw_state(start_init, s, features, features, param_dtype),
        )

    def start(bound, x):
        del x
        return start_state(bound.start, bound.kernel.input, features, features)

    def normalise(a):
        centred = a - a.mean()
        return centred * jax.lax.rsqrt((centred**2).mean() + epsilon)

    def step(bound, state, x, key=None):
        del key
        u = linear_each(x, bound.kernel, None, "layer_norm_lstm")
        m = jax.tree.map(lambda kernel: state.hidden @ kernel, bound.recurrent_kernel)
        a = jax.tree.map(
            lambda u, alpha, m, beta, b: normalise(u) * alpha + normalise(m) * beta + b,
            *(u, bound.input_scale, m, bound.recurrent_scale, bound.bias),
        )
        i, f, o = (jax.nn.sigmoid(gate) for gate in (a.input, a.forget, a.output))
        c = f * state.cell + i * phi(a.candidate)
        h = o * phi(normalise(c) * bound.cell_scale + bound.cell_bias)
        return LSTMState(hidden=h, cell=c), h

    return Cell(init, casting(dtype), start, step)
