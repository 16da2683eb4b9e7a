"""The recurrent highway network: several layers from one step to the next."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
from jax.nn.initializers import lecun_normal, orthogonal, zeros

from recur.cells.initial import Initializer, draw_bias, draw_each, draw_start
from recur.cells.parts import casting, input_width, linear_each, start_from
from recur.checks import check_whole
from recur.keys import check_key
from recur.modules import activation as activation_of
from recur.types import Cell


class RHNGates(NamedTuple):
    """One array a gate of `recurrent_highway`."""

    candidate: jax.Array  # p
    transform: jax.Array  # t


class RHNParams(NamedTuple):
    """Weights of `recurrent_highway`, of depth L."""

    kernel: RHNGates  # W: [I, H] each
    recurrent_kernel: tuple[RHNGates, ...]  # U^1 ... U^L: [H, H] each
    bias: tuple[RHNGates, ...] | None  # b^1 ... b^L: [H] each
    start: jax.Array | None  # h_0: [H], when learned


def recurrent_highway(
    features: int,
    depth: int,
    *,
    activation: str | Callable = "tanh",
    use_bias: bool = True,
    transform_bias: float = -2.0,
    kernel_init: Initializer = lecun_normal(),
    recurrent_kernel_init: Initializer = orthogonal(),
    bias_init: Initializer = zeros,
    start_init: Initializer | None = None,
    dtype: Any = None,
    param_dtype: Any = jnp.float32,
) -> Cell:
    """The recurrent highway network, whose step is a highway network of L layers.

        s^0 = h_{t-1}
        p^l = φ(x_t W_p + s^{l-1} U_p^l + b_p^l)              for l = 1 ... L,
        t^l = sigmoid(x_t W_t + s^{l-1} U_t^l + b_t^l)        with x_t in the layer l = 1 only
        s^l = t^l ⊙ p^l + (1 - t^l) ⊙ s^{l-1}
        h_t = s^L
        y_t = h_t

    Args:
      features: H, the width of the state.
      depth: L, how many layers lie between one step and the next.
      activation: φ, a name of `recur.modules.ACTIVATIONS` or any elementwise function.
      use_bias: whether there are biases.
      transform_bias: what is added to each initial b_t, so that the state is carried on at first;
        it is stored in the weights. Nothing where there are no biases.
      kernel_init: of W_p and W_t `[I, H]`, each drawn apart.
      recurrent_kernel_init: of U_p and U_t `[H, H]` of each layer, each drawn apart.
      bias_init: of b_p and b_t `[H]` of each layer.
      start_init: of h_0 `[H]`, which is then learned; without it h_0 is zero.
      dtype: what is computed in; by default what the weights and the input promote to.
      param_dtype: what the weights are stored in.

    Returns:
      A `Cell` with `RHNParams`; the carry is h `[H]`, x is `[I]`, y is `[H]`.

    Raises:
      ValueError: when depth is not a whole number of at least 1, the activation is unknown or x is
        not `[I]`.

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
    name = "recurrent_highway"
    depth = check_whole(f"{name}: depth", depth, 1)
    phi = activation_of(activation)

    def init(key, x, context=None):
        del context
        shape, square = (input_width(x, name), features), (features, features)
        w, u, b, h = jax.random.split(check_key(key), 4)
        return RHNParams(
            kernel=draw_each(RHNGates, kernel_init, w, shape, param_dtype),
            recurrent_kernel=tuple(
                draw_each(RHNGates, recurrent_kernel_init, k, square, param_dtype)
                for k in jax.random.split(u, depth)
            ),
            bias=tuple(init_bias(k) for k in jax.random.split(b, depth)) if use_bias else None,
            start=draw_start(start_init, h, (features,), param_dtype),
        )

    def init_bias(key):
        shape = (features,)
        return draw_bias(RHNGates, bias_init, key, shape, param_dtype, transform=transform_bias)

    def start(bound, x):
        del x
        return start_from(bound.start, bound.kernel.candidate, features)

    def step(bound, h, x, key=None):
        del key
        biases = (None,) * depth if bound.bias is None else bound.bias
        s, u = h, linear_each(x, bound.kernel, None, name)
        for level, (kernel, bias) in enumerate(zip(bound.recurrent_kernel, biases, strict=True)):
            a = linear_each(s, kernel, bias, name)
            if level == 0:
                a = jax.tree.map(jnp.add, a, u)
            t = jax.nn.sigmoid(a.transform)
            s = t * phi(a.candidate) + (1 - t) * s
        return s, s

    return Cell(init, casting(dtype), start, step)
