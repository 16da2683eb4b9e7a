"""Newton's method for a nonlinear recurrence, in parallel over all steps.

The trajectory c = (c_1, ..., c_T) is the unique zero of the residuals

    r_t(c) = f_t(c_{t-1}) - c_t,    c_0 given,

where f_t is step t, with its input, reset and mask. The Jacobian of r is -1 on the diagonal and
J_t = f_t'(c_{t-1}) below it. So a Newton step from c to c + d solves

    d_t = J_t d_{t-1} + r_t,    d_0 = 0,

a linear recurrence, which an associative scan solves. Near the trajectory each step squares the
error. With any other matrices for J_t the trajectory is still the only fixed point, and each step
makes at least one more c_t exact, since c_t + d_t = f_t(c_{t-1}) if d_{t-1} = 0. So the diagonal
blocks of J_t suffice if full Jacobians are too large. In terms of residuals the recurrence never
multiplies c_0, which may be NaN before a reset.

The derivative is that of the trajectory, not of the iterations: from c_t = f_t(c_{t-1}; w),

    dc_t = J_t dc_{t-1} + (df_t/dw) dw,    with the full J_t,

which is linear in dw. It is a forward-mode rule, from which JAX derives reverse mode.
"""

from __future__ import annotations

import dataclasses
import functools
import warnings
from collections.abc import Callable
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp

from recur.arguments import suggests_keywords
from recur.call_repr import call_repr
from recur.checks import check_cell, check_flag, check_number, check_whole
from recur.keys import check_key, split
from recur.layer import Layer, check_context, is_traced
from recur.lift.jacobians import (
    Kind,
    System,
    before,
    check_numbers,
    kind_for,
    packing,
    solve_linear,
    system,
)
from recur.lift.mask import Steps, masked_step
from recur.lift.over_time import Run, over_time, read_all, step_of
from recur.manual_axes import has_explicit_axes, placed_like, vary_over
from recur.masks import is_known, make_mask, step_count
from recur.partition_inexact import partition_inexact
from recur.structure import Parts, find_structure
from recur.types import Carry, Cell, Context, Params

_ROUNDINGS = 8  # the default tolerance of the residual, in units of the carry's eps


class NewtonReport(NamedTuple):
    """The convergence of Newton's method for one sequence.

    Attributes:
      steps: int32 scalar, the number of Newton iterations.
      residual: scalar of the carry's dtype, `max_t |f_t(c_{t-1}) - c_t| / (1 + |c_t|)`, where `|·|`
        is the largest entry.
      converged: bool scalar; if False, the result is that of a scan.
    """

    steps: jax.Array
    residual: jax.Array
    converged: jax.Array


@dataclasses.dataclass(frozen=True, eq=False, repr=False)
class NewtonLayer(Layer):
    """A `Layer` run by Newton's method, which can report its convergence.

    Attributes:
      attempt: `attempt(bound, carry, xs, mask, key) -> (carry, ys, report)`; as `apply`, but it
        returns a `NewtonReport` and never warns.
    """

    attempt: Callable[..., tuple[Carry, Any, NewtonReport]] = dataclasses.field(kw_only=True)

    @suggests_keywords
    def solve(
        self,
        params: Params,
        xs: Any,
        *,
        carry: Carry = None,
        context: Context = None,
        length: Any = None,
        mask: Any = None,
        reset: Any = None,
        key: jax.Array | None = None,
    ) -> tuple[Carry, Any, NewtonReport]:
        """Runs the layer and reports the convergence: `(params, xs) -> (carry_T, ys, report)`.

        The arguments are those of `run`. There is no warning if it did not converge.
        """
        if key is not None:
            check_key(key)
        check_context(context)
        masks = make_mask(xs, length=length, mask=mask, reset=reset)
        given = (params, xs, carry, context, masks, key)
        return (self._solve if is_traced(given) else self._compiled_solve)(*given)

    def _solve(self, params, xs, carry, context, mask, key):
        bind_key, apply_key = split(key, 2)
        bound = self.bind(params, xs, key=bind_key, context=context)
        carry = self.begin(bound, xs) if carry is None else carry
        return self.attempt(bound, carry, xs, mask, apply_key)

    @functools.cached_property
    def _compiled_solve(self):
        return jax.jit(self._solve)


class _Settings(NamedTuple):
    jacobian: Kind | None
    tolerance: float | None
    max_steps: int
    damping: float


