"""Long short-term memory whose output, narrower than its memory, is fed back."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
from jax.nn.initializers import lecun_normal, orthogonal, zeros

from recur.cells.initial import Initializer, draw, draw_bias, draw_each
from recur.cells.lstm import LSTMGates, LSTMState, draw_state, start_state
from recur.cells.parts import casting, input_width, linear_each
from recur.checks import check_whole
from recur.keys import check_key
from recur.modules import activation as activation_of
from recur.types import Cell


class ProjectedLSTMParams(NamedTuple):
    """Weights of `projected_lstm`."""

    kernel: LSTMGates  # W: [I, H] each
    recurrent_kernel: LSTMGates  # U: [P, H] each
    bias: LSTMGates | None  # b: [H] each
    projection: jax.Array  # V: [H, P]
    start: LSTMState | None  # h_0 [P] and c_0 [H], when learned


def projected_lstm(
    features: int,
    projection: int,
    *,
    activation: str | Callable = "tanh",
    use_bias: bool = True,
    forget_bias: float = 1.0,
    kernel_init: Initializer = lecun_normal(),
    recurrent_kernel_init: Initializer = orthogonal(),
    projection_init: Initializer = lecun_normal(),
    bias_init: Initializer = zeros,
    start_init: Initializer | None = None,
    dtype: Any = None,
    param_dtype: Any = jnp.float32,
) -> Cell:
    """Long short-term memory with a recurrent projection (LSTMP): wide memory, narrow output.

        i_t = sigmoid(x_t W_i + h_{t-1} U_i + b_i)
        f_t = sigmoid(x_t W_f + h_{t-1} U_f + b_f)
        g_t = φ(x_t W_g + h_{t-1} U_g + b_g)
        c_t = f_t ⊙ c_{t-1} + i_t ⊙ g_t
        o_t = sigmoid(x_t W_o + h_{t-1} U_o + b_o)
        h_t = (o_t ⊙ φ(c_t)) V
        y_t = h_t

    Where P is well below H, the kernels U are small for the memory they serve. With U V instead of
    U, it is an LSTM whose recurrent kernels have a rank of P at most. It is PyTorch's `proj_size`;
    the paper has diagonal peepholes besides.

    Args:
      features: H, the width of the memory c.
      projection: P, the width of h, which is fed back and put out.
      activation: φ, a name of `recur.modules.ACTIVATIONS` or any function `[H] -> [H]`.
      use_bias: whether there are biases.
      forget_bias: what is added to the initial b_f, so that the memory is open at first; it is
        stored in the weights. Nothing where there are no biases.
      kernel_init: of W_i, W_f, W_g and W_o `[I, H]`, each drawn apart.
      recurrent_kernel_init: of U_i, U_f, U_g and U_o `[P, H]`, each drawn apart.
      projection_init: of V `[H, P]`.
      bias_init: of b_i, b_f, b_g and b_o `[H]`.
      start_init: of h_0 `[P]` and c_0 `[H]`, which are then learned; without it they are zero.
      dtype: what is computed in; by default what the weights and the input promote to.
      param_dtype: what the weights are stored in.

    Returns:
      A `Cell`, two products deep, with `ProjectedLSTMParams`; the carry is `LSTMState`, with h
      `[P]` and c `[H]`, x is `[I]`, y is `[P]`.

    Raises:
      ValueError: when projection is not a whole number of at least 1, the activation is unknown, or
        x is not `[I]`.

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
    check_whole("projected_lstm: projection", projection, 1)
    phi = activation_of(activation)

    def init(key, x, context=None):
        del context
        width = input_width(x, "projected_lstm")
        w, u, b, v, s = jax.random.split(check_key(key), 5)
        vector, back = (features,), (projection, features)
        return ProjectedLSTMParams(
            kernel=draw_each(LSTMGates, kernel_init, w, (width, features), param_dtype),
            recurrent_kernel=draw_each(LSTMGates, recurrent_kernel_init, u, back, param_dtype),
            bias=draw_bias(LSTMGates, bias_init, b, vector, param_dtype, forget=forget_bias)
            if use_bias
            else None,
            projection=draw(projection_init, v, (features, projection), param_dtype),
            start=draw_state(start_init, s, projection, features, param_dtype),
        )

    def start(bound, x):
        del x
        return start_state(bound.start, bound.projection, projection, features)

    def step(bound, state, x, key=None):
        del key
        u = linear_each(x, bound.kernel, bound.bias, "projected_lstm")
        m = jax.tree.map(lambda kernel: state.hidden @ kernel, bound.recurrent_kernel)
        i = jax.nn.sigmoid(u.input + m.input)
        f = jax.nn.sigmoid(u.forget + m.forget)
        g = phi(u.candidate + m.candidate)
        c = f * state.cell + i * g
        o = jax.nn.sigmoid(u.output + m.output)
        h = (o * phi(c)) @ bound.projection
        return LSTMState(hidden=h, cell=c), h

    return Cell(init, casting(dtype), start, step)
