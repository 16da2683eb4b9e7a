"""Jacobians of the recurrence along a sequence: singular values, products, Lyapunov exponents."""

from __future__ import annotations

from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
from jax.flatten_util import ravel_pytree

from recur.arrays import as_array
from recur.checks import check_whole
from recur.diagnose.trajectory import Trajectory, check_numbers, make_trajectory
from recur.dtypes import as_float, at_least_float32
from recur.layer import Layer
from recur.types import Carry, Context, Params

# The largest slopes of activations, for `vanishing_condition`.
SLOPES = {"tanh": 1.0, "relu": 1.0, "sigmoid": 0.25, "identity": 1.0}


def step_jacobians(
    layer: Layer,
    params: Params,
    xs: Any,
    *,
    carry: Carry = None,
    context: Context = None,
    length: Any = None,
) -> jax.Array:
    """Jacobians of the recurrence along a sequence, from each carry to the next.

        J_t = dh_t / dh_{t-1},    t = 1, ..., T

    Gradients vanish or explode with the products J_t J_{t-1} ... J_{t-k+1}. N is the number of all
    numbers in the carry, in the order of `jax.flatten_util.ravel_pytree`.

    Args:
      layer: a causal layer over one sequence. Use `jax.vmap` for several.
      params: its params.
      xs: inputs `[T, ...]`.
      carry: the carry to start from; the initial carry by default.
      context: as in `Layer.run`.
      length: the number of steps that count; at the others the Jacobian is the identity.

    Returns:
      An array `[T, N, N]`, whose rows are the next carry. `jnp.linalg.svd(J, compute_uv=False)` are
      its singular values, `jnp.abs(jnp.linalg.eigvals(J)).max(-1)` its spectral radii.

    Raises:
      TypeError: if the layer is not one.
      ValueError: if the layer is batched, pooled, not causal or has no carry of real numbers.

    Example:
      The Jacobian of h_t = tanh(x_t + U h_{t-1}) is diag(1 - h_t^2) U:

      >>> import jax, jax.numpy as jnp, recur
      >>> from recur.diagnose import step_jacobians
      >>> layer, xs = recur.scan(recur.elman(4)), jnp.ones((6, 3))
      >>> params = layer.init(jax.random.key(0), xs)
      >>> ys = layer(params, xs)
      >>> expected = (1 - ys[:, :, None] ** 2) * params.recurrent_kernel.T
      >>> bool(jnp.allclose(step_jacobians(layer, params, xs), expected, atol=1e-6))
      True
    """
    steps = _real_trajectory("step_jacobians", layer, params, xs, carry, context, length)
    bound, (_, as_carry) = steps.bind(params), ravel_pytree(steps.first)
    before = jax.tree.map(lambda h: h[:-1], steps.carries(params))

    def jacobian(before, inputs):
        def advance(vector):
            return ravel_pytree(steps.step(bound, as_carry(vector), inputs)[0])[0]

        return jax.jacfwd(advance)(ravel_pytree(before)[0])

    return jax.vmap(jacobian)(before, steps.inputs)


