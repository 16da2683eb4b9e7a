"""The update-gate RNN (UGRNN): one gate mixes the old state and a candidate."""

from __future__ import annotations

from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
from jax.nn.initializers import lecun_normal, orthogonal, zeros

from recur.call_repr import call_repr
from recur.cells.initial import GatedParams, Initializer, gate_weights, optional
from recur.cells.parts import Activation, CarryPart, make_cell, pre_activations, sigmoid
from recur.modules import activation as activation_of
from recur.structure import name
from recur.types import Cell


class UGRNNGates(NamedTuple):
    """The gates of `ugrnn`, with one array for each.

    Attributes:
      update: the array of the update gate z.
      candidate: the array of the candidate g.
    """

    update: jax.Array
    candidate: jax.Array


@call_repr
def ugrnn(
    features: int,
    *,
    activation: Activation = "relu",
    use_bias: bool = True,
    kernel_init: Initializer = lecun_normal(),
    recurrent_kernel_init: Initializer = orthogonal(),
    bias_init: Initializer = zeros,
    initial_carry_init: Initializer | None = None,
    dtype: Any = None,
    param_dtype: Any = jnp.float32,
    carry_dtype: Any = None,
) -> Cell:
    """The update-gate RNN (UGRNN): one gate mixes the old state and a candidate.

        z_t = sigmoid(x_t W_z + h_{t-1} U_z + b_z)
        g_t = φ(x_t W_g + h_{t-1} U_g + b_g)
        h_t = z_t ⊙ h_{t-1} + (1 - z_t) ⊙ g_t
        y_t = h_t

    It is a GRU without a reset gate. Where z is 1, the state and its gradient pass through
    unchanged, so some lectures call it the pass-through cell.

    Args:
      features: H, the width of the state.
      activation: φ, a name in `recur.modules.ACTIVATIONS` or any elementwise function.
      use_bias: whether to add b_z and b_g.
      kernel_init: initializer of W_z and W_g `[I, H]`, each drawn with its own key.
      recurrent_kernel_init: initializer of U_z and U_g `[H, H]`, likewise.
      bias_init: initializer of b_z and b_g `[H]`.
      initial_carry_init: initializer of a learned h_0 `[H]`; by default h_0 is zero.
      dtype: dtype of the products and of y; by default what the weights and the input promote to.
      param_dtype: dtype of the weights.
      carry_dtype: dtype of h and of the gates; by default that of the products, at least float32.

    Returns:
      A `Cell` with `GatedParams`; x is `[I]`, the carry is h `[H]`, y is `[H]`.

    Raises:
      ValueError: if features is not a positive int, the activation is unknown, or x is not `[I]`.
      TypeError: if a dtype or x is not real, or an option or params have the wrong type.

    Example:
      >>> import jax, jax.numpy as jnp, recur
      >>> layer = recur.scan(recur.ugrnn(4))
      >>> xs = jnp.ones((5, 3))
      >>> params = layer.init(jax.random.key(0), xs)
      >>> layer(params, xs).shape
      (5, 4)

    References:
      Collins, Sohl-Dickstein & Sussillo 2017, Capacity and Trainability in Recurrent Neural
      Networks, https://arxiv.org/abs/1611.09913
    """
    phi = activation_of(activation)
    inits = kernel_init, recurrent_kernel_init, optional(bias_init, use_bias)
    weights = gate_weights(UGRNNGates, features, inits)
    carry = CarryPart((features,), initial_carry_init)

    def step(bound, state, x, key=None):
        h = state.astype(bound.kernel.update.dtype)
        a = pre_activations(bound, x, h, state.dtype, "ugrnn")
        z = sigmoid(a.update, "update")
        g = name(phi(a.candidate), "candidate")
        state = z * state + (1 - z) * g
        return state, state.astype(h.dtype)

    dtypes = dtype, param_dtype, carry_dtype
    return make_cell("ugrnn", features, GatedParams, weights, carry, step, dtypes)