@call_repr
def newton(
    cell: Cell,
    *,
    jacobian: Kind | None = None,
    tolerance: float | None = None,
    max_steps: int = 100,
    damping: float = 0.0,
    reverse: bool = False,
) -> NewtonLayer:
    """Runs any cell over all steps in parallel, by Newton's method on the trajectory (DEER).

        c_t <- c_t + d_t,    d_t = (1 - λ) J_t d_{t-1} + f_t(c_{t-1}) - c_t,    d_0 = 0

    with f_t the step t and J_t its Jacobian, from the initial carry at all t, until

        max_t |f_t(c_{t-1}) - c_t| / (1 + |c_t|) ≤ tolerance    with |·| the largest entry.

    Values and gradients equal those of `scan`, up to rounding. One iteration takes O(log T) time.
    Use it for long sequences with a small state that forgets, which need few iterations. If it does
    not converge in `max_steps`, a scan runs instead, with a warning; `solve` returns a report
    instead of the warning. The warning is a callback, which `jax.export` does not support: export
    `solve`, or use a symbolic number of steps, for which there is no warning. There is none on a
    mesh with explicit axes either.

    With `"full"` Jacobians and n entries in the carry, an iteration costs O(n³) per step, and the
    gradient is parallel too. With `"diagonal"` ones it costs p + 1 steps of the cell, where p is
    the number of leaves of the carry (leaves of one shape are coupled, unit by unit). Each
    iteration then reduces the error less, and the gradient is sequential. This cost holds for cells
    that are elementwise around square products of the carry, such as `recur.lstm`. For others,
    including stacks, the diagonal costs n tangents and O(n²) memory per step.

    Args:
      cell: any cell that forward mode can differentiate, with a carry of real floating-point
        numbers.
      jacobian: `"full"` or `"diagonal"`; by default full up to 64 entries of the carry.
      tolerance: the largest residual that counts as converged; by default 8 eps of the carry's
        dtype.
      max_steps: the largest number of iterations; T are enough, unless numbers overflow.
      damping: λ in [0, 1); larger is slower, but more stable if products of Jacobians grow.
      reverse: whether to read from the last step to the first; outputs stay aligned with inputs.

    Returns:
      A `NewtonLayer` with the cell's params and carry.

    Raises:
      TypeError: if `cell` is not a cell, or `reverse` is not a bool; when tracing, if the carry is
        not real floating-point, or forward mode cannot differentiate the cell, for example because
        of a `jax.custom_vjp`.
      ValueError: if another option is invalid.

    Example:
      >>> import jax, jax.numpy as jnp, recur
      >>> layer = recur.newton(recur.gru(4))
      >>> xs = jnp.ones((100, 3))
      >>> params = layer.init(jax.random.key(0), xs)
      >>> carry, ys, report = layer.solve(params, xs)
      >>> bool(report.converged), bool(report.steps < 10)
      (True, True)

    References:
      Lim et al. 2024, Parallelizing non-linear sequential models over the sequence length (DEER),
      https://arxiv.org/abs/2309.12252
      Gonzalez et al. 2024, Towards Scalable and Stable Parallelization of Nonlinear RNNs (quasi
      Jacobians, damping), https://arxiv.org/abs/2407.19115
      Danieli et al. 2025, ParaRNN (blocks of units), https://arxiv.org/abs/2510.21450
    """
    reverse = check_flag("newton: reverse", reverse)
    settings = _check(cell, jacobian, tolerance, max_steps, damping)
    layer = over_time(cell, _run(cell, settings, reverse), reverse=reverse)

    def attempt(bound, carry, xs, mask, key):
        (_, carry, report), ys = layer.apply(bound, carry, xs, mask, key, all_carries=True)
        return carry, ys, report

    def apply(bound, carry, xs, mask, key, *, all_carries=False):
        (carries, last, report), ys = layer.apply(bound, carry, xs, mask, key, all_carries=True)
        # An exported program cannot call the host, and neither can a mesh with explicit axes.
        if is_known(step_count(xs)) and not has_explicit_axes(report.residual):
            _warn_unless_converged(report)
        return carries if all_carries else last, ys

    return NewtonLayer(
        layer.init,
        layer.bind,
        layer.begin,
        apply,
        layer.find_output_shape,
        direction=layer.direction,
        attempt=attempt,
    )


def _run(cell: Cell, settings: _Settings, reverse: bool) -> Run:
    """Makes the loop; in place of the carries it returns `(carries, last carry, report)`."""

    def turned(tree):
        return jax.tree.map(lambda leaf: leaf[::-1], tree) if reverse else tree

    def run(bound, carry, initial_carry, steps, all_carries):
        del all_carries
        check_numbers(carry)
        count = step_count(steps.x)
        steps = turned(steps)
        one = step_of((steps.x, steps.key))
        parts = Parts(find_structure(cell.step, bound, carry, *one), bound)
        prepared = jax.vmap(parts.prepare)(steps.x, steps.key)
        xs, steps = steps.x, steps._replace(x=prepared.inside, key=None)
        carries, report = _solve(parts, settings, carry, initial_carry, steps, count)
        # Outputs are computed by one step from the solved carries, which JAX differentiates.
        step = masked_step(lambda c, u, key: parts.advance(c, u), initial_carry)
        after, (_, crossing) = jax.vmap(step)(jax.tree.map(before, carry, carries), steps)
        last = jax.tree.map(lambda c, cs: jnp.concatenate([c[None], cs])[-1], carry, after)
        after, ys = turned((after, read_all(parts, xs, crossing, prepared.after)))
        return last, ((after, last, report), ys)

    return run


