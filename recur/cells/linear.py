"""Cells that are linear in their carry, unit by unit: what they remember decays, or turns."""

from __future__ import annotations

from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
from jax.nn.initializers import lecun_normal, zeros

from recur.cells.initial import Initializer, draw
from recur.cells.parts import casting, input_width, linear, same
from recur.keys import check_key
from recur.types import AffineCell


class LeakyParams(NamedTuple):
    """Weights of `leaky`."""

    decay: jax.Array  # α: [I]


class DiagonalParams(NamedTuple):
    """Weights of `diagonal`; where the state is complex, those of real and imaginary parts."""

    rate: jax.Array  # ν: [H]
    angle: jax.Array | None  # θ: [H], where the state is complex
    kernel: jax.Array  # W: [I, H], or [I, 2H]
    bias: jax.Array | None  # b: [H], or [2H]


def uniform(low: float, high: float) -> Initializer:
    """An initialiser that draws from `low` to `high`, each value as likely as another."""

    def init(key, shape, dtype=jnp.float32):
        return jax.random.uniform(key, shape, dtype, low, high)

    return init


def leaky(
    *,
    decay_init: Initializer = uniform(0.0, 4.0),
    dtype: Any = None,
    param_dtype: Any = jnp.float32,
) -> AffineCell:
    """The leaky integrator: a moving average of the input, whose leak is learned.

        a = sigmoid(α)
        h_t = a ⊙ h_{t-1} + (1 - a) ⊙ x_t
        y_t = h_t

    Args:
      decay_init: of α `[I]`; the default gives an a from 0.5 to 0.98.
      dtype: what is computed in; by default what the weights and the input promote to.
      param_dtype: what the weights are stored in.

    Returns:
      An `AffineCell` with `LeakyParams`; the carry is h `[I]`, x is `[I]`, y is `[I]`.

    Raises:
      ValueError: when x is not `[I]`.

    Example:
      >>> import jax, jax.numpy as jnp, recur
      >>> layer = recur.associative(recur.leaky())
      >>> xs = jnp.ones((5, 3))
      >>> layer(layer.init(jax.random.key(0), xs), xs).shape
      (5, 3)

    References:
      Jaeger et al. 2007, Optimization and Applications of Echo State Networks with Leaky-Integrator
      Neurons, https://doi.org/10.1016/j.neunet.2007.04.016
    """

    def init(key, x, context=None):
        del context
        width = input_width(x, "leaky")
        return LeakyParams(decay=draw(decay_init, check_key(key), (width,), param_dtype))

    def start(bound, x):
        del x
        return jnp.zeros_like(bound.decay)

    def coefficients(bound, x, key=None):
        del key
        a = jax.nn.sigmoid(bound.decay)
        return a, (1 - a) * x.astype(a.dtype)

    return AffineCell(init, casting(dtype), start, coefficients, same)


def diagonal(
    features: int,
    *,
    complex_state: bool = False,
    use_bias: bool = True,
    rate_init: Initializer = uniform(-6.0, -1.0),
    angle_init: Initializer = uniform(0.0, jnp.pi),
    kernel_init: Initializer = lecun_normal(),
    bias_init: Initializer = zeros,
    dtype: Any = None,
    param_dtype: Any = jnp.float32,
) -> AffineCell:
    """The diagonal linear recurrence: each unit decays, and turns where it is complex.

        λ = exp(-exp(ν) + i θ)    with θ = 0 where the state is real, so |λ| < 1
        h_t = λ ⊙ h_{t-1} + x_t W + b
        y_t = h_t, or [Re h_t, Im h_t] where the state is complex

    Args:
      features: H, the width of the state.
      complex_state: whether units turn as they decay.
      use_bias: whether there is a b.
      rate_init: of ν `[H]`; the default gives a |λ| from 0.69 to 0.998.
      angle_init: of θ `[H]`, in radians a step.
      kernel_init: of W `[I, H]`, or `[I, 2H]` where the state is complex.
      bias_init: of b `[H]`, or `[2H]`.
      dtype: what is computed in, a real one; by default what the weights and the input promote to.
      param_dtype: what the weights are stored in, a real one.

    Returns:
      An `AffineCell` with `DiagonalParams`; the carry is h `[H]`, x is `[I]`, y is `[H]`, or `[2H]`
      where the state is complex.

    Raises:
      ValueError: when x is not `[I]`.

    Example:
      >>> import jax, jax.numpy as jnp, recur
      >>> layer = recur.associative(recur.diagonal(4, complex_state=True))
      >>> xs = jnp.ones((5, 3))
      >>> layer(layer.init(jax.random.key(0), xs), xs).shape
      (5, 8)

    References:
      Orvieto et al. 2023, Resurrecting Recurrent Neural Networks for Long Sequences,
      https://arxiv.org/abs/2303.06349
    """
    width = 2 * features if complex_state else features

    def init(key, x, context=None):
        del context
        r, a, w, b = jax.random.split(check_key(key), 4)
        return DiagonalParams(
            rate=draw(rate_init, r, (features,), param_dtype),
            angle=draw(angle_init, a, (features,), param_dtype) if complex_state else None,
            kernel=draw(kernel_init, w, (input_width(x, "diagonal"), width), param_dtype),
            bias=draw(bias_init, b, (width,), param_dtype) if use_bias else None,
        )

    def start(bound, x):
        del x
        zero = jnp.zeros_like(bound.rate)
        return jax.lax.complex(zero, zero) if complex_state else zero

    def coefficients(bound, x, key=None):
        del key
        u = linear(x, bound.kernel, bound.bias, "diagonal")
        size = jnp.exp(-jnp.exp(bound.rate))
        if not complex_state:
            return size, u
        turned = jax.lax.complex(size * jnp.cos(bound.angle), size * jnp.sin(bound.angle))
        return turned, jax.lax.complex(*jnp.split(u, 2))

    def read(bound, h, x, key=None):
        del bound, x, key
        return jnp.concatenate([h.real, h.imag]) if complex_state else h

    return AffineCell(init, casting(dtype), start, coefficients, read)