def product_singular_values(jacobians: Any, *, sweeps: int = 8) -> jax.Array:
    """Logarithms of the singular values of a product of many matrices, without overflow.

        log σ_i(J_T J_{T-1} ... J_1)

    The product is never computed: each sweep replaces the factors by those of a QR decomposition of
    the product, transposed, so that the triangular factors become diagonal. The logarithms of their
    diagonals are summed, so products of thousands of factors are possible. The values converge with
    the sweeps, the faster, the more they differ; two sweeps suffice where they are far apart. Few
    factors need more: of one Gaussian matrix with N = 64, the logarithms differ by up to 0.1 from
    the exact ones after 8 sweeps. `jnp.linalg.svd` is exact for a single Jacobian.

    Args:
      jacobians: matrices `[T, N, N]`, such as from `step_jacobians`, the first to be applied first.
      sweeps: the number of sweeps, at least 1.

    Returns:
      `log σ`, `[N]`, the largest first; -inf of a singular product.

    Raises:
      ValueError: if the shape is not `[T, N, N]`, or sweeps is below 1.

    Example:
      The singular values of 1,000 factors 3 U, where U is orthogonal, are all 3^1000:

      >>> import jax, jax.numpy as jnp
      >>> from recur.diagnose import product_singular_values
      >>> orthogonal = jax.random.orthogonal(jax.random.key(0), 4, (1000,))
      >>> logs = product_singular_values(3 * orthogonal)
      >>> bool(jnp.allclose(logs, 1000 * jnp.log(3.0)))
      True
    """
    factors = as_float(_check_square("product_singular_values: jacobians", jacobians))
    sweeps = check_whole("product_singular_values: sweeps", sweeps, 1)

    def sweep(factors, _):
        def advance(q, factor):
            q, upper = jnp.linalg.qr(factor @ q)
            return q, upper

        _, uppers = jax.lax.scan(advance, jnp.eye(factors.shape[-1], dtype=factors.dtype), factors)
        logs = jnp.log(jnp.abs(jnp.diagonal(uppers, axis1=1, axis2=2))).sum(0)
        return jnp.swapaxes(uppers[::-1], 1, 2), logs

    _, logs = jax.lax.scan(sweep, factors, None, length=sweeps)
    return jnp.sort(logs[-1])[::-1]


def lyapunov_exponents(
    layer: Layer,
    params: Params,
    xs: Any,
    *,
    count: int | None = None,
    carry: Carry = None,
    context: Context = None,
) -> jax.Array:
    """Lyapunov exponents of the recurrence: the mean growth rates of small changes of the carry.

        λ_i = 1/T sum_{t=1}^T log |R_t[i, i]|    with  J_t Q_{t-1} = Q_t R_t

    If the largest one is below 0, changes of the carry die out and gradients vanish as
    exp(λ k) after k steps; above 0 they grow, and the network is chaotic. The Jacobians J_t are
    applied to `count` directions only, and not computed.

    Args:
      layer: a causal layer over one sequence. Use `jax.vmap` for several.
      params: its params.
      xs: inputs `[T, ...]`.
      count: the number of exponents, the largest ones; N, that of the numbers of the carry, by
        default.
      carry: the carry to start from; the initial carry by default.
      context: as in `Layer.run`.

    Returns:
      Exponents per step, `[count]`, the largest first.

    Raises:
      TypeError: if the layer is not one.
      ValueError: if the layer is batched, pooled, not causal or has no carry of real numbers,
        there are no steps, or count is not from 1 to N.

    Example:
      >>> import jax, jax.numpy as jnp, recur
      >>> from recur.diagnose import lyapunov_exponents
      >>> layer, xs = recur.scan(recur.leaky_integrator()), jnp.ones((100, 2))
      >>> params = layer.init(jax.random.key(0), xs)
      >>> bool((lyapunov_exponents(layer, params, xs) < 0).all())
      True

    References:
      Benettin et al. 1980, Lyapunov characteristic exponents for smooth dynamical systems and for
      Hamiltonian systems, https://doi.org/10.1007/BF02128236
      Vogt et al. 2022, On Lyapunov exponents for RNNs, https://arxiv.org/abs/2006.14123
    """
    caller = "lyapunov_exponents"
    steps = _real_trajectory(caller, layer, params, xs, carry, context, None)
    bound, (vector, as_carry) = steps.bind(params), ravel_pytree(steps.first)
    count = vector.size if count is None else check_whole(f"{caller}: count", count, 1)
    if not steps.length:
        raise ValueError(f"{caller}: expected a sequence with steps, got none.")
    if count > vector.size:
        raise ValueError(
            f"{caller}: expected a count of at most {vector.size}, the numbers of the carry, got "
            f"{count}."
        )

    def advance(state, inputs):
        vector, q = state

        def step(vector):
            return ravel_pytree(steps.step(bound, as_carry(vector), inputs)[0])[0]

        vector, push = jax.linearize(step, vector)
        pushed = jax.vmap(push, in_axes=1, out_axes=1)(q)
        q, upper = jnp.linalg.qr(at_least_float32(pushed))  # LAPACK has no 16-bit floats
        return (vector, q.astype(vector.dtype)), jnp.log(jnp.abs(jnp.diagonal(upper)))

    start = vector, jnp.eye(vector.size, count, dtype=vector.dtype)
    _, logs = jax.lax.scan(advance, start, steps.inputs)
    return jnp.sort(logs.mean(0))[::-1]


