"""The linear recurrent unit: a diagonal recurrence of complex units that starts on a ring."""

from __future__ import annotations

import math
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
from jax.nn.initializers import normal, variance_scaling

from recur.cells.initial import Initializer, draw
from recur.cells.linear import uniform
from recur.cells.parts import casting, input_width, linear
from recur.dtypes import precise
from recur.keys import check_key
from recur.products import product
from recur.types import AffineCell


class LRUParams(NamedTuple):
    """Weights of `lru`; the complex B and C as their real and imaginary parts."""

    rate: jax.Array  # ν: [N]
    angle: jax.Array  # θ: [N]
    scale: jax.Array  # γ: [N]
    kernel: jax.Array  # [Re B, Im B]: [I, 2N]
    output_kernel: jax.Array  # Re C above Im C: [2N, I]
    skip: jax.Array  # d: [I]


def lru(
    features: int,
    *,
    radius: tuple[float, float] = (0.0, 1.0),
    max_angle: float = 2 * math.pi,
    kernel_init: Initializer = variance_scaling(0.5, "fan_in", "normal"),
    output_kernel_init: Initializer = variance_scaling(2.0, "fan_in", "normal"),
    skip_init: Initializer = normal(1.0),
    dtype: Any = None,
    param_dtype: Any = jnp.float32,
) -> AffineCell:
    """The linear recurrent unit: complex units that decay and turn, and a linear output.

        λ = exp(-exp(ν) + i exp(θ))    so |λ| < 1, whatever the weights
        h_t = λ ⊙ h_{t-1} + exp(γ) ⊙ (x_t B)
        y_t = Re(h_t C) + d ⊙ x_t

    λ starts on a ring, uniformly over its area, and exp(γ) as sqrt(1 - |λ|²): white noise then
    gives every unit the variance |B|², however long it remembers. For long sequences the paper
    takes a radius of (0.9, 0.999) and a max_angle of π / 10 or less. A nonlinearity between layers
    makes them a deep network: `chain(associative(lru(64)), nn.gelu, ...)`.

    Args:
      features: N, the width of the state; the output is as wide as the input.
      radius: the smallest and the largest |λ| at the start.
      max_angle: the largest angle by which a unit turns in a step at the start, in radians.
      kernel_init: of Re B and Im B, side by side `[I, 2N]`; by default of variance 1 / 2I.
      output_kernel_init: of Re C above Im C `[2N, I]`; by default of variance 1 / N.
      skip_init: of d `[I]`.
      dtype: what is computed in, a real one; by default what the weights and the input promote to.
        The state is held in complex64 at least.
      param_dtype: what the weights are stored in, a real one.

    Returns:
      An `AffineCell` with `LRUParams`; the carry is h `[N]`, complex; x is `[I]`, y is `[I]`.

    Raises:
      ValueError: when radius is not two numbers from 0 to 1 in order, max_angle is not above 0 and
        at most 2π, or x is not `[I]`.

    Example:
      >>> import jax, jax.numpy as jnp, recur
      >>> layer = recur.associative(recur.lru(4, radius=(0.9, 0.999)))
      >>> xs = jnp.ones((5, 3))
      >>> layer(layer.init(jax.random.key(0), xs), xs).shape
      (5, 3)

    References:
      Orvieto et al. 2023, Resurrecting Recurrent Neural Networks for Long Sequences,
      https://arxiv.org/abs/2303.06349
    """
    smallest, largest = _check_radius(radius)
    if not 0 < max_angle <= 2 * math.pi:
        raise ValueError(f"lru: max_angle is above 0 and at most 2π, got {max_angle!r}.")

    def init(key, x, context=None):
        del context
        width = input_width(x, "lru")
        r, a, b, c, d = jax.random.split(check_key(key), 5)
        rate = draw(_ring(smallest, largest), r, (features,), param_dtype)
        return LRUParams(
            rate=rate,
            angle=draw(_turns(max_angle), a, (features,), param_dtype),
            scale=jnp.log(-jnp.expm1(-2 * jnp.exp(rate))) / 2,
            kernel=draw(kernel_init, b, (width, 2 * features), param_dtype),
            output_kernel=draw(output_kernel_init, c, (2 * features, width), param_dtype),
            skip=draw(skip_init, d, (width,), param_dtype),
        )

    # Half precision takes 0.999 for 1, and has no complex numbers.
    def start(bound, x):
        del x
        zero = precise(jnp.zeros_like(bound.rate))
        return jax.lax.complex(zero, zero)

    def coefficients(bound, x, key=None):
        del key
        real, imag = jnp.split(precise(linear(x, bound.kernel, None, "lru")), 2)
        logarithms = precise((bound.rate, bound.angle, bound.scale))
        rate, angle, scale = map(jnp.exp, logarithms)
        size = jnp.exp(-rate)
        turned = jax.lax.complex(size * jnp.cos(angle), size * jnp.sin(angle))
        return turned, jax.lax.complex(scale * real, scale * imag)

    def read(bound, h, x, key=None):
        del key
        parts = jnp.concatenate([h.real, -h.imag]).astype(bound.skip.dtype)
        return product(parts, bound.output_kernel) + bound.skip * x.astype(bound.skip.dtype)

    return AffineCell(init, casting(dtype), start, coefficients, read)


def _check_radius(radius: Any) -> tuple[float, float]:
    if not isinstance(radius, tuple) or len(radius) != 2 or not 0 <= radius[0] <= radius[1] <= 1:
        raise ValueError(
            "lru: radius is a tuple of the smallest and the largest |λ|, from 0 to 1; got "
            f"{radius!r}."
        )
    return radius


def _ring(smallest: float, largest: float) -> Initializer:
    """ν of |λ| from smallest to largest, |λ|² being uniform."""

    def init(key, shape, dtype=jnp.float32):
        squared = uniform(smallest**2, largest**2)(key, shape, dtype)
        info = jnp.finfo(dtype)
        squared = jnp.clip(squared, float(info.tiny), 1 - float(info.epsneg))  # ν is finite between
        return jnp.log(-jnp.log(squared) / 2)

    return init


def _turns(max_angle: float) -> Initializer:
    """θ of angles from 0 to `max_angle`, uniform."""

    def init(key, shape, dtype=jnp.float32):
        return jnp.log(uniform(float(jnp.finfo(dtype).tiny), max_angle)(key, shape, dtype))

    return init
