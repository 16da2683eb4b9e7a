"""Fixed points of a recurrence, and its linearization there."""

from __future__ import annotations

from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jax.flatten_util import ravel_pytree

from recur.checks import check_number, check_whole
from recur.diagnose.trajectory import check_forward, check_numbers
from recur.dtypes import at_least_float32
from recur.layer import Layer
from recur.types import Carry, Context, Mask, Params


class FixedPoints(NamedTuple):
    """The result of `find_fixed_points`, for each of S starts.

    Attributes:
      carry: the points, a pytree like the carry with leaves `[S, ...]`.
      speed: `|| F(h, x) - h ||` there, `[S]`.
      converged: whether the speed is at most the tolerance, bool `[S]`.
      steps: the number of Newton steps, int32 `[S]`.
      jacobian: `dF / dh` there, `[S, N, N]`, in the order of `jax.flatten_util.ravel_pytree`.
    """

    carry: Carry
    speed: jax.Array
    converged: jax.Array
    steps: jax.Array
    jacobian: jax.Array

    @property
    def eigenvalues(self) -> jax.Array:
        """Eigenvalues of the Jacobians, complex `[S, N]`; on CPU only.

        Those above 1 in absolute value are unstable directions, those near 1 are memory.
        """
        return jnp.linalg.eigvals(at_least_float32(self.jacobian))

    @property
    def is_stable(self) -> jax.Array:
        """Whether all eigenvalues are below 1 in absolute value, bool `[S]`; on CPU only."""
        return (jnp.abs(self.eigenvalues) < 1).all(-1)

    def distinct(self, tolerance: float = 1e-2) -> FixedPoints:
        """Returns the points that are converged, each once, in the order of the starts.

        Args:
          tolerance: the distance up to which two points are the same.

        Raises:
          ValueError: if the tolerance is not a number of at least 0.
        """
        tolerance = check_number("distinct: tolerance", tolerance)
        if tolerance < 0:
            raise ValueError(f"distinct: expected a tolerance of at least 0, got {tolerance}.")
        leaves = [np.asarray(leaf, float) for leaf in jax.tree.leaves(self.carry)]
        points = np.concatenate([leaf.reshape(len(leaf), -1) for leaf in leaves], 1)
        kept: list[int] = []
        for number in np.flatnonzero(self.converged).tolist():
            if not (np.linalg.norm(points[kept] - points[number], axis=1) <= tolerance).any():
                kept.append(number)
        chosen = np.array(kept, int)
        return jax.tree.map(lambda leaf: leaf[chosen], self)


