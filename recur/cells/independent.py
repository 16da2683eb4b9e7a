"""The independently recurrent network (IndRNN): each unit is fed back to itself only."""

from __future__ import annotations

from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
from jax.nn.initializers import lecun_normal, uniform, zeros

from recur.call_repr import call_repr
from recur.cells.initial import Initializer, Weight, optional
from recur.cells.parts import Activation, CarryPart, linear, make_cell
from recur.modules import activation as activation_of
from recur.types import Cell


class IndRNNParams(NamedTuple):
    """Weights of `indrnn`.

    Attributes:
      kernel: input kernel W, `[I, H]`.
      recurrent: recurrent weights u, `[H]`.
      bias: b, `[H]`; None without biases.
      initial_carry: h_0, `[H]`; None unless it is learned.
    """

    kernel: jax.Array
    recurrent: jax.Array
    bias: jax.Array | None
    initial_carry: jax.Array | None


@call_repr
def indrnn(
    features: int,
    *,
    activation: Activation = "relu",
    use_bias: bool = True,
    kernel_init: Initializer = lecun_normal(),
    recurrent_init: Initializer = uniform(1.0),
    bias_init: Initializer = zeros,
    initial_carry_init: Initializer | None = None,
    dtype: Any = None,
    param_dtype: Any = jnp.float32,
    carry_dtype: Any = None,
) -> Cell:
    """The independently recurrent network (IndRNN): a recurrent vector instead of a matrix.

        h_t = φ(x_t W + u ⊙ h_{t-1} + b)
        y_t = h_t

    Only the W of the next layer mixes the units, so it is used in stacks. With ReLU the gradient of
    an active unit over n steps is `u^n`: over T steps it neither vanishes nor explodes if `|u|^T`
    is near one. There is no matrix product inside the loop.

    Args:
      features: H, the width of the state.
      activation: φ, a name in `recur.modules.ACTIVATIONS` or any elementwise function.
      use_bias: whether to add b.
      kernel_init: initializer of W `[I, H]`.
      recurrent_init: initializer of u `[H]`; the default is uniform from 0 to 1.
      bias_init: initializer of b `[H]`.
      initial_carry_init: initializer of a learned h_0 `[H]`; by default h_0 is zero.
      dtype: dtype of the products and of y; by default what the weights and the input promote to.
      param_dtype: dtype of the weights.
      carry_dtype: dtype of h; by default that of the products, at least float32.

    Returns:
      A `Cell` with `IndRNNParams`; x is `[I]`, the carry is h `[H]`, y is `[H]`.

    Raises:
      ValueError: if features is not a positive int, the activation is unknown, or x is not `[I]`.
      TypeError: if a dtype or x is not real, or an option or params have the wrong type.

    Example:
      >>> import jax, jax.numpy as jnp, recur
      >>> layer = recur.scan(recur.stack(recur.indrnn(4), recur.indrnn(4)))
      >>> xs = jnp.ones((5, 3))
      >>> layer(layer.init(jax.random.key(0), xs), xs).shape
      (5, 4)

    References:
      Li et al. 2018, Independently Recurrent Neural Network (IndRNN): Building A Longer and Deeper
      RNN, https://arxiv.org/abs/1803.04831
    """
    phi = activation_of(activation)
    weights = (
        Weight(kernel_init, ("I", features)),
        Weight(recurrent_init, (features,)),
        Weight(optional(bias_init, use_bias), (features,)),
    )
    carry = CarryPart((features,), initial_carry_init)

    def step(bound, h, x, key=None):
        u = linear(x, bound.kernel, bound.bias, "indrnn").astype(h.dtype)
        h = phi(u + bound.recurrent.astype(h.dtype) * h)
        return h, h.astype(bound.kernel.dtype)

    dtypes = dtype, param_dtype, carry_dtype
    return make_cell("indrnn", features, IndRNNParams, weights, carry, step, dtypes)
