"""Long short-term memory, without peepholes and with both kinds of them."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Literal, NamedTuple

import jax
import jax.numpy as jnp
from jax.nn.initializers import lecun_normal, orthogonal, zeros

from recur.cells.initial import Initializer, draw, draw_bias, draw_each
from recur.cells.parts import (
    candidate,
    casting,
    hidden_field,
    input_width,
    linear_each,
    same,
    start_from,
)
from recur.keys import check_key
from recur.modules import activation as activation_of
from recur.types import Cell, GatedCell


class LSTMGates(NamedTuple):
    """One array a gate of `lstm`."""

    input: jax.Array  # i
    forget: jax.Array  # f
    candidate: jax.Array  # g
    output: jax.Array  # o


class Peepholes(NamedTuple):
    """What the gates of `lstm` see of the cell state: `[H]` each if diagonal, `[H, H]` if full."""

    input: jax.Array
    forget: jax.Array
    output: jax.Array


class LSTMState(NamedTuple):
    """The carry of `lstm`."""

    hidden: jax.Array  # h: [H]
    cell: jax.Array  # c: [H]


class LSTMParams(NamedTuple):
    """Weights of `lstm`."""

    kernel: LSTMGates  # W: [I, H] each
    recurrent_kernel: LSTMGates  # U: [H, H] each
    bias: LSTMGates | None  # b: [H] each
    peephole: Peepholes | None  # p
    start: LSTMState | None  # h_0 and c_0, when learned


def lstm(
    features: int,
    *,
    peepholes: Literal["diagonal", "full"] | None = None,
    activation: str | Callable = "tanh",
    use_bias: bool = True,
    forget_bias: float = 1.0,
    kernel_init: Initializer = lecun_normal(),
    recurrent_kernel_init: Initializer = orthogonal(),
    bias_init: Initializer = zeros,
    peephole_init: Initializer | None = None,
    start_init: Initializer | None = None,
    dtype: Any = None,
    param_dtype: Any = jnp.float32,
) -> GatedCell | Cell:
    """Long short-term memory with a forget gate.

        i_t = sigmoid(x_t W_i + h_{t-1} U_i + b_i + p_i(c_{t-1}))
        f_t = sigmoid(x_t W_f + h_{t-1} U_f + b_f + p_f(c_{t-1}))
        g_t = φ(x_t W_g + h_{t-1} U_g + b_g)
        c_t = f_t ⊙ c_{t-1} + i_t ⊙ g_t
        o_t = sigmoid(x_t W_o + h_{t-1} U_o + b_o + p_o(c_t))
        h_t = o_t ⊙ φ(c_t)
        y_t = h_t

    Without peepholes `p(c) = 0`; "diagonal" ones, as in Gers & Schmidhuber, are `p(c) = c ⊙ p`;
    "full" ones, which read as `[c, h, x] W` in lecture notes, are `p(c) = c P`.

    Args:
      features: H, the width of the state.
      peepholes: whether the gates see the cell state, and how.
      activation: φ, a name of `recur.modules.ACTIVATIONS` or any elementwise function.
      use_bias: whether there are biases.
      forget_bias: what is added to the initial b_f, so that the memory is open at first; it is
        stored in the weights. Nothing where there are no biases.
      kernel_init: of W_i, W_f, W_g and W_o `[I, H]`, each drawn apart.
      recurrent_kernel_init: of U_i, U_f, U_g and U_o `[H, H]`, each drawn apart.
      bias_init: of b_i, b_f, b_g and b_o `[H]`.
      peephole_init: of the peepholes, `[H]` or `[H, H]`; by default zeros when diagonal,
        lecun_normal when full.
      start_init: of h_0 and c_0 `[H]`, which are then learned; without it they are zero.
      dtype: what is computed in; by default what the weights and the input promote to.
      param_dtype: what the weights are stored in.

    Returns:
      A `GatedCell`, but a `Cell` with full peepholes, where o waits for a second product; with
      `LSTMParams`; the carry is `LSTMState`, x is `[I]`, y is `[H]`.

    Raises:
      ValueError: when peepholes or activation is an unknown name, or x is not `[I]`.

    Example:
      >>> import jax, jax.numpy as jnp, recur
      >>> layer = recur.scan(recur.lstm(4))
      >>> xs = jnp.ones((5, 3))
      >>> params = layer.init(jax.random.key(0), xs)
      >>> final, ys = layer.run(params, xs)
      >>> ys.shape, final.hidden.shape, final.cell.shape
      ((5, 4), (4,), (4,))

    References:
      Hochreiter & Schmidhuber 1997, Long Short-Term Memory,
      https://doi.org/10.1162/neco.1997.9.8.1735
      Gers, Schmidhuber & Cummins 2000, Learning to Forget: Continual Prediction with LSTM,
      https://doi.org/10.1162/089976600300015015
      Gers & Schmidhuber 2000, Recurrent Nets that Time and Count,
      https://doi.org/10.1109/IJCNN.2000.861302
      Jozefowicz, Zaremba & Sutskever 2015, An Empirical Exploration of Recurrent Network
      Architectures (the forget bias), https://proceedings.mlr.press/v37/jozefowicz15.html
    """
    if peepholes not in (None, "diagonal", "full"):
        raise ValueError(f'lstm: peepholes are None, "diagonal" or "full", got {peepholes!r}.')
    phi = activation_of(activation)
    see = jnp.multiply if peepholes == "diagonal" else jnp.matmul
    if peephole_init is None:
        peephole_init = zeros if peepholes == "diagonal" else lecun_normal()

    def init(key, x, context=None):
        del context
        width = input_width(x, "lstm")
        w, u, b, p, s = jax.random.split(check_key(key), 5)
        vector, square = (features,), (features, features)
        seen = vector if peepholes == "diagonal" else square
        return LSTMParams(
            kernel=draw_each(LSTMGates, kernel_init, w, (width, features), param_dtype),
            recurrent_kernel=draw_each(LSTMGates, recurrent_kernel_init, u, square, param_dtype),
            bias=draw_bias(LSTMGates, bias_init, b, vector, param_dtype, forget=forget_bias)
            if use_bias
            else None,
            peephole=draw_each(Peepholes, peephole_init, p, seen, param_dtype)
            if peepholes
            else None,
            start=draw_state(start_init, s, features, features, param_dtype),
        )

    def start(bound, x):
        del x
        return start_state(bound.start, bound.kernel.input, features, features)

    def project(bound, x, key=None):
        del key
        return linear_each(x, bound.kernel, bound.bias, "lstm")

    def kernels(bound):
        return bound.recurrent_kernel

    def peek(bound, gate, c):
        return see(c, getattr(bound.peephole, gate)) if peepholes else 0

    def gates(bound, state, u, m):
        i = jax.nn.sigmoid(u.input + m.input + peek(bound, "input", state.cell))
        f = jax.nn.sigmoid(u.forget + m.forget + peek(bound, "forget", state.cell))
        g = candidate(phi, u.candidate, m.candidate)
        c = f * state.cell + i * g
        o = jax.nn.sigmoid(u.output + m.output + peek(bound, "output", c))
        h = o * phi(c)
        return LSTMState(hidden=h, cell=c), h

    cell = GatedCell(init, casting(dtype), start, project, hidden_field, kernels, gates, same)
    # Full peepholes are products inside the gates: the same step, but no structure to rely on.
    return Cell(init, cell.bind, start, cell.step) if peepholes == "full" else cell


def draw_state(
    init: Initializer | None, key: jax.Array, hidden: int, cell: int, dtype: Any
) -> LSTMState | None:
    """A learned start `[hidden]` and `[cell]`, when an initialiser asks for one."""
    if init is None:
        return None
    h, c = jax.random.split(key)
    return LSTMState(draw(init, h, (hidden,), dtype), draw(init, c, (cell,), dtype))


def start_state(start: LSTMState | None, kernel: jax.Array, hidden: int, cell: int) -> LSTMState:
    """A learned start, or zeros `[hidden]` and `[cell]` in the dtype of the kernel."""
    h, c = (None, None) if start is None else start
    return LSTMState(start_from(h, kernel, hidden), start_from(c, kernel, cell))
