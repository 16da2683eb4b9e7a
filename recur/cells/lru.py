"""The linear recurrent unit (LRU): a diagonal complex recurrence, initialized on a ring."""

from __future__ import annotations

import math
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
from jax.nn.initializers import normal, variance_scaling

from recur.call_repr import call_repr
from recur.cells.initial import Initializer, Weight
from recur.cells.linear import polar, uniform
from recur.cells.parts import CarryPart, cast, linear, make_cell
from recur.checks import check_whole, is_number
from recur.types import Cell


class LRUParams(NamedTuple):
    """Weights of `lru`.

    Attributes:
      rate: ν, the logarithm of the decay rate, `[N]`.
      angle: θ, the logarithm of the rotation in a step in radians, `[N]`.
      scale: γ, the logarithm of the scale of the input, `[N]`.
      kernel: input kernel B as `[Re B, Im B]`, `[I, 2N]`.
      output_kernel: output kernel C, Re C above Im C, `[2N, I]`.
      skip: weights d of the skip connection, `[I]`.
    """

    rate: jax.Array
    angle: jax.Array
    scale: jax.Array
    kernel: jax.Array
    output_kernel: jax.Array
    skip: jax.Array


@call_repr
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
    carry_dtype: Any = None,
) -> Cell:
    """The linear recurrent unit (LRU): a diagonal linear recurrence of complex units.

        λ = exp(-exp(ν) + i exp(θ))    so |λ| < 1 for all weights
        h_t = λ ⊙ h_{t-1} + exp(γ) ⊙ (x_t B)
        y_t = Re(h_t C) + d ⊙ x_t

    λ is initialized uniformly over the area of a ring, and exp(γ) as `sqrt(1 - |λ|²)`. On white
    noise every unit then has the variance `|B|²`, whatever its decay. For long sequences the paper
    uses a radius of (0.9, 0.999) and a max_angle of π / 10 or less. In a deep network, put a
    nonlinearity between layers: `chain(associative(lru(64)), nn.gelu, ...)`.

    Args:
      features: N, the width of the state; the output is as wide as the input.
      radius: the smallest and the largest initial `|λ|`.
      max_angle: the largest initial rotation in a step, in radians.
      kernel_init: initializer of `[Re B, Im B]`, `[I, 2N]`; by default of variance 1 / 2I.
      output_kernel_init: initializer of Re C above Im C `[2N, I]`; by default of variance 1 / N.
      skip_init: initializer of d `[I]`.
      dtype: real dtype of the products and of y; by default what the weights and the input promote
        to.
      param_dtype: real dtype of the weights.
      carry_dtype: real dtype of each part of λ and h, at least float32; by default that of the
        products.

    Returns:
      A `Cell` with `LRUParams`; x is `[I]`, the carry is h `[N]`, complex, y is `[I]`.

    Raises:
      ValueError: if features is not a positive int, radius is not two numbers from 0 to 1 in order,
        max_angle is not above 0 and at most 2π, or x is not `[I]`.
      TypeError: if a dtype or x is not real, or an option or params have the wrong type.

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
    features = check_whole("lru: features", features, 1)
    if not is_number(max_angle) or not 0 < max_angle <= 2 * math.pi:
        raise ValueError(f"lru: max_angle must be above 0 and at most 2π, got {max_angle!r}.")
    weights = (
        Weight(_ring(*_check_radius(radius)), (features,)),
        Weight(_angles(max_angle), (features,)),
        Weight(kernel_init, ("I", 2 * features)),
        Weight(output_kernel_init, (2 * features, "I")),
        Weight(skip_init, ("I",)),
    )
    carry = CarryPart((features,), is_complex=True)

    def normalized(rate, angle, kernel, output_kernel, skip) -> LRUParams:
        scale = jnp.log(-jnp.expm1(-2 * jnp.exp(rate))) / 2
        return LRUParams(rate, angle, scale, kernel, output_kernel, skip)

    def step(bound, h, x, key=None):
        logarithms = cast((bound.rate, bound.angle, bound.scale), jnp.finfo(h.dtype).dtype)
        rate, angle, scale = map(jnp.exp, logarithms)
        real, imag = jnp.split(linear(x, bound.kernel, None, "lru").astype(rate.dtype), 2)
        h = polar(jnp.exp(-rate), angle) * h + jax.lax.complex(scale * real, scale * imag)
        parts = jnp.concatenate([h.real, -h.imag]).astype(bound.skip.dtype)
        y = parts @ bound.output_kernel + bound.skip * x.astype(bound.skip.dtype)
        return h, y

    dtypes = dtype, param_dtype, carry_dtype
    return make_cell("lru", features, normalized, weights, carry, step, dtypes)


def _check_radius(radius: Any) -> tuple[float, float]:
    """Returns the radius if it is two numbers from 0 to 1 in order."""
    are_two = isinstance(radius, tuple) and len(radius) == 2 and all(map(is_number, radius))
    if not are_two or not 0 <= radius[0] <= radius[1] <= 1:
        raise ValueError(
            "lru: radius must be a tuple of the smallest and the largest |λ|, from 0 to 1, got "
            f"{radius!r}."
        )
    return radius


def _ring(smallest: float, largest: float) -> Initializer:
    """Returns an initializer of ν with |λ|² uniform and |λ| from smallest to largest."""

    def init(key, shape, dtype=jnp.float32):
        squared = uniform(smallest**2, largest**2)(key, shape, dtype)
        info = jnp.finfo(dtype)
        squared = jnp.clip(squared, float(info.tiny), 1 - float(info.epsneg))  # so that ν is finite
        return jnp.log(-jnp.log(squared) / 2)

    return init


def _angles(max_angle: float) -> Initializer:
    """Returns an initializer of θ with the angle exp(θ) uniform from 0 to `max_angle`."""

    def init(key, shape, dtype=jnp.float32):
        return jnp.log(uniform(float(jnp.finfo(dtype).tiny), max_angle)(key, shape, dtype))

    return init
