"""The recurrent highway network (RHN): several highway layers in each step."""

from __future__ import annotations

from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
from jax.nn.initializers import lecun_normal, orthogonal, zeros

from recur.call_repr import call_repr
from recur.cells.initial import Initializer, gate_weights, optional
from recur.cells.parts import Activation, CarryPart, cast, linear_each, make_cell, sigmoid
from recur.checks import check_whole
from recur.modules import activation as activation_of
from recur.structure import name
from recur.types import Cell


class RHNGates(NamedTuple):
    """The gates of `recurrent_highway`, with one array for each.

    Attributes:
      candidate: the array of the candidate p.
      transform: the array of the transform gate t.
    """

    candidate: jax.Array
    transform: jax.Array


class RHNParams(NamedTuple):
    """Weights of `recurrent_highway`.

    Attributes:
      kernel: input kernels W_p and W_t, each `[I, H]`.
      recurrent_kernel: recurrent kernels U_p and U_t of each of the L layers, each `[H, H]`.
      bias: biases b_p and b_t of each of the L layers, each `[H]`; None without biases.
      initial_carry: h_0, `[H]`; None unless it is learned.
    """

    kernel: RHNGates
    recurrent_kernel: tuple[RHNGates, ...]
    bias: tuple[RHNGates, ...] | None
    initial_carry: jax.Array | None


@call_repr
def recurrent_highway(
    features: int,
    depth: int,
    *,
    activation: Activation = "tanh",
    use_bias: bool = True,
    transform_bias: float = -2.0,
    kernel_init: Initializer = lecun_normal(),
    recurrent_kernel_init: Initializer = orthogonal(),
    bias_init: Initializer = zeros,
    initial_carry_init: Initializer | None = None,
    dtype: Any = None,
    param_dtype: Any = jnp.float32,
    carry_dtype: Any = None,
) -> Cell:
    """The recurrent highway network (RHN): each step is a highway network of L layers.

        s^0 = h_{t-1}
        p^l = φ(x_t W_p + s^{l-1} U_p^l + b_p^l)              for l = 1 ... L,
        t^l = sigmoid(x_t W_t + s^{l-1} U_t^l + b_t^l)        with x_t in the layer l = 1 only
        s^l = t^l ⊙ p^l + (1 - t^l) ⊙ s^{l-1}
        h_t = s^L
        y_t = h_t

    Args:
      features: H, the width of the state.
      depth: L, the number of layers in a step.
      activation: φ, a name in `recur.modules.ACTIVATIONS` or any elementwise function.
      use_bias: whether to add biases.
      transform_bias: added to each initial b_t, so that the state is kept at first; stored in the
        weights. Without biases it has no effect.
      kernel_init: initializer of W_p and W_t `[I, H]`, each drawn with its own key.
      recurrent_kernel_init: initializer of U_p and U_t `[H, H]` of each layer, likewise.
      bias_init: initializer of b_p and b_t `[H]` of each layer.
      initial_carry_init: initializer of a learned h_0 `[H]`; by default h_0 is zero.
      dtype: dtype of the products and of y; by default what the weights and the input promote to.
      param_dtype: dtype of the weights.
      carry_dtype: dtype of s, p and t; by default that of the products, at least float32.

    Returns:
      A `Cell` with `RHNParams`; x is `[I]`, the carry is h `[H]`, y is `[H]`.

    Raises:
      ValueError: if features or depth is not a positive int, the activation is unknown, or x is
        not `[I]`.
      TypeError: if a dtype or x is not real, or an option or params have the wrong type.

    Example:
      >>> import jax, jax.numpy as jnp, recur
      >>> layer = recur.scan(recur.recurrent_highway(4, depth=3))
      >>> xs = jnp.ones((5, 3))
      >>> params = layer.init(jax.random.key(0), xs)
      >>> layer(params, xs).shape, len(params.recurrent_kernel)
      ((5, 4), 3)

    References:
      Zilly et al. 2017, Recurrent Highway Networks, https://arxiv.org/abs/1607.03474
    """
    label = "recurrent_highway"
    depth = check_whole(f"{label}: depth", depth, 1)
    phi = activation_of(activation)
    inits = kernel_init, recurrent_kernel_init, optional(bias_init, use_bias)
    weights = gate_weights(RHNGates, features, inits, transform=transform_bias)
    weights[1:] = [weight._replace(layers=depth) for weight in weights[1:]]
    carry = CarryPart((features,), initial_carry_init)

    def step(bound, s, x, key=None):
        u = linear_each(x, bound.kernel, None, label)
        biases = (None,) * depth if bound.bias is None else bound.bias
        for layer, (kernel, bias) in enumerate(zip(bound.recurrent_kernel, biases, strict=True)):
            a = linear_each(s, kernel, bias, label)
            if layer == 0:
                a = jax.tree.map(jnp.add, a, u)
            a = cast(a, s.dtype)
            p = name(phi(a.candidate), "candidate")
            t = sigmoid(a.transform, "transform")
            s = t * p + (1 - t) * s
        return s, s.astype(bound.kernel.candidate.dtype)

    dtypes = dtype, param_dtype, carry_dtype
    return make_cell(label, features, RHNParams, weights, carry, step, dtypes)