class VanishingCondition(NamedTuple):
    """The conditions of Pascanu et al. for a recurrent kernel.

    Attributes:
      largest: its largest singular value σ_1.
      threshold: 1 / γ, where γ is the largest slope of the activation.
      vanishes: whether σ_1 < 1 / γ, which is sufficient for gradients to vanish.
      can_explode: whether σ_1 > 1 / γ, which is necessary for gradients to explode.
    """

    largest: jax.Array
    threshold: float
    vanishes: jax.Array
    can_explode: jax.Array


def vanishing_condition(recurrent_kernel: Any, activation: str = "tanh") -> VanishingCondition:
    """Tests whether gradients of a simple recurrent network must vanish, or can explode.

        h_t = f(W x_t + U h_{t-1}),    || dh_t / dh_{t-1} || <= σ_1(U) γ,    γ = max |f'|

    If σ_1 γ < 1, gradients vanish at least as fast as (σ_1 γ)^k. If σ_1 γ > 1, they can explode,
    and can vanish too, since saturated units have smaller slopes.

    Args:
      recurrent_kernel: U, `[H, H]`.
      activation: f: "tanh", "relu", "sigmoid" or "identity".

    Returns:
      A `VanishingCondition`.

    Raises:
      ValueError: if the kernel is not square, or the activation is another one.

    Example:
      >>> import jax.numpy as jnp
      >>> from recur.diagnose import vanishing_condition
      >>> found = vanishing_condition(jnp.diag(jnp.array([0.9, 0.5])))
      >>> bool(found.vanishes), bool(found.can_explode)
      (True, False)
      >>> vanishing_condition(jnp.eye(2), "sigmoid").threshold
      4.0

    References:
      Pascanu, Mikolov & Bengio 2013, On the difficulty of training recurrent neural networks,
      section 2.1, https://arxiv.org/abs/1211.5063
    """
    caller = "vanishing_condition"
    kernel = as_float(as_array(f"{caller}: recurrent_kernel", recurrent_kernel))
    if kernel.ndim != 2 or kernel.shape[0] != kernel.shape[1]:
        raise ValueError(f"{caller}: expected a kernel [H, H], got {list(kernel.shape)}.")
    if not isinstance(activation, str) or activation not in SLOPES:
        names = ", ".join(SLOPES)
        raise ValueError(f"{caller}: expected an activation of {names}, got {activation!r}.")
    largest, threshold = jnp.linalg.norm(kernel, 2), 1 / SLOPES[activation]
    return VanishingCondition(largest, threshold, largest < threshold, largest > threshold)


def _real_trajectory(caller: str, layer, params, xs, carry, context, length) -> Trajectory:
    """The trajectory of a layer whose carry has real numbers only."""
    steps = make_trajectory(caller, layer, params, xs, carry, context, length)
    check_numbers(caller, "a carry", steps.first, real=True)
    return steps


def _check_square(name: str, matrices: Any) -> jax.Array:
    matrices = as_array(name, matrices)
    if matrices.ndim != 3 or matrices.shape[1] != matrices.shape[2] or not matrices.size:
        raise ValueError(f"{name}: expected matrices [T, N, N], got {list(matrices.shape)}.")
    return matrices
