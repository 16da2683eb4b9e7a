"""A recurrence that is not linear, all steps at once, by Newton's method.

The trajectory c = (c_1, ..., c_T) is the one zero of the residuals

    r_t(c) = f_t(c_{t-1}) - c_t,    c_0 given,

where f_t is step t, with its input, resets and mask. The Jacobian of r is -1 on the
diagonal and J_t = f_t'(c_{t-1}) next to it, so that a Newton step c + d solves

    d_t = J_t d_{t-1} + r_t,    d_0 = 0,

a linear recurrence, for which there is an associative scan. Near the trajectory each step squares
the error. With other matrices for J_t the trajectory is still the only fixed point, and each step
makes at least one more c_t right, for c_t + d_t = f_t(c_{t-1}) where d_{t-1} = 0; so blocks on the
diagonal of J_t suffice where full ones are too large. Written with residuals the recurrence never
multiplies c_0, which may hold NaN where a reset follows.

The derivative is that of the trajectory, not of the iterations: from c_t = f_t(c_{t-1}; w),

    dc_t = J_t dc_{t-1} + (df_t/dw) dw,    with the whole J_t,

linear in dw: a rule of forward mode, from which JAX derives all others.
"""

from __future__ import annotations

import dataclasses
import functools
import warnings
from collections.abc import Callable
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp

from recur.call_repr import call_repr
from recur.checks import check_cell, check_flag, check_number, check_whole, suggests_keywords
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
from recur.manual_axes import has_explicit_axes, vary_over
from recur.masks import is_known, make_mask, step_count
from recur.partition_inexact import partition_inexact
from recur.structure import Parts, find_structure
from recur.types import Carry, Cell, Context, Params

_ROUNDINGS = 8  # of the carry's dtype, that a residual may have


class NewtonReport(NamedTuple):
    """How Newton's method converged, for one sequence.

    Attributes:
      steps: int32, the number of rounds.
      residual: max_t |f_t(c_{t-1}) - c_t| / (1 + |c_t|), with |·| the largest entry.
      converged: bool; where False, the scan ran instead.
    """

    steps: jax.Array
    residual: jax.Array
    converged: jax.Array


