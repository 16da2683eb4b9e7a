"""The sLSTM of xLSTM: exponential gates, a normalizer state, and recurrence within heads."""

from __future__ import annotations

from typing import Any, Literal, NamedTuple

import jax
import jax.numpy as jnp
from jax.nn.initializers import lecun_normal, orthogonal, zeros

from recur.call_repr import call_repr
from recur.cells.initial import Initializer, draw, gate_weights, optional
from recur.cells.lstm import LSTMGates
from recur.cells.parts import Activation, CarryPart, cast, linear_each, make_cell, sigmoid
from recur.checks import check_initializer, check_whole
from recur.modules import activation as activation_of
from recur.structure import name
from recur.types import Cell


class SLSTMState(NamedTuple):
    """The carry of `slstm`.

    Attributes:
      hidden: the hidden state h, `[H]`, in the dtype of the matrix products.
      cell: the cell state c, `[H]`, in the carry dtype.
      normalizer: the normalizer state n, `[H]`, in the carry dtype.
      stabilizer: the stabilizer state m, `[H]`, in the carry dtype.
    """

    hidden: jax.Array
    cell: jax.Array
    normalizer: jax.Array
    stabilizer: jax.Array


class SLSTMParams(NamedTuple):
    """Weights of `slstm`.

    Attributes:
      kernel: input kernels W_i, W_f, W_z and W_o, each `[I, H]`.
      recurrent_kernel: block-diagonal U_i, U_f, U_z and U_o, each `[heads, d, d]`, d = H / heads.
      bias: biases b_i, b_f, b_z and b_o, each `[H]`; None without biases.
    """

    kernel: LSTMGates
    recurrent_kernel: LSTMGates
    bias: LSTMGates | None


