"""The loop of a `GatedCell`, and its derivative with the products of the kernels taken out.

The loop forms m_t = h_{t-1} W at every step. Left to itself, reverse mode would add dW up at every
step too, a second product there, and keep all that the gates computed on their way. But W reaches
the outputs through m alone. So the derivative along a change dW of a kernel is the derivative along

    dm_t = h_{t-1} dW    for all steps at once.

Where m is only ever added to an input u, as in most gates, it is that along du_t = dm_t, and the
loop is the same; elsewhere the loop takes a shift of m. Transposed, this is one product too,
dW = sum_t h_{t-1}ᵀ dm_t. The gates are computed again on the way back, from what they were given.
It is a rule of forward mode, from which JAX derives reverse mode and all higher derivatives.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import jax
import jax.numpy as jnp

from recur.lift.elementwise import check_elementwise, jaxpr_of_gates, only_added
from recur.lift.mask import Steps, guard
from recur.lift.numbers import split_numbers
from recur.lift.over_time import step_of
from recur.products import multiplier, product
from recur.sequences.lengths import step_count
from recur.types import Bound, Carry, GatedCell
from recur.varying import vary_over


def run_gated(
    cell: GatedCell,
    bound: Bound,
    carry: Carry,
    fresh: Carry,
    steps: Steps,
    see: Callable[[Carry], Any],
    **options: Any,
) -> tuple[Carry, Any, Any]:
    """Advances a cell over all steps by `jax.lax.scan`.

    Args:
      cell: the cell.
      bound: its bound params.
      carry: the carry to start from.
      fresh: the carry with which a segment starts.
      steps: what is known of each step; x is what `cell.project` made of the input.
      see: what of each carry is wanted.
      **options: of `jax.lax.scan`.

    Returns:
      The last carry, what was seen of the carries, and what `cell.gates` gave for each step.
    """
    u = step_of(steps.x)
    traced = jaxpr_of_gates(cell, bound, carry, u)
    check_elementwise(traced)
    added_to = only_added(traced, carry, u)
    kernels, kernel_structure = jax.tree.flatten(cell.kernels(bound))
    gates = jax.checkpoint(cell.gates, prevent_cse=False)  # within a loop nothing is merged

    def loop(kernels, values, shifts, keep):
        """What the loop gives, and what it keeps of each h; shifts are added to m."""
        us, bound, carry, fresh, marks = values
        multiply = multiplier(kernels)

        def advance(carry, step, key):
            del key
            u, shift = step
            h = cell.hidden(bound, carry)
            u, m = _meet(u, multiply(h), shift, added_to)
            carry, v = gates(bound, carry, u, jax.tree.unflatten(kernel_structure, m))
            return carry, (v, keep(h))

        steps = marks._replace(x=(us, shifts))
        carry, (seen, (vs, hs)) = jax.lax.scan(guard(advance, fresh, see), carry, steps, **options)
        return (carry, seen, vs), hs

    count = step_count(steps.x)
    ms: list[Any] = [var.aval for var in traced.invars[len(traced.invars) - len(added_to) :]]
    shifts = [
        jax.ShapeDtypeStruct((count, *m.shape), m.dtype) if j is None else None
        for m, j in zip(ms, added_to, strict=True)
    ]
    values = (steps.x, bound, carry, fresh, steps._replace(x=None))
    return _with_kernels_apart(loop, kernels, values, shifts, added_to)


def _with_kernels_apart(
    loop: Callable[..., Any],
    kernels: Sequence[jax.Array],
    values: Any,
    shifts: Sequence[Any],
    added_to: Sequence[int | None],
) -> Any:
    """What the loop gives, with the rule of this file for its derivative along the kernels.

    Args:
      loop: `loop(kernels, values, shifts, keep) -> (outputs, hs)`.
      kernels: the kernels.
      values: all else that the loop is given; the inputs u stand in front.
      shifts: the shape of those of each m that is not only added to a u, None for the others.
      added_to: for each m, the u that it is added to, or None.
    """
    real, others, join = split_numbers(values)

    @jax.custom_jvp
    def run(kernels, real, others):
        none = [None] * len(kernels)
        return loop(kernels, join(real, others), none, keep=lambda h: ())[0]

    @run.defjvp
    def derivative(primals, tangents):
        kernels, real, others = primals
        d_kernels, d_real, _ = tangents
        no_shifts = jax.tree.map(lambda shift: jnp.zeros(shift.shape, shift.dtype), shifts)
        outputs, along, hs = jax.linearize(
            lambda real, shifts: loop(kernels, join(real, others), shifts, keep=lambda h: h),
            real,
            vary_over(primals, no_shifts),
            has_aux=True,
        )
        d_real, d_shifts = list(d_real), [None] * len(kernels)
        for k, (d_kernel, j) in enumerate(zip(d_kernels, added_to, strict=True)):
            d_m = product(hs, d_kernel)
            if j is None:
                d_shifts[k] = d_m
            else:
                d_real[j] += d_m
        return outputs, along(d_real, d_shifts)

    return run(kernels, real, others)


def _meet(
    u: Any, m: Sequence[jax.Array], shifts: Sequence[Any], added_to: Sequence[int | None]
) -> tuple[Any, list[jax.Array]]:
    """Adds each m to its u where gates do nothing else with it, and its shift elsewhere."""
    us, structure = jax.tree.flatten(u)
    m = list(m)
    for k, (shift, j) in enumerate(zip(shifts, added_to, strict=True)):
        if j is not None:
            us[j], m[k] = us[j] + m[k], jnp.zeros_like(m[k])
        elif shift is not None:
            m[k] = _shifted(m[k], shift)
    return jax.tree.unflatten(structure, us), m


@jax.custom_jvp
def _shifted(m: jax.Array, shift: jax.Array) -> jax.Array:
    """`m + shift` where the shift is zero, and need not be read; it is there for its derivative."""
    del shift
    return m


@_shifted.defjvp
def _shifted_along(primals: Any, tangents: Any) -> Any:
    return primals[0], tangents[0] + tangents[1]
