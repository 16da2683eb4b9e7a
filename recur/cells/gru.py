"""The gated recurrent unit (GRU), with both orders of the reset and both senses of the update."""

from __future__ import annotations

from typing import Any, Literal, NamedTuple

import jax
import jax.numpy as jnp
from jax.nn.initializers import lecun_normal, orthogonal, zeros

from recur.call_repr import call_repr
from recur.cells.initial import Initializer, Weight, gate_weights, optional
from recur.cells.parts import Activation, CarryPart, linear_each, make_cell, plus, sigmoid
from recur.modules import activation as activation_of
from recur.structure import name
from recur.types import Cell


class GRUGates(NamedTuple):
    """The gates of `gru`, with one array for each.

    Attributes:
      reset: the array of the reset gate r.
      update: the array of the update gate z.
      candidate: the array of the candidate n.
    """

    reset: jax.Array
    update: jax.Array
    candidate: jax.Array


class GRUParams(NamedTuple):
    """Weights of `gru`.

    Attributes:
      kernel: input kernels W_r, W_z and W_n, each `[I, H]`.
      recurrent_kernel: recurrent kernels U_r, U_z and U_n, each `[H, H]`.
      bias: biases b_r, b_z and b_n, each `[H]`; None without biases.
      recurrent_bias: c, `[H]`; None without biases, and with reset="before".
      initial_carry: h_0, `[H]`; None unless it is learned.
    """

    kernel: GRUGates
    recurrent_kernel: GRUGates
    bias: GRUGates | None
    recurrent_bias: jax.Array | None
    initial_carry: jax.Array | None


@call_repr
def gru(
    features: int,
    *,
    reset: Literal["after", "before"] = "after",
    update: Literal["keep", "replace"] = "keep",
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
    """The gated recurrent unit (GRU).

        r_t = sigmoid(x_t W_r + h_{t-1} U_r + b_r)
        z_t = sigmoid(x_t W_z + h_{t-1} U_z + b_z)
        n_t = φ(x_t W_n + b_n + r_t ⊙ (h_{t-1} U_n + c))      reset="after" the product
        n_t = φ(x_t W_n + b_n + (r_t ⊙ h_{t-1}) U_n)          reset="before" the product
        h_t = z_t ⊙ h_{t-1} + (1 - z_t) ⊙ n_t                  update="keep": z is kept
        h_t = (1 - z_t) ⊙ h_{t-1} + z_t ⊙ n_t                  update="replace": z is replaced
        y_t = h_t

    PyTorch, Flax and Keras use reset="after" and update="keep"; Haiku uses reset="before" and
    update="replace". reset="after" is faster: it needs one matrix product a step, not two in
    sequence. The bias c is multiplied by r, so it cannot be merged into b_n; with it, weights of
    PyTorch's GRU can be used exactly.

    Args:
      features: H, the width of the state.
      reset: whether r acts "after" or "before" the product with U_n.
      update: whether z is the share of the old state to "keep" or to "replace".
      activation: φ, a name in `recur.modules.ACTIVATIONS` or any elementwise function.
      use_bias: whether to add b and c.
      kernel_init: initializer of W_r, W_z and W_n `[I, H]`, each drawn with its own key.
      recurrent_kernel_init: initializer of U_r, U_z and U_n `[H, H]`, likewise.
      bias_init: initializer of b_r, b_z, b_n and c `[H]`.
      initial_carry_init: initializer of a learned h_0 `[H]`; by default h_0 is zero.
      dtype: dtype of the products and of y; by default what the weights and the input promote to.
      param_dtype: dtype of the weights.
      carry_dtype: dtype of h, z and n; by default that of the products, at least float32.

    Returns:
      A `Cell` with `GRUParams`; x is `[I]`, the carry is h `[H]`, y is `[H]`.

    Raises:
      ValueError: if features is not a positive int, reset, update or activation is an unknown
        name, or x is not `[I]`.
      TypeError: if a dtype or x is not real, or an option or params have the wrong type.

    Example:
      >>> import jax, jax.numpy as jnp, recur
      >>> layer = recur.scan(recur.gru(4))
      >>> xs = jnp.ones((5, 3))
      >>> params = layer.init(jax.random.key(0), xs)
      >>> layer(params, xs).shape
      (5, 4)

    References:
      Cho et al. 2014, Learning Phrase Representations using RNN Encoder-Decoder,
      https://arxiv.org/abs/1406.1078
      Chung et al. 2014, Empirical Evaluation of Gated Recurrent Neural Networks on Sequence
      Modeling (the other sense of z), https://arxiv.org/abs/1412.3555
    """
    if reset not in ("after", "before"):
        raise ValueError(f'gru: reset must be "after" or "before", got {reset!r}.')
    if update not in ("keep", "replace"):
        raise ValueError(f'gru: update must be "keep" or "replace", got {update!r}.')
    phi = activation_of(activation)
    inits = kernel_init, recurrent_kernel_init, optional(bias_init, use_bias)
    weights = gate_weights(GRUGates, features, inits)
    has_c = use_bias and reset == "after"
    weights.append(Weight(bias_init if has_c else None, (features,)))
    carry = CarryPart((features,), initial_carry_init)

    def step(bound, state, x, key=None):
        kernel = bound.recurrent_kernel
        h = state.astype(kernel.reset.dtype)
        u = linear_each(x, bound.kernel, bound.bias, "gru")
        r = sigmoid(u.reset + h @ kernel.reset, "reset")
        z = sigmoid((u.update + h @ kernel.update).astype(state.dtype), "update")
        if reset == "after":
            m = r * plus(h @ kernel.candidate, bound.recurrent_bias)
        else:
            m = (r * h) @ kernel.candidate
        n = name(phi((u.candidate + m).astype(state.dtype)), "candidate")
        state = z * state + (1 - z) * n if update == "keep" else (1 - z) * state + z * n
        return state, state.astype(h.dtype)

    dtypes = dtype, param_dtype, carry_dtype
    return make_cell("gru", features, GRUParams, weights, carry, step, dtypes)