@call_repr
def slstm(
    features: int,
    heads: int = 1,
    *,
    forget_gate: Literal["exponential", "sigmoid"] = "exponential",
    activation: Activation = "tanh",
    use_bias: bool = True,
    forget_bias: float = 0.0,
    kernel_init: Initializer = lecun_normal(),
    recurrent_kernel_init: Initializer = orthogonal(),
    bias_init: Initializer = zeros,
    dtype: Any = None,
    param_dtype: Any = jnp.float32,
    carry_dtype: Any = None,
) -> Cell:
    """The sLSTM cell of xLSTM: an LSTM with exponential gates and a normalizer state.

        ĩ_t = x_t W_i + h_{t-1} U_i + b_i,    likewise f̃_t, z̃_t and õ_t
        log f_t = f̃_t, or log sigmoid(f̃_t) with forget_gate="sigmoid"
        m_t = max(log f_t + m_{t-1}, ĩ_t), or ĩ_t where n_{t-1} = 0
        i'_t = exp(ĩ_t - m_t),    f'_t = exp(log f_t + m_{t-1} - m_t)
        c_t = f'_t ⊙ c_{t-1} + i'_t ⊙ φ(z̃_t)
        n_t = f'_t ⊙ n_{t-1} + i'_t
        h_t = sigmoid(õ_t) ⊙ c_t / n_t
        y_t = h_t

    The stabilizer m keeps all exponents at or below zero, and h does not depend on it: c and n are
    those of the gates exp(ĩ) and f, divided by exp(m), which cancels in c / n. Where n is zero,
    nothing is stored yet, so m is ĩ; n_t is then at least 1 from the first step on.

    U is block-diagonal: h is mixed within heads, not across them.

    Args:
      features: H, the width of the state.
      heads: the number of blocks of U.
      forget_gate: whether f is "exponential" or "sigmoid".
      activation: φ, a name in `recur.modules.ACTIVATIONS` or any elementwise function.
      use_bias: whether to add biases.
      forget_bias: added to the initial b_f; stored in the weights. At zero, an exponential gate
        keeps all of the cell state and a sigmoid gate half. Without biases it has no effect.
      kernel_init: initializer of W_i, W_f, W_z and W_o `[I, H]`, each drawn with its own key.
      recurrent_kernel_init: initializer of each block `[d, d]` of U_i, U_f, U_z and U_o, likewise.
      bias_init: initializer of b_i, b_f, b_z and b_o `[H]`.
      dtype: dtype of the products, h and y; by default what the weights and the input promote to.
      param_dtype: dtype of the weights.
      carry_dtype: dtype of c, n, m and the gates; by default that of the products, at least
        float32.

    Returns:
      A `Cell` with `SLSTMParams`; x is `[I]`, the carry is `SLSTMState`, initially zero, y is
      `[H]`.

    Raises:
      ValueError: if features or heads is not a positive int, heads does not divide features,
        forget_gate or activation is an unknown name, or x is not `[I]`.
      TypeError: if a dtype or x is not real, or an option or params have the wrong type.

    Example:
      >>> import jax, jax.numpy as jnp, recur
      >>> layer = recur.scan(recur.slstm(4, heads=2))
      >>> xs = jnp.ones((5, 3))
      >>> params = layer.init(jax.random.key(0), xs)
      >>> layer(params, xs).shape, params.recurrent_kernel.input.shape
      ((5, 4), (2, 2, 2))

    References:
      Beck et al. 2024, xLSTM: Extended Long Short-Term Memory, https://arxiv.org/abs/2405.04517
    """
    features = check_whole("slstm: features", features, 1)
    heads = check_whole("slstm: heads", heads, 1)
    if features % heads:
        raise ValueError(f"slstm: heads must divide features, got {heads} and {features}.")
    if forget_gate not in ("exponential", "sigmoid"):
        raise ValueError(
            f'slstm: forget_gate must be "exponential" or "sigmoid", got {forget_gate!r}.'
        )
    phi = activation_of(activation)

    check_initializer("slstm: the initializer of recurrent_kernel", recurrent_kernel_init)

    def block_by_block(key, shape, dtype):
        keys = jax.random.split(key, heads)
        return jax.vmap(lambda k: draw(recurrent_kernel_init, k, shape[1:], dtype))(keys)

    inits = kernel_init, block_by_block, optional(bias_init, use_bias)
    weights = gate_weights(LSTMGates, features, inits, forget=forget_bias)
    weights[1] = weights[1]._replace(shape=(heads, features // heads, features // heads))
    total = CarryPart((features,))
    carry = SLSTMState._make([CarryPart((features,), is_sum=False), total, total, total])

    def recurrent(h, kernel):
        if heads == 1:
            return h @ kernel.reshape(features, features)
        return jnp.einsum("nd,nde->ne", h.reshape(heads, -1), kernel).reshape(features)

    def step(bound, state, x, key=None):
        h, c, n, m = state
        u = linear_each(x, bound.kernel, bound.bias, "slstm")
        a = jax.tree.map(lambda u, kernel: u + recurrent(h, kernel), u, bound.recurrent_kernel)
        a = cast(a, c.dtype)
        log_f = a.forget if forget_gate == "exponential" else jax.nn.log_sigmoid(a.forget)
        i, f, m = _stabilized(a.input, log_f + m, n == 0)
        z = name(phi(a.candidate), "candidate")
        c = f * c + i * z
        n = f * n + i
        o = sigmoid(a.output, "output")
        h = (o * c / n).astype(h.dtype)
        return SLSTMState(h, c, n, m), h

    dtypes = dtype, param_dtype, carry_dtype
    return make_cell("slstm", features, SLSTMParams, weights, carry, step, dtypes)


def _stabilized(new: jax.Array, old: jax.Array, is_empty: jax.Array) -> tuple[jax.Array, ...]:
    """Returns `exp(new - m), exp(old - m), m` for m their maximum; `1, 0, new` where empty."""
    m = jnp.where(is_empty, new, jnp.maximum(old, new))
    # Selected before exp, which may overflow there and then has a NaN derivative.
    return jnp.exp(new - m), jnp.exp(jnp.where(is_empty, -jnp.inf, old - m)), m