def find_fixed_points(
    layer: Layer,
    params: Params,
    x: Any,
    starts: Carry,
    *,
    context: Context = None,
    max_steps: int = 100,
    tolerance: float = 1e-5,
) -> FixedPoints:
    """Finds fixed points of a recurrence for a constant input, by Newton's method.

        h* = F(h*, x),    h <- h - λ (dF/dh - I)^{-1} (F(h, x) - h)

    At each step λ is the largest of 1, 1/2, ..., 1/32 that lowers the speed || F(h, x) - h ||; if
    none does, the search from that start ends. Such a point may be slow, and is not converged.
    Newton's method finds unstable points and saddles too. Different starts can end at the same
    point: `FixedPoints.distinct` keeps each once.

    Args:
      layer: a causal layer over one sequence.
      params: its params.
      x: the input of one step.
      starts: carries to start from, with leaves `[S, ...]`, such as states along a trajectory from
        `Layer.run(..., all_carries=True)`.
      context: as in `Layer.run`.
      max_steps: the maximum number of Newton steps.
      tolerance: of the speed of a fixed point.

    Returns:
      `FixedPoints`.

    Raises:
      TypeError: if the layer is not one.
      ValueError: if the layer is batched, pooled, not causal or has no carry of real numbers, the
        starts have no common axis, max_steps is below 1, or the tolerance is not above 0.

    Example:
      h_t = tanh(2 h_{t-1}) has two stable fixed points, and an unstable one between them:

      >>> import jax, jax.numpy as jnp, recur
      >>> from recur.diagnose import find_fixed_points
      >>> cell = recur.cell(
      ...     init=lambda key, x: (),
      ...     init_carry=lambda params, x: jnp.zeros(()),
      ...     step=lambda params, h, x: (jnp.tanh(2 * h + x), h),
      ... )
      >>> found = find_fixed_points(recur.scan(cell), (), 0.0, jnp.array([-0.9, 0.1, 0.9]))
      >>> bool(jnp.allclose(found.carry, jnp.array([-0.958, 0.0, 0.958]), atol=1e-3))
      True
      >>> found.is_stable.tolist()
      [True, False, True]

    References:
      Sussillo & Barak 2013, Opening the black box: low-dimensional dynamics in high-dimensional
      recurrent neural networks, https://doi.org/10.1162/NECO_a_00409
    """
    caller = "find_fixed_points"
    check_forward(caller, layer)
    max_steps = check_whole(f"{caller}: max_steps", max_steps, 1)
    tolerance = check_number(f"{caller}: tolerance", tolerance)
    if tolerance <= 0:
        raise ValueError(f"{caller}: expected a tolerance above 0, got {tolerance}.")
    starts = jax.tree.map(jnp.asarray, starts)
    _check_starts(caller, starts)
    one = jax.tree.map(lambda leaf: jnp.asarray(leaf)[None], x)
    bound = layer.bind(params, one, context=context)
    _, as_carry = ravel_pytree(jax.tree.map(lambda leaf: leaf[0], starts))

    def move(vector):
        carry, _ = layer.apply(bound, as_carry(vector), one, Mask(), None)
        return ravel_pytree(carry)[0] - vector

    def search(carry):
        return _newton(move, ravel_pytree(carry)[0], max_steps, tolerance)

    vectors, steps = jax.jit(jax.vmap(search))(starts)
    speed = jnp.linalg.norm(jax.vmap(move)(vectors), axis=-1)
    of_moves = jax.vmap(jax.jacfwd(move))(vectors)
    jacobian = of_moves + jnp.eye(vectors.shape[1], dtype=vectors.dtype)[None]
    return FixedPoints(jax.vmap(as_carry)(vectors), speed, speed <= tolerance, steps, jacobian)


def _newton(move, vector, max_steps, tolerance):
    """Damped Newton steps until the speed is low, or no longer falls."""
    shares = 0.5 ** jnp.arange(6, dtype=vector.dtype)

    def speed_of(vector):
        return jnp.linalg.norm(move(vector))

    def goes_on(state):
        _, speed, count, is_stuck = state
        return (speed > tolerance) & (count < max_steps) & ~is_stuck

    def advance(state):
        vector, speed, count, _ = state
        slopes, moved = at_least_float32((jax.jacfwd(move)(vector), move(vector)))
        direction = jnp.linalg.solve(slopes, moved).astype(vector.dtype)
        tries = vector[None] - shares[:, None] * direction[None]
        speeds = jax.vmap(speed_of)(tries)
        falls = speeds < speed
        first = jnp.argmax(falls)
        is_stuck = ~falls.any()
        vector = jnp.where(is_stuck, vector, tries[first])
        return vector, jnp.where(is_stuck, speed, speeds[first]), count + 1, is_stuck

    start = vector, speed_of(vector), jnp.zeros((), jnp.int32), jnp.zeros((), bool)
    vector, _, count, _ = jax.lax.while_loop(goes_on, advance, start)
    return vector, count


def _check_starts(caller: str, starts: Carry) -> None:
    leaves = jax.tree.leaves(starts)
    if not leaves or len({leaf.shape[:1] for leaf in leaves}) != 1 or not leaves[0].ndim:
        shapes = ", ".join(str(list(leaf.shape)) for leaf in leaves) or "no array"
        raise ValueError(
            f"{caller}: expected starts as a carry whose leaves have a leading axis, got {shapes}. "
            "Add one with jax.tree.map(lambda leaf: leaf[None], carry)."
        )
    check_numbers(caller, "starts", starts, real=True)
