"""The sLSTM of xLSTM: exponential gates, a normaliser, and memories mixed within heads."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Literal, NamedTuple

import jax
import jax.numpy as jnp
from jax.nn.initializers import lecun_normal, orthogonal, zeros

from recur.cells.initial import Initializer, draw, draw_bias, draw_each
from recur.cells.lstm import LSTMGates
from recur.cells.parts import candidate, casting, hidden_field, input_width, linear_each, same
from recur.checks import check_whole
from recur.keys import check_key
from recur.modules import activation as activation_of
from recur.types import GatedCell


class SLSTMState(NamedTuple):
    """The carry of `slstm`."""

    hidden: jax.Array  # h: [H]
    cell: jax.Array  # c: [H]
    normalizer: jax.Array  # n: [H]
    stabilizer: jax.Array  # m: [H]


class SLSTMParams(NamedTuple):
    """Weights of `slstm`, with d = H / heads."""

    kernel: LSTMGates  # W: [I, H] each
    recurrent_kernel: LSTMGates  # U: [heads, d, d] each
    bias: LSTMGates | None  # b: [H] each


def slstm(
    features: int,
    heads: int = 1,
    *,
    forget_gate: Literal["exponential", "sigmoid"] = "exponential",
    activation: str | Callable = "tanh",
    use_bias: bool = True,
    forget_bias: float = 0.0,
    kernel_init: Initializer = lecun_normal(),
    recurrent_kernel_init: Initializer = orthogonal(),
    bias_init: Initializer = zeros,
    dtype: Any = None,
    param_dtype: Any = jnp.float32,
) -> GatedCell:
    """The sLSTM, whose exponential input gate may outweigh all that was before.

        ĩ_t = x_t W_i + h_{t-1} U_i + b_i,    and so f̃_t, z̃_t and õ_t
        log f_t = f̃_t, or log sigmoid(f̃_t) with forget_gate="sigmoid"
        m_t = max(log f_t + m_{t-1}, ĩ_t), or ĩ_t where n_{t-1} = 0
        f'_t = exp(log f_t + m_{t-1} - m_t),    i'_t = exp(ĩ_t - m_t)
        c_t = f'_t ⊙ c_{t-1} + i'_t ⊙ φ(z̃_t)
        n_t = f'_t ⊙ n_{t-1} + i'_t
        h_t = sigmoid(õ_t) ⊙ c_t / n_t
        y_t = h_t

    h does not depend on m: c and n are those of the gates exp(ĩ) and f, divided by exp(m), which
    cancels in c / n and keeps all exponents at or below zero. Where n is zero nothing is remembered
    yet, and there is nothing for m to be compared with; so n_t is at least 1 from the first step.

    U is block-diagonal: the units of a head see each other, those of different heads do not.

    Args:
      features: H, the width of the state.
      heads: how many blocks U has.
      forget_gate: whether f is "exponential" or "sigmoid".
      activation: φ, a name of `recur.modules.ACTIVATIONS` or any elementwise function.
      use_bias: whether there are biases.
      forget_bias: what is added to the initial b_f; it is stored in the weights. At zero, an
        exponential gate keeps all, a sigmoid one half. Nothing where there are no biases.
      kernel_init: of W_i, W_f, W_z and W_o `[I, H]`, each drawn apart.
      recurrent_kernel_init: of each block `[d, d]` of U_i, U_f, U_z and U_o, each drawn apart.
      bias_init: of b_i, b_f, b_z and b_o `[H]`.
      dtype: what is computed in; by default what the weights and the input promote to.
      param_dtype: what the weights are stored in.

    Returns:
      A `GatedCell` with `SLSTMParams`; the carry is `SLSTMState`, zero at the start, x is `[I]`, y
      is `[H]`.

    Raises:
      ValueError: when heads is not a whole number that divides features, forget_gate or activation
        is an unknown name, or x is not `[I]`.

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
    heads = check_whole("slstm: heads", heads, 1)
    if features % heads:
        raise ValueError(f"slstm: {heads} heads do not divide {features} features.")
    if forget_gate not in ("exponential", "sigmoid"):
        raise ValueError(f'slstm: forget_gate is "exponential" or "sigmoid", got {forget_gate!r}.')
    phi = activation_of(activation)
    blocks = (heads, features // heads, features // heads)

    def init(key, x, context=None):
        del context
        shape = (input_width(x, "slstm"), features)
        w, u, b = jax.random.split(check_key(key), 3)
        return SLSTMParams(
            kernel=draw_each(LSTMGates, kernel_init, w, shape, param_dtype),
            recurrent_kernel=draw_each(LSTMGates, block_by_block, u, blocks, param_dtype),
            bias=draw_bias(LSTMGates, bias_init, b, (features,), param_dtype, forget=forget_bias)
            if use_bias
            else None,
        )

    def block_by_block(key, shape, dtype):
        keys = jax.random.split(key, shape[0])
        return jax.vmap(lambda k: draw(recurrent_kernel_init, k, shape[1:], dtype))(keys)

    def start(bound, x):
        del x
        return SLSTMState(*4 * (jnp.zeros(features, bound.kernel.input.dtype),))

    def project(bound, x, key=None):
        del key
        return linear_each(x, bound.kernel, bound.bias, "slstm")

    def kernels(bound):
        # A single block is a plain matrix, of which the loop takes all four as one product.
        return jax.tree.map(lambda u: u[0] if heads == 1 else u, bound.recurrent_kernel)

    def gates(bound, state, u, m):
        del bound
        log_i = u.input + m.input
        log_f = u.forget + m.forget
        log_f = log_f if forget_gate == "exponential" else jax.nn.log_sigmoid(log_f)
        i, f, stabilizer = _stabilized(log_i, log_f + state.stabilizer, state.normalizer == 0)
        c = f * state.cell + i * candidate(phi, u.candidate, m.candidate)
        n = f * state.normalizer + i
        h = jax.nn.sigmoid(u.output + m.output) * c / n
        return SLSTMState(hidden=h, cell=c, normalizer=n, stabilizer=stabilizer), h

    return GatedCell(init, casting(dtype), start, project, hidden_field, kernels, gates, same)


def _stabilized(new: jax.Array, old: jax.Array, is_empty: jax.Array) -> tuple[jax.Array, ...]:
    """`exp(new - m), exp(old - m), m` with the larger one as m; without the old where empty."""
    m = jnp.where(is_empty, new, jnp.maximum(old, new))
    # Selected before exp, which may overflow there, and whose derivative would be no number.
    return jnp.exp(new - m), jnp.exp(jnp.where(is_empty, -jnp.inf, old - m)), m
