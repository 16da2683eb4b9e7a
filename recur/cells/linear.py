"""Cells that are linear in their carry: leaky integration and diagonal recurrences."""

from __future__ import annotations

from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
from jax.nn.initializers import lecun_normal, zeros

from recur.call_repr import call_repr
from recur.cells.initial import Initializer, Weight, optional
from recur.cells.parts import CarryPart, check_input, linear, make_cell
from recur.checks import check_whole
from recur.types import Cell


class LeakyIntegratorParams(NamedTuple):
    """Weights of `leaky_integrator`.

    Attributes:
      decay: α, the logit of the decay a, `[I]`.
    """

    decay: jax.Array


class DiagonalParams(NamedTuple):
    """Weights of `diagonal`.

    Attributes:
      rate: ν, the logarithm of the decay rate, `[H]`.
      angle: θ, the rotation in a step in radians, `[H]`; None if the state is real.
      kernel: input kernel W, `[I, H]`, or `[I, 2H]` for the real and imaginary parts of the state.
      bias: b, `[H]` or `[2H]`; None without biases.
    """

    rate: jax.Array
    angle: jax.Array | None
    kernel: jax.Array
    bias: jax.Array | None


def uniform(low: float, high: float) -> Initializer:
    """Returns an initializer that draws uniformly from `low` to `high`."""

    def init(key, shape, dtype=jnp.float32):
        return jax.random.uniform(key, shape, dtype, low, high)

    return init


@call_repr
def leaky_integrator(
    *,
    decay_init: Initializer = uniform(0.0, 4.0),
    dtype: Any = None,
    param_dtype: Any = jnp.float32,
    carry_dtype: Any = None,
) -> Cell:
    """The leaky integrator: an exponential moving average of the input with a learned decay.

        a = sigmoid(α)
        h_t = a ⊙ h_{t-1} + (1 - a) ⊙ x_t
        y_t = h_t

    Args:
      decay_init: initializer of α `[I]`; the default gives an a from 0.5 to 0.98.
      dtype: dtype of x and y; by default what the weights and the input promote to.
      param_dtype: dtype of the weights.
      carry_dtype: dtype of h and a; by default that of y, at least float32.

    Returns:
      A `Cell` with `LeakyIntegratorParams`; x is `[I]`, the carry is h `[I]`, y is `[I]`.

    Raises:
      ValueError: if x is not `[I]`.
      TypeError: if a dtype or x is not real, or an option or params have the wrong type.

    Example:
      >>> import jax, jax.numpy as jnp, recur
      >>> layer = recur.associative(recur.leaky_integrator())
      >>> xs = jnp.ones((5, 3))
      >>> layer(layer.init(jax.random.key(0), xs), xs).shape
      (5, 3)

    References:
      Jaeger et al. 2007, Optimization and Applications of Echo State Networks with Leaky-Integrator
      Neurons, https://doi.org/10.1016/j.neunet.2007.04.016
    """
    weights = [Weight(decay_init, ("I",))]
    carry = CarryPart(("I",))

    def step(bound, h, x, key=None):
        x = check_input(x, bound.decay, "leaky_integrator")
        a = jax.nn.sigmoid(bound.decay.astype(h.dtype))
        h = a * h + (1 - a) * x.astype(h.dtype)
        return h, h.astype(x.dtype)

    dtypes = dtype, param_dtype, carry_dtype
    return make_cell("leaky_integrator", "I", LeakyIntegratorParams, weights, carry, step, dtypes)


@call_repr
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
    carry_dtype: Any = None,
) -> Cell:
    """The diagonal linear recurrence: each unit decays, and rotates if the state is complex.

        λ = exp(-exp(ν) + i θ)    with θ = 0 if the state is real, so |λ| < 1
        h_t = λ ⊙ h_{t-1} + x_t W + b
        y_t = h_t, or [Re h_t, Im h_t] if the state is complex

    Args:
      features: H, the width of the state.
      complex_state: whether the state is complex.
      use_bias: whether to add b.
      rate_init: initializer of ν `[H]`; the default gives a `|λ|` from 0.69 to 0.998.
      angle_init: initializer of θ `[H]`, in radians per step.
      kernel_init: initializer of W `[I, H]`, or `[I, 2H]` if the state is complex.
      bias_init: initializer of b `[H]`, or `[2H]`.
      dtype: real dtype of the products and of y; by default what the weights and the input promote
        to.
      param_dtype: real dtype of the weights.
      carry_dtype: real dtype of λ and h, of each part if complex; by default that of the products,
        at least float32. A complex state has at least float32.

    Returns:
      A `Cell` with `DiagonalParams`; x is `[I]`, the carry is h `[H]`, y is `[H]`, or `[2H]` if the
      state is complex.

    Raises:
      ValueError: if features is not a positive int, or x is not `[I]`.
      TypeError: if a dtype or x is not real, or an option or params have the wrong type.

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
    features = check_whole("diagonal: features", features, 1)
    width = 2 * features if complex_state else features
    weights = (
        Weight(rate_init, (features,)),
        Weight(optional(angle_init, complex_state, "complex_state"), (features,)),
        Weight(kernel_init, ("I", width)),
        Weight(optional(bias_init, use_bias), (width,)),
    )
    carry = CarryPart((features,), is_complex=complex_state)

    def step(bound, h, x, key=None):
        real = jnp.finfo(h.dtype).dtype
        u = linear(x, bound.kernel, bound.bias, "diagonal").astype(real)
        size = jnp.exp(-jnp.exp(bound.rate.astype(real)))
        if complex_state:
            h = polar(size, bound.angle.astype(real)) * h + jax.lax.complex(*jnp.split(u, 2))
            y = jnp.concatenate([h.real, h.imag])
        else:
            y = h = size * h + u
        return h, y.astype(bound.kernel.dtype)

    dtypes = dtype, param_dtype, carry_dtype
    return make_cell("diagonal", features, DiagonalParams, weights, carry, step, dtypes)


def polar(size: jax.Array, angle: jax.Array) -> jax.Array:
    """Returns the complex numbers `size * exp(i angle)`."""
    return jax.lax.complex(size * jnp.cos(angle), size * jnp.sin(angle))
