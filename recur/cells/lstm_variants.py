"""Long short-term memory with fewer gates: coupled ones, and as of 1997 without the forget gate."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
from jax.nn.initializers import lecun_normal, orthogonal, zeros

from recur.cells.initial import Initializer, draw_bias, draw_each
from recur.cells.lstm import LSTMState, draw_state, start_state
from recur.cells.parts import candidate, casting, hidden_field, input_width, linear_each, same
from recur.keys import check_key
from recur.modules import activation as activation_of
from recur.types import GatedCell


class CoupledGates(NamedTuple):
    """One array a gate of `coupled_lstm`."""

    forget: jax.Array  # f
    candidate: jax.Array  # g
    output: jax.Array  # o


class CoupledLSTMParams(NamedTuple):
    """Weights of `coupled_lstm`."""

    kernel: CoupledGates  # W: [I, H] each
    recurrent_kernel: CoupledGates  # U: [H, H] each
    bias: CoupledGates | None  # b: [H] each
    start: LSTMState | None  # h_0 and c_0, when learned


class OriginalGates(NamedTuple):
    """One array a gate of `original_lstm`."""

    input: jax.Array  # i
    candidate: jax.Array  # g
    output: jax.Array  # o


class OriginalLSTMParams(NamedTuple):
    """Weights of `original_lstm`."""

    kernel: OriginalGates  # W: [I, H] each
    recurrent_kernel: OriginalGates  # U: [H, H] each
    bias: OriginalGates | None  # b: [H] each
    start: LSTMState | None  # h_0 and c_0, when learned


def coupled_lstm(
    features: int,
    *,
    activation: str | Callable = "tanh",
    use_bias: bool = True,
    forget_bias: float = 1.0,
    kernel_init: Initializer = lecun_normal(),
    recurrent_kernel_init: Initializer = orthogonal(),
    bias_init: Initializer = zeros,
    start_init: Initializer | None = None,
    dtype: Any = None,
    param_dtype: Any = jnp.float32,
) -> GatedCell:
    """Long short-term memory that writes where it forgets: the input gate is 1 - f (CIFG).

        f_t = sigmoid(x_t W_f + h_{t-1} U_f + b_f)
        g_t = φ(x_t W_g + h_{t-1} U_g + b_g)
        c_t = f_t ⊙ c_{t-1} + (1 - f_t) ⊙ g_t
        o_t = sigmoid(x_t W_o + h_{t-1} U_o + b_o)
        h_t = o_t ⊙ φ(c_t)
        y_t = h_t

    It has a quarter fewer weights than `lstm`. c is an average of candidates, so from zero it stays
    within the range of tanh.

    Args:
      features: H, the width of the state.
      activation: φ, a name of `recur.modules.ACTIVATIONS` or any elementwise function.
      use_bias: whether there are biases.
      forget_bias: what is added to the initial b_f, so that the memory is open at first; it is
        stored in the weights. Nothing where there are no biases.
      kernel_init: of W_f, W_g and W_o `[I, H]`, each drawn apart.
      recurrent_kernel_init: of U_f, U_g and U_o `[H, H]`, each drawn apart.
      bias_init: of b_f, b_g and b_o `[H]`.
      start_init: of h_0 and c_0 `[H]`, which are then learned; without it they are zero.
      dtype: what is computed in; by default what the weights and the input promote to.
      param_dtype: what the weights are stored in.

    Returns:
      A `GatedCell` with `CoupledLSTMParams`; the carry is `LSTMState`, x is `[I]`, y is `[H]`.

    Raises:
      ValueError: when the activation is unknown or x is not `[I]`.

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

    def init(key, x, context=None):
        del context
        width = input_width(x, "coupled_lstm")
        w, u, b, s = jax.random.split(check_key(key), 4)
        vector, square = (features,), (features, features)
        return CoupledLSTMParams(
            kernel=draw_each(CoupledGates, kernel_init, w, (width, features), param_dtype),
            recurrent_kernel=draw_each(CoupledGates, recurrent_kernel_init, u, square, param_dtype),
            bias=draw_bias(CoupledGates, bias_init, b, vector, param_dtype, forget=forget_bias)
            if use_bias
            else None,
            start=draw_state(start_init, s, features, features, param_dtype),
        )

    def start(bound, x):
        del x
        return start_state(bound.start, bound.kernel.forget, features, features)

    def project(bound, x, key=None):
        del key
        return linear_each(x, bound.kernel, bound.bias, "coupled_lstm")

    def kernels(bound):
        return bound.recurrent_kernel

    def gates(bound, state, u, m):
        del bound
        f = jax.nn.sigmoid(u.forget + m.forget)
        g = candidate(phi, u.candidate, m.candidate)
        c = f * state.cell + (1 - f) * g
        o = jax.nn.sigmoid(u.output + m.output)
        h = o * phi(c)
        return LSTMState(hidden=h, cell=c), h

    return GatedCell(init, casting(dtype), start, project, hidden_field, kernels, gates, same)


