"""The Jordan network: its output, not its hidden state, is fed back."""

from __future__ import annotations

from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
from jax.nn.initializers import lecun_normal, orthogonal, zeros

from recur.call_repr import call_repr
from recur.cells.initial import Initializer, Weight, optional
from recur.cells.parts import Activation, CarryPart, linear, make_cell, plus
from recur.checks import check_whole
from recur.modules import activation as activation_of
from recur.types import Cell


class JordanParams(NamedTuple):
    """Weights of `jordan`.

    Attributes:
      kernel: input kernel W, `[I, H]`.
      feedback_kernel: kernel U of the output that is fed back, `[O, H]`.
      bias: b, `[H]`; None without biases.
      output_kernel: output kernel V, `[H, O]`.
      output_bias: c, `[O]`; None without biases.
      initial_carry: y_0, `[O]`; None unless it is learned.
    """

    kernel: jax.Array
    feedback_kernel: jax.Array
    bias: jax.Array | None
    output_kernel: jax.Array
    output_bias: jax.Array | None
    initial_carry: jax.Array | None


@call_repr
def jordan(
    features: int,
    outputs: int,
    *,
    activation: Activation = "tanh",
    output_activation: Activation = "tanh",
    use_bias: bool = True,
    kernel_init: Initializer = lecun_normal(),
    feedback_kernel_init: Initializer = orthogonal(),
    output_kernel_init: Initializer = lecun_normal(),
    bias_init: Initializer = zeros,
    initial_carry_init: Initializer | None = None,
    dtype: Any = None,
    param_dtype: Any = jnp.float32,
) -> Cell:
    """The Jordan network: its output, not its hidden state, is fed back.

        h_t = σ_h(x_t W + y_{t-1} U + b)
        y_t = σ_y(h_t V + c)

    Args:
      features: H, the width of the hidden layer.
      outputs: O, the width of the output, which is the carry.
      activation: σ_h, a name in `recur.modules.ACTIVATIONS` or any function `[H] -> [H]`.
      output_activation: σ_y, likewise, `[O] -> [O]`, such as "softmax".
      use_bias: whether to add b and c.
      kernel_init: initializer of W `[I, H]`.
      feedback_kernel_init: initializer of U `[O, H]`.
      output_kernel_init: initializer of V `[H, O]`.
      bias_init: initializer of b `[H]` and c `[O]`.
      initial_carry_init: initializer of a learned y_0 `[O]`; by default y_0 is zero.
      dtype: dtype of the computation; by default what the weights and the input promote to.
      param_dtype: dtype of the weights.

    Returns:
      A `Cell` with `JordanParams`; x is `[I]`, the carry is y `[O]`, y is `[O]`.

    Raises:
      ValueError: if features or outputs is not a positive int, an activation is unknown, or x
        is not `[I]`.
      TypeError: if a dtype or x is not real, or an option or params have the wrong type.

    Example:
      >>> import jax, jax.numpy as jnp, recur
      >>> layer = recur.scan(recur.jordan(8, 2))
      >>> xs = jnp.ones((5, 3))
      >>> params = layer.init(jax.random.key(0), xs)
      >>> layer(params, xs).shape
      (5, 2)

    References:
      Jordan 1986, Serial Order: A Parallel Distributed Processing Approach, reprinted 1997,
      https://doi.org/10.1016/S0166-4115(97)80111-2
    """
    outputs = check_whole("jordan: outputs", outputs, 1)
    sigma_h, sigma_y = activation_of(activation), activation_of(output_activation)
    weights = (
        Weight(kernel_init, ("I", features)),
        Weight(feedback_kernel_init, (outputs, features)),
        Weight(optional(bias_init, use_bias), (features,)),
        Weight(output_kernel_init, (features, outputs)),
        Weight(optional(bias_init, use_bias), (outputs,)),
    )
    carry = CarryPart((outputs,), initial_carry_init, is_sum=False)

    def step(bound, y, x, key=None):
        h = sigma_h(linear(x, bound.kernel, bound.bias, "jordan") + y @ bound.feedback_kernel)
        y = sigma_y(plus(h @ bound.output_kernel, bound.output_bias))
        return y, y

    dtypes = dtype, param_dtype, None
    return make_cell("jordan", features, JordanParams, weights, carry, step, dtypes)
