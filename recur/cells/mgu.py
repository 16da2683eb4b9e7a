"""The minimal gated unit (MGU): a gated recurrent unit (GRU) with one gate."""

from __future__ import annotations

from typing import Any, Literal, NamedTuple

import jax
import jax.numpy as jnp
from jax.nn.initializers import lecun_normal, orthogonal, zeros

from recur.call_repr import call_repr
from recur.cells.initial import GatedParams, Initializer, gate_weights, optional
from recur.cells.parts import Activation, CarryPart, linear_each, make_cell, sigmoid
from recur.modules import activation as activation_of
from recur.structure import name
from recur.types import Cell


class MGUGates(NamedTuple):
    """The gates of `mgu`, with one array for each.

    Attributes:
      forget: the array of the gate f.
      candidate: the array of the candidate h̃.
    """

    forget: jax.Array
    candidate: jax.Array


@call_repr
def mgu(
    features: int,
    *,
    reset: Literal["before", "after"] = "before",
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
    """The minimal gated unit (MGU): a gated recurrent unit (GRU) with one gate.

        f_t = sigmoid(x_t W_f + h_{t-1} U_f + b_f)
        h̃_t = φ(x_t W_h + b_h + (f_t ⊙ h_{t-1}) U_h)      reset="before" the product
        h̃_t = φ(x_t W_h + b_h + f_t ⊙ (h_{t-1} U_h))      reset="after" the product
        h_t = (1 - f_t) ⊙ h_{t-1} + f_t ⊙ h̃_t
        y_t = h_t

    It is `gru(update="replace")` with z = r. The paper calls the gate f, although the old state is
    kept where f is 0, and uses reset="before". reset="after" is faster: it needs one matrix product
    a step, not two in sequence.

    Args:
      features: H, the width of the state.
      reset: whether f acts "before" or "after" the product with U_h.
      activation: φ, a name in `recur.modules.ACTIVATIONS` or any elementwise function.
      use_bias: whether to add b_f and b_h.
      kernel_init: initializer of W_f and W_h `[I, H]`, each drawn with its own key.
      recurrent_kernel_init: initializer of U_f and U_h `[H, H]`, likewise.
      bias_init: initializer of b_f and b_h `[H]`.
      initial_carry_init: initializer of a learned h_0 `[H]`; by default h_0 is zero.
      dtype: dtype of the products and of y; by default what the weights and the input promote to.
      param_dtype: dtype of the weights.
      carry_dtype: dtype of h, f and h̃; by default that of the products, at least float32.

    Returns:
      A `Cell` with `GatedParams`; x is `[I]`, the carry is h `[H]`, y is `[H]`.

    Raises:
      ValueError: if features is not a positive int, reset or activation is an unknown name, or
        x is not `[I]`.
      TypeError: if a dtype or x is not real, or an option or params have the wrong type.

    Example:
      >>> import jax, jax.numpy as jnp, recur
      >>> layer = recur.scan(recur.mgu(4))
      >>> xs = jnp.ones((5, 3))
      >>> params = layer.init(jax.random.key(0), xs)
      >>> layer(params, xs).shape
      (5, 4)

    References:
      Zhou et al. 2016, Minimal Gated Unit for Recurrent Neural Networks,
      https://arxiv.org/abs/1603.09420
    """
    if reset not in ("before", "after"):
        raise ValueError(f'mgu: reset must be "before" or "after", got {reset!r}.')
    phi = activation_of(activation)
    inits = kernel_init, recurrent_kernel_init, optional(bias_init, use_bias)
    weights = gate_weights(MGUGates, features, inits)
    carry = CarryPart((features,), initial_carry_init)

    def step(bound, state, x, key=None):
        kernel = bound.recurrent_kernel
        h = state.astype(kernel.forget.dtype)
        u = linear_each(x, bound.kernel, bound.bias, "mgu")
        f = sigmoid((u.forget + h @ kernel.forget).astype(state.dtype), "forget")
        if reset == "before":
            m = (f * state).astype(h.dtype) @ kernel.candidate
        else:
            m = f.astype(h.dtype) * (h @ kernel.candidate)
        g = name(phi((u.candidate + m).astype(state.dtype)), "candidate")
        state = (1 - f) * state + f * g
        return state, state.astype(h.dtype)

    dtypes = dtype, param_dtype, carry_dtype
    return make_cell("mgu", features, GatedParams, weights, carry, step, dtypes)