@dataclasses.dataclass(frozen=True, eq=False, repr=False)
class NewtonLayer(Layer):
    """A `Layer` that can report how its solution converged.

    Attributes:
      attempt: as `apply`, without a warning and with a report: `(carry, ys, report)`.
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
        """Runs the layer and reports: `(params, xs) -> (carry_T, ys, report)`.

        The arguments are those of `run`. Nothing warns where it did not converge.
        """
        if key is not None:
            check_key(key)
        check_context(context)
        marks = make_mask(xs, length=length, mask=mask, reset=reset)
        given = (params, xs, carry, context, marks, key)
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

    Values and gradients are those of `scan`, to rounding. A round takes O(log T) time: it is for
    long sequences of small states that forget, where few rounds do. Where `max_steps` do not
    suffice, the scan runs instead, with a warning; `solve` reports it without one. The warning is a
    callback, which `jax.export` refuses: export `solve`, or with a symbolic number of steps, for
    which there is no warning. Nor is there one on a mesh with explicit axes.

    With `"full"` Jacobians of n entries a round costs n³ a step, and the gradient is found in
    parallel too. With `"diagonal"` ones it costs p + 1 steps of the cell, p the leaves of the carry
    (those of one shape are coupled, unit by unit), but each round reduces the error less, and the
    gradient goes step by step. That holds for cells that are elementwise around square products of
    the carry, as `recur.lstm`; for others, a stack included, the diagonal is found by n tangents a
    step, and n² numbers.

    Args:
      cell: any cell that forward mode can differentiate; its carry holds real floating-point
        numbers.
      jacobian: `"full"` or `"diagonal"`; full up to 64 entries of the carry, when not given.
      tolerance: 8 eps of the carry's dtype, when not given.
      max_steps: the largest number of rounds; T are enough, unless numbers overflow.
      damping: λ in [0, 1): slower, and stabler where products of Jacobians grow.
      reverse: whether to read from the last step to the first; outputs stay aligned with inputs.

    Returns:
      A `NewtonLayer` with the cell's params and carry.

    Raises:
      TypeError: if `cell` is not a cell, or reverse no bool; when tracing, if its carry is not real
        floats, or JAX cannot differentiate it in forward mode, as a function with a `custom_vjp`.
      ValueError: if an option is none of those above.

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
        # An exported program cannot call the host; nor can one row of a mesh with explicit axes.
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
    """The loop; in place of the carries it gives them, the last of them and the report."""

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
        # Outputs are those of one step from the carries found: their derivative is JAX's own.
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
    """The carry after each step `[T, ...]`, and how it was found."""
    kind = kind_for(carry, settings.jacobian)
    given = (parts.kernels, parts.constants, carry, initial_carry, steps)
    real, rest, join = partition_inexact(given)
    parts = parts.without_values()

    def system_of(real, rest):
        return system(parts, kind, *join(real, rest))

    # Compiled as a whole, for op by op an associative scan is hundreds of small programs.
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
        return (zs, report), (along(real, rest, zs, d_real), nothing)

    zs, report = solve(real, rest)
    _, unpack = packing(carry, kind)
    return jax.vmap(unpack)(zs), jax.lax.stop_gradient(report)


def _iterate(equations: System, settings: _Settings, count: int) -> tuple[jax.Array, NewtonReport]:
    """Newton's method until the tolerance is met, steps run out, or numbers overflow."""
    tolerance = settings.tolerance
    if tolerance is None:
        tolerance = _ROUNDINGS * float(jnp.finfo(equations.initial.dtype).eps)

    def arrive(zs, steps):
        residuals = equations.after(zs) - zs
        size, scale = (jnp.abs(a).max((1, 2), initial=0) for a in (residuals, zs))
        largest = (size / (1 + scale)).max(initial=0)
        return zs, residuals, NewtonReport(steps, largest, largest <= tolerance)

    def goes_on(state):
        _, _, report = state
        is_hopeful = jnp.isfinite(report.residual) & (report.steps < settings.max_steps)
        return ~report.converged & is_hopeful

    def improve(state):
        zs, residuals, report = state
        jacobians = (1 - settings.damping) * equations.jacobians(zs)
        return arrive(zs + solve_linear(jacobians, residuals), report.steps + 1)

    # Not from the given carry, which may hold NaN where a reset follows.
    guess = jnp.broadcast_to(equations.initial, (count, *equations.initial.shape))
    none = vary_over(guess, jnp.zeros((), jnp.int32))
    zs, _, report = jax.lax.while_loop(goes_on, improve, arrive(guess, none))
    return zs, report


def _warn_unless_converged(report: NewtonReport) -> None:
    """Warns, by a loop of at most one iteration: a layer that converges never calls the host."""

    def tell(steps, residual, converged):
        message = (
            f"newton: after {steps} steps the residual was {residual:.1e}, above the tolerance, so "
            "the scan ran instead. Try damping or more max_steps; layer.solve only reports this."
        )
        if not converged:  # under `vmap` all rows come here if one does
            warnings.warn(message, RuntimeWarning, stacklevel=2)

    def turn(told):
        jax.debug.callback(tell, *report)
        return ~told

    jax.lax.while_loop(lambda told: ~told, turn, report.converged)


def _check(cell: Any, jacobian: Any, tolerance: Any, max_steps: Any, damping: Any) -> _Settings:
    check_cell(cell, "newton")
    if jacobian not in (None, "full", "diagonal"):
        raise ValueError(f"newton: expected 'full' or 'diagonal' Jacobians, got {jacobian!r}.")
    if tolerance is not None and check_number("newton: tolerance", tolerance) < 0:
        raise ValueError(f"newton: expected a tolerance of at least 0, got {tolerance!r}.")
    if not 0 <= check_number("newton: damping", damping) < 1:
        raise ValueError(f"newton: expected damping from 0 to below 1, got {damping!r}.")
    max_steps = check_whole("newton: max_steps", max_steps, 0)
    return _Settings(jacobian, tolerance, max_steps, damping)
