"""The Jordan network: the output, not the state, is fed back."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
from jax.nn.initializers import lecun_normal, orthogonal, zeros

from recur.cells.initial import Initializer, draw, draw_start
from recur.cells.parts import casting, input_width, linear, plus, start_from
from recur.keys import check_key
from recur.modules import activation as activation_of
from recur.types import Cell


class JordanParams(NamedTuple):
    """Weights of `jordan`."""

    kernel: jax.Array  # W: [I, H]
    feedback_kernel: jax.Array  # U: [O, H]
    bias: jax.Array | None  # b: [H]
    output_kernel: jax.Array  # V: [H, O]
    output_bias: jax.Array | None  # c: [O]
    start: jax.Array | None  # y_0: [O], when learned


def jordan(
    features: int,
    outputs: int,
    *,
    activation: str | Callable = "tanh",
    output_activation: str | Callable = "tanh",
    use_bias: bool = True,
    kernel_init: Initializer = lecun_normal(),
    feedback_kernel_init: Initializer = orthogonal(),
    output_kernel_init: Initializer = lecun_normal(),
    bias_init: Initializer = zeros,
    start_init: Initializer | None = None,
    dtype: Any = None,
    param_dtype: Any = jnp.float32,
) -> Cell:
    """The network of Jordan, whose output is fed back.

        h_t = σ_h(x_t W + y_{t-1} U + b)
        y_t = σ_y(h_t V + c)

    Args:
      features: H, the width of the hidden layer.
      outputs: O, the width of the output, which is the carry.
      activation: σ_h, a name of `recur.modules.ACTIVATIONS` or any function `[H] -> [H]`.
      output_activation: σ_y, likewise, `[O] -> [O]`; a softmax is one.
      use_bias: whether there are b and c.
      kernel_init: of W `[I, H]`.
      feedback_kernel_init: of U `[O, H]`.
      output_kernel_init: of V `[H, O]`.
      bias_init: of b `[H]` and c `[O]`.
      start_init: of y_0 `[O]`, which is then learned; without it y_0 is zero.
      dtype: what is computed in; by default what the weights and the input promote to.
      param_dtype: what the weights are stored in.

    Returns:
      A `Cell` with `JordanParams`, two products deep; the carry is y `[O]`, x is `[I]`, y is `[O]`.

    Raises:
      ValueError: when an activation is unknown or x is not `[I]`.

    Example:
      >>> import jax, jax.numpy as jnp, recur
      >>> layer = recur.scan(recur.jordan(8, 2))
      >>> xs = jnp.ones((5, 3))
      >>> params = layer.init(jax.random.key(0), xs)
      >>> layer(params, xs).shape
      (5, 2)

    References:
      Jordan 1986, Attractor Dynamics and Parallelism in a Connectionist Sequential Machine;
      as a report: Serial Order, https://doi.org/10.1016/S0166-4115(97)80111-2
    """
    sigma_h, sigma_y = activation_of(activation), activation_of(output_activation)

    def init(key, x, context=None):
        del context
        width = input_width(x, "jordan")
        w, u, b, v, c, y = jax.random.split(check_key(key), 6)
        return JordanParams(
            kernel=draw(kernel_init, w, (width, features), param_dtype),
            feedback_kernel=draw(feedback_kernel_init, u, (outputs, features), param_dtype),
            bias=draw(bias_init, b, (features,), param_dtype) if use_bias else None,
            output_kernel=draw(output_kernel_init, v, (features, outputs), param_dtype),
            output_bias=draw(bias_init, c, (outputs,), param_dtype) if use_bias else None,
            start=draw_start(start_init, y, (outputs,), param_dtype),
        )

    def start(bound, x):
        del x
        return start_from(bound.start, bound.output_kernel, outputs)

    def step(bound, y, x, key=None):
        del key
        h = sigma_h(linear(x, bound.kernel, bound.bias, "jordan") + y @ bound.feedback_kernel)
        y = sigma_y(plus(h @ bound.output_kernel, bound.output_bias))
        return y, y

    return Cell(init, casting(dtype), start, step)
