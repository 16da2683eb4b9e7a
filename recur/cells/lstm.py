"""Long short-term memory (LSTM), without peepholes, and with diagonal or full ones."""

from __future__ import annotations

from typing import Any, Literal, NamedTuple

import jax
import jax.numpy as jnp
from jax.nn.initializers import lecun_normal, orthogonal, zeros

from recur.call_repr import call_repr
from recur.cells.initial import Initializer, Weight, gate_weights, optional
from recur.cells.parts import Activation, CarryPart, make_cell, pre_activations, sigmoid
from recur.modules import activation as activation_of
from recur.structure import name
from recur.types import Cell


class LSTMGates(NamedTuple):
    """The gates of `lstm`, with one array for each.

    Attributes:
      input: the array of the input gate i.
      forget: the array of the forget gate f.
      candidate: the array of the candidate g.
      output: the array of the output gate o.
    """

    input: jax.Array
    forget: jax.Array
    candidate: jax.Array
    output: jax.Array


class Peepholes(NamedTuple):
    """Peephole weights of `lstm`, from the cell state to each gate.

    Attributes:
      input: p_i `[H]` if diagonal, P_i `[H, H]` if full.
      forget: p_f or P_f, likewise.
      output: p_o or P_o, likewise.
    """

    input: jax.Array
    forget: jax.Array
    output: jax.Array


class LSTMState(NamedTuple):
    """The carry of `lstm`.

    Attributes:
      hidden: the hidden state h, `[H]`, in the dtype of the matrix products.
      cell: the cell state c, `[H]`, in the carry dtype.
    """

    hidden: jax.Array
    cell: jax.Array


class LSTMParams(NamedTuple):
    """Weights of `lstm`.

    Attributes:
      kernel: input kernels W_i, W_f, W_g and W_o, each `[I, H]`.
      recurrent_kernel: recurrent kernels U_i, U_f, U_g and U_o, each `[H, H]`.
      bias: biases b_i, b_f, b_g and b_o, each `[H]`; None without biases.
      peephole: peephole weights, each `[H]` or `[H, H]`; None without peepholes.
      initial_carry: h_0 and c_0, each `[H]`; None unless they are learned.
    """

    kernel: LSTMGates
    recurrent_kernel: LSTMGates
    bias: LSTMGates | None
    peephole: Peepholes | None
    initial_carry: LSTMState | None


@call_repr
def lstm(
    features: int,
    *,
    peepholes: Literal["diagonal", "full"] | None = None,
    activation: Activation = "tanh",
    use_bias: bool = True,
    forget_bias: float = 1.0,
    kernel_init: Initializer = lecun_normal(),
    recurrent_kernel_init: Initializer = orthogonal(),
    bias_init: Initializer = zeros,
    peephole_init: Initializer | None = None,
    initial_carry_init: Initializer | None = None,
    dtype: Any = None,
    param_dtype: Any = jnp.float32,
    carry_dtype: Any = None,
) -> Cell:
    """Long short-term memory (LSTM) with a forget gate and optional peepholes.

        i_t = sigmoid(x_t W_i + h_{t-1} U_i + b_i + p_i(c_{t-1}))
        f_t = sigmoid(x_t W_f + h_{t-1} U_f + b_f + p_f(c_{t-1}))
        g_t = φ(x_t W_g + h_{t-1} U_g + b_g)
        c_t = f_t ⊙ c_{t-1} + i_t ⊙ g_t
        o_t = sigmoid(x_t W_o + h_{t-1} U_o + b_o + p_o(c_t))
        h_t = o_t ⊙ φ(c_t)
        y_t = h_t

    Without peepholes, `p(c) = 0`. "diagonal" peepholes are `p(c) = c ⊙ p`, as in Gers &
    Schmidhuber; "full" ones are `p(c) = c P`, written `[c, h, x] W` in lecture notes.

    Args:
      features: H, the width of the state.
      peepholes: None, or the kind of weights by which the gates read the cell state.
      activation: φ, a name in `recur.modules.ACTIVATIONS` or any elementwise function.
      use_bias: whether to add biases.
      forget_bias: added to the initial b_f, so that the cell state is kept at first; stored
        in the weights. Without biases it has no effect.
      kernel_init: initializer of W_i, W_f, W_g and W_o `[I, H]`, each drawn with its own key.
      recurrent_kernel_init: initializer of U_i, U_f, U_g and U_o `[H, H]`, likewise.
      bias_init: initializer of b_i, b_f, b_g and b_o `[H]`.
      peephole_init: initializer of the peepholes, `[H]` or `[H, H]`; by default zeros if diagonal,
        `lecun_normal()` if full.
      initial_carry_init: initializer of learned h_0 and c_0 `[H]`; by default they are zero.
      dtype: dtype of the products, h and y; by default what the weights and the input promote to.
      param_dtype: dtype of the weights.
      carry_dtype: dtype of c and of the gates; by default that of the products, at least float32.

    Returns:
      A `Cell` with `LSTMParams`; x is `[I]`, the carry is `LSTMState`, y is `[H]`.

    Raises:
      ValueError: if features is not a positive int, peepholes or activation is an unknown name, or
        x is not `[I]`.
      TypeError: if a dtype or x is not real, or an option or params have the wrong type.

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
        raise ValueError(f'lstm: peepholes must be None, "diagonal" or "full", got {peepholes!r}.')
    phi = activation_of(activation)
    inits = kernel_init, recurrent_kernel_init, optional(bias_init, use_bias)
    weights = gate_weights(LSTMGates, features, inits, forget=forget_bias)
    is_full = peepholes == "full"
    if peephole_init is None:
        peephole_init = lecun_normal() if is_full else zeros
    shape = (features, features) if is_full else (features,)
    weights.append(Weight(peephole_init if peepholes else None, shape, Peepholes))
    carry = lstm_carry(features, features, initial_carry_init)

    def peek(a, bound, gate, c):
        """Returns `a + p(c)`."""
        if bound.peephole is None:
            return a
        p = getattr(bound.peephole, gate)
        return a + (_product(c, p) if is_full else c * p.astype(c.dtype))

    def step(bound, state, x, key=None):
        h, c = state
        a = pre_activations(bound, x, h, c.dtype, "lstm")
        i = sigmoid(peek(a.input, bound, "input", c), "input")
        f = sigmoid(peek(a.forget, bound, "forget", c), "forget")
        g = name(phi(a.candidate), "candidate")
        c = f * c + i * g
        o = sigmoid(peek(a.output, bound, "output", c), "output")
        h = (o * phi(c)).astype(h.dtype)
        return LSTMState(h, c), h

    dtypes = dtype, param_dtype, carry_dtype
    return make_cell("lstm", features, LSTMParams, weights, carry, step, dtypes)


def _product(c: jax.Array, kernel: jax.Array) -> jax.Array:
    """Computes `c @ kernel` in the dtype of the kernel."""
    return (c.astype(kernel.dtype) @ kernel).astype(c.dtype)


def lstm_carry(hidden: int, cell: int, init: Initializer | None) -> Any:
    """Returns the parts of an LSTM's carry: h `[hidden]`, and c `[cell]`, which sums over time."""
    return LSTMState._make([CarryPart((hidden,), init, is_sum=False), CarryPart((cell,), init)])
