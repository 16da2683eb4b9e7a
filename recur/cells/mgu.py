"""The minimal gated unit: a gated recurrent unit whose two gates are one."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Literal, NamedTuple

import jax
import jax.numpy as jnp
from jax.nn.initializers import lecun_normal, orthogonal, zeros

from recur.cells.initial import Initializer, draw_each, draw_start
from recur.cells.parts import candidate, casting, input_width, itself, linear_each, same, start_from
from recur.keys import check_key
from recur.modules import activation as activation_of
from recur.types import Cell, GatedCell


class MGUGates(NamedTuple):
    """One array a gate of `mgu`."""

    forget: jax.Array  # f
    candidate: jax.Array  # h̃


class MGUParams(NamedTuple):
    """Weights of `mgu`."""

    kernel: MGUGates  # W: [I, H] each
    recurrent_kernel: MGUGates  # U: [H, H] each
    bias: MGUGates | None  # b: [H] each
    start: jax.Array | None  # h_0: [H], when learned


def mgu(
    features: int,
    *,
    reset: Literal["before", "after"] = "before",
    activation: str | Callable = "tanh",
    use_bias: bool = True,
    kernel_init: Initializer = lecun_normal(),
    recurrent_kernel_init: Initializer = orthogonal(),
    bias_init: Initializer = zeros,
    start_init: Initializer | None = None,
    dtype: Any = None,
    param_dtype: Any = jnp.float32,
) -> Cell | GatedCell:
    """The minimal gated unit: one gate, which resets the old state and lets in the new.

        f_t = sigmoid(x_t W_f + h_{t-1} U_f + b_f)
        h̃_t = φ(x_t W_h + b_h + (f_t ⊙ h_{t-1}) U_h)      reset="before" the product
        h̃_t = φ(x_t W_h + b_h + f_t ⊙ (h_{t-1} U_h))      reset="after" the product
        h_t = (1 - f_t) ⊙ h_{t-1} + f_t ⊙ h̃_t
        y_t = h_t

    It is the GRU that replaces by z = r. The paper calls the gate f, and yet the old state stays
    where f is 0. Reset before is the paper's; reset after needs one product a step instead of two
    in a row, so it is the faster one.

    Args:
      features: H, the width of the state.
      reset: whether f acts "before" or "after" the product with U_h.
      activation: φ, a name of `recur.modules.ACTIVATIONS` or any elementwise function.
      use_bias: whether there are b_f and b_h.
      kernel_init: of W_f and W_h `[I, H]`, each drawn apart.
      recurrent_kernel_init: of U_f and U_h `[H, H]`, each drawn apart.
      bias_init: of b_f and b_h `[H]`.
      start_init: of h_0 `[H]`, which is then learned; without it h_0 is zero.
      dtype: what is computed in; by default what the weights and the input promote to.
      param_dtype: what the weights are stored in.

    Returns:
      A `Cell`, but a `GatedCell` when reset is "after", with `MGUParams`; the carry is h `[H]`, x
      is `[I]`, y is `[H]`.

    Raises:
      ValueError: when reset or activation is an unknown name, or x is not `[I]`.

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
        raise ValueError(f'mgu: reset is "before" or "after" the product, got {reset!r}.')
    phi = activation_of(activation)

    def init(key, x, context=None):
        del context
        width = input_width(x, "mgu")
        w, u, b, h = jax.random.split(check_key(key), 4)
        square = (features, features)
        return MGUParams(
            kernel=draw_each(MGUGates, kernel_init, w, (width, features), param_dtype),
            recurrent_kernel=draw_each(MGUGates, recurrent_kernel_init, u, square, param_dtype),
            bias=draw_each(MGUGates, bias_init, b, (features,), param_dtype) if use_bias else None,
            start=draw_start(start_init, h, (features,), param_dtype),
        )

    def start(bound, x):
        del x
        return start_from(bound.start, bound.kernel.forget, features)

    def project(bound, x, key=None):
        del key
        return linear_each(x, bound.kernel, bound.bias, "mgu")

    def kernels(bound):
        return bound.recurrent_kernel

    def gates(bound, h, u, m):
        del bound
        f = jax.nn.sigmoid(u.forget + m.forget)
        h = (1 - f) * h + f * candidate(phi, u.candidate, f * m.candidate)
        return h, h

    def step(bound, h, x, key=None):
        u, kernel = project(bound, x, key), bound.recurrent_kernel
        f = jax.nn.sigmoid(u.forget + h @ kernel.forget)
        h = (1 - f) * h + f * phi(u.candidate + (f * h) @ kernel.candidate)
        return h, h

    if reset == "before":
        return Cell(init, casting(dtype), start, step)
    return GatedCell(init, casting(dtype), start, project, itself, kernels, gates, same)
