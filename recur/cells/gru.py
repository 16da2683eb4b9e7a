"""The gated recurrent unit, with both orders of the reset and both senses of the update gate."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Literal, NamedTuple

import jax
import jax.numpy as jnp
from jax.nn.initializers import lecun_normal, orthogonal, zeros

from recur.cells.initial import Initializer, draw, draw_each, draw_start
from recur.cells.parts import (
    candidate,
    casting,
    input_width,
    itself,
    linear_each,
    plus,
    same,
    start_from,
)
from recur.keys import check_key
from recur.modules import activation as activation_of
from recur.types import Cell, GatedCell


class GRUGates(NamedTuple):
    """One array a gate of `gru`."""

    reset: jax.Array  # r
    update: jax.Array  # z
    candidate: jax.Array  # n


class GRUParams(NamedTuple):
    """Weights of `gru`."""

    kernel: GRUGates  # W: [I, H] each
    recurrent_kernel: GRUGates  # U: [H, H] each
    bias: GRUGates | None  # b: [H] each
    recurrent_bias: jax.Array | None  # c: [H], inside the reset; only of reset="after"
    start: jax.Array | None  # h_0: [H], when learned


def gru(
    features: int,
    *,
    reset: Literal["after", "before"] = "after",
    update: Literal["keep", "replace"] = "keep",
    activation: str | Callable = "tanh",
    use_bias: bool = True,
    kernel_init: Initializer = lecun_normal(),
    recurrent_kernel_init: Initializer = orthogonal(),
    bias_init: Initializer = zeros,
    start_init: Initializer | None = None,
    dtype: Any = None,
    param_dtype: Any = jnp.float32,
) -> GatedCell | Cell:
    """The gated recurrent unit.

        r_t = sigmoid(x_t W_r + h_{t-1} U_r + b_r)
        z_t = sigmoid(x_t W_z + h_{t-1} U_z + b_z)
        n_t = φ(x_t W_n + b_n + r_t ⊙ (h_{t-1} U_n + c))      reset="after" the product
        n_t = φ(x_t W_n + b_n + (r_t ⊙ h_{t-1}) U_n)          reset="before" the product
        h_t = z_t ⊙ h_{t-1} + (1 - z_t) ⊙ n_t                  update="keep": z is what is kept
        h_t = (1 - z_t) ⊙ h_{t-1} + z_t ⊙ n_t                  update="replace": z is what is new
        y_t = h_t

    PyTorch, Flax and Keras reset after and keep; Haiku resets before and replaces. Reset after
    needs one product a step instead of two in a row, so it is the faster one. c stands inside the
    reset and cannot be folded into b_n; weights of PyTorch fit exactly because it is kept apart.

    Args:
      features: H, the width of the state.
      reset: whether r acts "after" or "before" the product with U_n.
      update: whether z is the share to "keep" of the old state, or to "replace" of it.
      activation: φ, a name of `recur.modules.ACTIVATIONS` or any elementwise function.
      use_bias: whether there are b and c.
      kernel_init: of W_r, W_z and W_n `[I, H]`, each drawn apart.
      recurrent_kernel_init: of U_r, U_z and U_n `[H, H]`, each drawn apart.
      bias_init: of b_r, b_z, b_n and c `[H]`.
      start_init: of h_0 `[H]`, which is then learned; without it h_0 is zero.
      dtype: what is computed in; by default what the weights and the input promote to.
      param_dtype: what the weights are stored in.

    Returns:
      A `GatedCell` when reset is "after", else a `Cell`, with `GRUParams`; the carry is h `[H]`,
      x is `[I]`, y is `[H]`.

    Raises:
      ValueError: when reset, update or activation is an unknown name, or x is not `[I]`.

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
        raise ValueError(f'gru: reset is "after" or "before" the product, got {reset!r}.')
    if update not in ("keep", "replace"):
        raise ValueError(f'gru: update is to "keep" or to "replace", got {update!r}.')
    phi = activation_of(activation)

    def init(key, x, context=None):
        del context
        width = input_width(x, "gru")
        w, u, b, c, h = jax.random.split(check_key(key), 5)
        square = (features, features)
        resets_sum = use_bias and reset == "after"
        return GRUParams(
            kernel=draw_each(GRUGates, kernel_init, w, (width, features), param_dtype),
            recurrent_kernel=draw_each(GRUGates, recurrent_kernel_init, u, square, param_dtype),
            bias=draw_each(GRUGates, bias_init, b, (features,), param_dtype) if use_bias else None,
            recurrent_bias=draw(bias_init, c, (features,), param_dtype) if resets_sum else None,
            start=draw_start(start_init, h, (features,), param_dtype),
        )

    def start(bound, x):
        del x
        return start_from(bound.start, bound.kernel.reset, features)

    def project(bound, x, key=None):
        del key
        return linear_each(x, bound.kernel, bound.bias, "gru")

    def kernels(bound):
        return bound.recurrent_kernel

    def mix(z, old, new):
        return z * old + (1 - z) * new if update == "keep" else (1 - z) * old + z * new

    def gates(bound, h, u, m):
        r = jax.nn.sigmoid(u.reset + m.reset)
        z = jax.nn.sigmoid(u.update + m.update)
        n = candidate(phi, u.candidate, r * plus(m.candidate, bound.recurrent_bias))
        h = mix(z, h, n)
        return h, h

    def step(bound, h, x, key=None):
        u, kernel = project(bound, x, key), bound.recurrent_kernel
        r = jax.nn.sigmoid(u.reset + h @ kernel.reset)
        z = jax.nn.sigmoid(u.update + h @ kernel.update)
        n = phi(u.candidate + (r * h) @ kernel.candidate)
        h = mix(z, h, n)
        return h, h

    if reset == "before":
        return Cell(init, casting(dtype), start, step)
    return GatedCell(init, casting(dtype), start, project, itself, kernels, gates, same)