def _solve(
    parts: Parts,
    settings: _Settings,
    carry: Carry,
    initial_carry: Carry,
    steps: Steps,
    count: int,
) -> tuple[Carry, NewtonReport]:
    """Returns the carry after each step `[T, ...]`, and the report."""
    kind = kind_for(carry, settings.jacobian)
    given = (parts.kernels, parts.constants, carry, initial_carry, steps)
    real, rest, join = partition_inexact(given)
    parts = parts.without_values()

    def system_of(real, rest):
        return system(parts, kind, *join(real, rest))

    # Compiled as a whole: op by op an associative scan would be hundreds of small programs.
    @jax.custom_jvp
    @jax.jit
    def solve(real, rest):
        equations = system_of(real, rest)
        zs, report = _iterate(equations, settings, count)
        return equations.scan_unless(report.converged, zs), report

    @jax.jit
    def along(real, rest, zs, d_real):
        _, direct = jax.jvp(lambda real: system_of(real, rest).after(zs), (real,), (d_real,))
        return system_of(real, rest).along(zs, direct)

    @solve.defjvp
    def derivative(primals, tangents):
        (real, rest), (d_real, _) = primals, tangents
        zs, report = solve(real, rest)
        nothing = jax.custom_derivatives.zero_from_primal(report)
        d_real = placed_like(real, d_real)  # zeros are on no mesh
        return (zs, report), (along(real, rest, zs, d_real), nothing)

    zs, report = solve(real, rest)
    _, unpack = packing(carry, kind)
    return jax.vmap(unpack)(zs), jax.lax.stop_gradient(report)


def _iterate(equations: System, settings: _Settings, count: int) -> tuple[jax.Array, NewtonReport]:
    """Iterates Newton's method up to the tolerance, to max_steps, or until numbers overflow."""
    tolerance = settings.tolerance
    if tolerance is None:
        tolerance = _ROUNDINGS * float(jnp.finfo(equations.initial.dtype).eps)

    def arrive(zs, steps):
        residuals = equations.after(zs) - zs
        size, scale = (jnp.abs(a).max((1, 2), initial=0) for a in (residuals, zs))
        largest = (size / (1 + scale)).max(initial=0)
        # The maximum of a large array ignores NaN on CPUs.
        largest = jnp.where(jnp.isfinite(residuals).all(), largest, jnp.nan)
        return zs, residuals, NewtonReport(steps, largest, largest <= tolerance)

    def goes_on(state):
        _, _, report = state
        is_hopeful = jnp.isfinite(report.residual) & (report.steps < settings.max_steps)
        return ~report.converged & is_hopeful

    def improve(state):
        zs, residuals, report = state
        jacobians = (1 - settings.damping) * equations.jacobians(zs)
        return arrive(zs + solve_linear(jacobians, residuals), report.steps + 1)

    # The guess is not the given carry, which may be NaN before a reset.
    guess = jnp.broadcast_to(equations.initial, (count, *equations.initial.shape))
    none = vary_over(guess, jnp.zeros((), jnp.int32))
    zs, _, report = jax.lax.while_loop(goes_on, improve, arrive(guess, none))
    return zs, report


def _warn_unless_converged(report: NewtonReport) -> None:
    """Warns in a loop of at most one iteration, so a layer that converges never calls the host."""

    def warn(steps, residual, converged):
        message = (
            f"newton: after {steps} steps the residual was {residual:.1e}, above the tolerance, so "
            "a scan ran instead. Try damping or more max_steps; layer.solve reports this without a "
            "warning."
        )
        if not converged:  # under `vmap` it is called for all rows if one does not converge
            warnings.warn(message, RuntimeWarning, stacklevel=2)

    def turn(done):
        jax.debug.callback(warn, *report)
        return ~done

    jax.lax.while_loop(lambda done: ~done, turn, report.converged)


def _check(cell: Any, jacobian: Any, tolerance: Any, max_steps: Any, damping: Any) -> _Settings:
    check_cell(cell, "newton")
    if jacobian not in (None, "full", "diagonal"):
        raise ValueError(f"newton: expected 'full' or 'diagonal' Jacobians, got {jacobian!r}.")
    if tolerance is not None and check_number("newton: tolerance", tolerance) < 0:
        raise ValueError(f"newton: expected a tolerance of at least 0, got {tolerance!r}.")
    if not 0 <= check_number("newton: damping", damping) < 1:
        raise ValueError(f"newton: expected damping in [0, 1), got {damping!r}.")
    max_steps = check_whole("newton: max_steps", max_steps, 0)
    return _Settings(jacobian, tolerance, max_steps, damping)
