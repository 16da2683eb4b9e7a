"""The Elman network: the simple recurrent network."""

from __future__ import annotations

from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
from jax.nn.initializers import lecun_normal, orthogonal, zeros

from recur.call_repr import call_repr
from recur.cells.initial import Initializer, Weight, optional
from recur.cells.parts import Activation, CarryPart, linear, make_cell
from recur.modules import activation as activation_of
from recur.types import Cell


class ElmanParams(NamedTuple):
    """Weights of `elman`.

    Attributes:
      kernel: input kernel W, `[I, H]`.
      recurrent_kernel: recurrent kernel U, `[H, H]`.
      bias: b, `[H]`; None without biases.
      initial_carry: h_0, `[H]`; None unless it is learned.
    """

    kernel: jax.Array
    recurrent_kernel: jax.Array
    bias: jax.Array | None
    initial_carry: jax.Array | None


@call_repr
def elman(
    features: int,
    *,
    activation: Activation = "tanh",
    use_bias: bool = True,
    kernel_init: Initializer = lecun_normal(),
    recurrent_kernel_init: Initializer = orthogonal(),
    bias_init: Initializer = zeros,
    initial_carry_init: Initializer | None = None,
    dtype: Any = None,
    param_dtype: Any = jnp.float32,
) -> Cell:
    """The Elman network (simple RNN): its hidden state is fed back.

        h_t = σ(x_t W + h_{t-1} U + b)
        y_t = h_t

    With ReLU and `recurrent_kernel_init=scaled_identity()` it is the IRNN; on inputs of width 0,
    `xs = jnp.zeros((T, 0))`, it is the dynamical system `h_t = σ(h_{t-1} U + b)`.

    Args:
      features: H, the width of the state.
      activation: σ, a name in `recur.modules.ACTIVATIONS` or any function `[H] -> [H]`.
      use_bias: whether to add b.
      kernel_init: initializer of W `[I, H]`.
      recurrent_kernel_init: initializer of U `[H, H]`.
      bias_init: initializer of b `[H]`.
      initial_carry_init: initializer of a learned h_0 `[H]`; by default h_0 is zero.
      dtype: dtype of the computation; by default what the weights and the input promote to.
      param_dtype: dtype of the weights.

    Returns:
      A `Cell` with `ElmanParams`; x is `[I]`, the carry is h `[H]`, y is `[H]`.

    Raises:
      ValueError: if features is not a positive int, the activation is unknown, or x is not `[I]`.
      TypeError: if a dtype or x is not real, or an option or params have the wrong type.

    Example:
      >>> import jax, jax.numpy as jnp, recur
      >>> layer = recur.scan(recur.elman(4))
      >>> xs = jnp.ones((5, 3))
      >>> params = layer.init(jax.random.key(0), xs)
      >>> layer(params, xs).shape
      (5, 4)

    References:
      Elman 1990, Finding Structure in Time, https://doi.org/10.1207/s15516709cog1402_1
    """
    sigma = activation_of(activation)
    weights = (
        Weight(kernel_init, ("I", features)),
        Weight(recurrent_kernel_init, (features, features)),
        Weight(optional(bias_init, use_bias), (features,)),
    )
    carry = CarryPart((features,), initial_carry_init, is_sum=False)

    def step(bound, h, x, key=None):
        h = sigma(linear(x, bound.kernel, bound.bias, "elman") + h @ bound.recurrent_kernel)
        return h, h

    dtypes = dtype, param_dtype, None
    return make_cell("elman", features, ElmanParams, weights, carry, step, dtypes)