def original_lstm(
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
    """Long short-term memory as of 1997: nothing is forgotten, the constant error carousel.

        i_t = sigmoid(x_t W_i + h_{t-1} U_i + b_i)
        g_t = φ(x_t W_g + h_{t-1} U_g + b_g)
        c_t = c_{t-1} + i_t ⊙ g_t
        o_t = sigmoid(x_t W_o + h_{t-1} U_o + b_o)
        h_t = o_t ⊙ φ(c_t)
        y_t = h_t

    From c to c the error flows back unchanged, however many steps. The paper squashes g by
    `4 sigmoid(a) - 2 = 2 tanh(a / 2)` and c by `2 sigmoid(c) - 1 = tanh(c / 2)`, and cuts off the
    errors that would flow further back through h. Here both are tanh and no error is cut off, as
    without forget gate in Greff et al.

    Args:
      features: H, the width of the state.
      activation: φ, a name of `recur.modules.ACTIVATIONS` or any elementwise function.
      use_bias: whether there are biases.
      kernel_init: of W_i, W_g and W_o `[I, H]`, each drawn apart.
      recurrent_kernel_init: of U_i, U_g and U_o `[H, H]`, each drawn apart.
      bias_init: of b_i, b_g and b_o `[H]`.
      start_init: of h_0 and c_0 `[H]`, which are then learned; without it they are zero.
      dtype: what is computed in; by default what the weights and the input promote to.
      param_dtype: what the weights are stored in.

    Returns:
      A `GatedCell` with `OriginalLSTMParams`; the carry is `LSTMState`, x is `[I]`, y is `[H]`.

    Raises:
      ValueError: when the activation is unknown or x is not `[I]`.

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

    def init(key, x, context=None):
        del context
        width = input_width(x, "original_lstm")
        w, u, b, s = jax.random.split(check_key(key), 4)
        vector, square = (features,), (features, features)
        return OriginalLSTMParams(
            kernel=draw_each(OriginalGates, kernel_init, w, (width, features), param_dtype),
            recurrent_kernel=draw_each(
                OriginalGates, recurrent_kernel_init, u, square, param_dtype
            ),
            bias=draw_each(OriginalGates, bias_init, b, vector, param_dtype) if use_bias else None,
            start=draw_state(start_init, s, features, features, param_dtype),
        )

    def start(bound, x):
        del x
        return start_state(bound.start, bound.kernel.input, features, features)

    def project(bound, x, key=None):
        del key
        return linear_each(x, bound.kernel, bound.bias, "original_lstm")

    def kernels(bound):
        return bound.recurrent_kernel

    def gates(bound, state, u, m):
        del bound
        i = jax.nn.sigmoid(u.input + m.input)
        g = candidate(phi, u.candidate, m.candidate)
        c = state.cell + i * g
        o = jax.nn.sigmoid(u.output + m.output)
        h = o * phi(c)
        return LSTMState(hidden=h, cell=c), h

    return GatedCell(init, casting(dtype), start, project, hidden_field, kernels, gates, same)
