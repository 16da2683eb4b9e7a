"""Long short-term memory (LSTM) with a projection of the hidden state to a smaller width."""

from __future__ import annotations

from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
from jax.nn.initializers import lecun_normal, orthogonal, zeros

from recur.call_repr import call_repr
from recur.cells.initial import Initializer, Weight, gate_weights, optional
from recur.cells.lstm import LSTMGates, LSTMState, lstm_carry
from recur.cells.parts import Activation, make_cell, pre_activations, sigmoid
from recur.checks import check_whole
from recur.modules import activation as activation_of
from recur.structure import name
from recur.types import Cell


class ProjectedLSTMParams(NamedTuple):
    """Weights of `projected_lstm`.

    Attributes:
      kernel: input kernels W_i, W_f, W_g and W_o, each `[I, H]`.
      recurrent_kernel: recurrent kernels U_i, U_f, U_g and U_o, each `[P, H]`.
      bias: biases b_i, b_f, b_g and b_o, each `[H]`; None without biases.
      projection: kernel V of the projection, `[H, P]`.
      initial_carry: h_0 `[P]` and c_0 `[H]`; None unless they are learned.
    """

    kernel: LSTMGates
    recurrent_kernel: LSTMGates
    bias: LSTMGates | None
    projection: jax.Array
    initial_carry: LSTMState | None


@call_repr
def projected_lstm(
    features: int,
    projection: int,
    *,
    activation: Activation = "tanh",
    use_bias: bool = True,
    forget_bias: float = 1.0,
    kernel_init: Initializer = lecun_normal(),
    recurrent_kernel_init: Initializer = orthogonal(),
    projection_init: Initializer = lecun_normal(),
    bias_init: Initializer = zeros,
    initial_carry_init: Initializer | None = None,
    dtype: Any = None,
    param_dtype: Any = jnp.float32,
    carry_dtype: Any = None,
) -> Cell:
    """Long short-term memory (LSTM) with a recurrent projection to a narrower output (LSTMP).

        i_t = sigmoid(x_t W_i + h_{t-1} U_i + b_i)
        f_t = sigmoid(x_t W_f + h_{t-1} U_f + b_f)
        g_t = φ(x_t W_g + h_{t-1} U_g + b_g)
        c_t = f_t ⊙ c_{t-1} + i_t ⊙ g_t
        o_t = sigmoid(x_t W_o + h_{t-1} U_o + b_o)
        h_t = (o_t ⊙ φ(c_t)) V
        y_t = h_t

    It equals an LSTM with recurrent kernels V U of rank at most P, and has far fewer weights if P
    is much smaller than H. It is PyTorch's `proj_size`; the paper also has diagonal peepholes.

    Args:
      features: H, the width of c.
      projection: P, the width of h, which is fed back and is the output.
      activation: φ, a name in `recur.modules.ACTIVATIONS` or any function `[H] -> [H]`.
      use_bias: whether to add biases.
      forget_bias: added to the initial b_f, so that the cell state is kept at first; stored
        in the weights. Without biases it has no effect.
      kernel_init: initializer of W_i, W_f, W_g and W_o `[I, H]`, each drawn with its own key.
      recurrent_kernel_init: initializer of U_i, U_f, U_g and U_o `[P, H]`, likewise.
      projection_init: initializer of V `[H, P]`.
      bias_init: initializer of b_i, b_f, b_g and b_o `[H]`.
      initial_carry_init: initializer of learned h_0 `[P]` and c_0 `[H]`; by default they are zero.
      dtype: dtype of the products, h and y; by default what the weights and the input promote to.
      param_dtype: dtype of the weights.
      carry_dtype: dtype of c and of the gates; by default that of the products, at least float32.

    Returns:
      A `Cell` with `ProjectedLSTMParams`; x is `[I]`, the carry is `LSTMState` with h `[P]` and c
      `[H]`, y is `[P]`.

    Raises:
      ValueError: if features or projection is not a positive int, the activation is unknown, or
        x is not `[I]`.
      TypeError: if a dtype or x is not real, or an option or params have the wrong type.

    Example:
      >>> import jax, jax.numpy as jnp, recur
      >>> layer = recur.scan(recur.projected_lstm(8, 2))
      >>> xs = jnp.ones((5, 3))
      >>> params = layer.init(jax.random.key(0), xs)
      >>> final, ys = layer.run(params, xs)
      >>> ys.shape, final.hidden.shape, final.cell.shape
      ((5, 2), (2,), (8,))

    References:
      Sak, Senior & Beaufays 2014, Long Short-Term Memory Based Recurrent Neural Network
      Architectures for Large Vocabulary Speech Recognition, https://arxiv.org/abs/1402.1128
    """
    projection = check_whole("projected_lstm: projection", projection, 1)
    phi = activation_of(activation)
    inits = kernel_init, recurrent_kernel_init, optional(bias_init, use_bias)
    weights = gate_weights(LSTMGates, features, inits, forget=forget_bias)
    weights[1] = weights[1]._replace(shape=(projection, features))
    weights.append(Weight(projection_init, (features, projection)))
    carry = lstm_carry(projection, features, initial_carry_init)

    def step(bound, state, x, key=None):
        h, c = state
        a = pre_activations(bound, x, h, c.dtype, "projected_lstm")
        i = sigmoid(a.input, "input")
        f = sigmoid(a.forget, "forget")
        g = name(phi(a.candidate), "candidate")
        c = f * c + i * g
        o = sigmoid(a.output, "output")
        h = (o * phi(c)).astype(h.dtype) @ bound.projection
        return LSTMState(h, c), h

    dtypes = dtype, param_dtype, carry_dtype
    return make_cell("projected_lstm", features, ProjectedLSTMParams, weights, carry, step, dtypes)
