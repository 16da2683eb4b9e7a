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
from recur.lift.over_time import step_of, vary_over
from recur.sequences.lengths import step_count
from recur.types import Bound, Carry, GatedCell, product


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
    us, marks = steps.x, steps._replace(x=None)
    u = step_of(us)
    traced = jaxpr_of_gates(cell, bound, carry, u)
    check_elementwise(traced)
    added_to = only_added(traced, carry, u)
    kernels, kernel_structure = jax.tree.flatten(cell.kernels(bound))
    values, structure = jax.tree.flatten((us, (bound, carry, fresh, marks)))
    is_real = [jnp.issubdtype(jnp.result_type(value), jnp.inexact) for value in values]
    ms = jax.tree.leaves(jax.eval_shape(cell.products, bound, carry))
    count = step_count(us)
    gates = jax.checkpoint(cell.gates, prevent_cse=False)  # within a loop nothing is merged

    def loop(kernels, real, rest, shifts, keep):
        """What the loop gives, and what it keeps of each h; shifts are added to m."""
        us, (bound, carry, fresh, marks) = jax.tree.unflatten(
            structure, [b if a is None else a for a, b in zip(real, rest, strict=True)]
        )
        multiply = _multiplier(kernels)

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

    @jax.custom_jvp
    def run(kernels, real, rest):
        return loop(kernels, real, rest, [None] * len(kernels), keep=lambda h: ())[0]

    @run.defjvp
    def derivative(primals, tangents):
        kernels, real, rest = primals
        d_kernels, d_real, _ = tangents
        shifts = [
            jnp.zeros((count, *m.shape), m.dtype) if u is None else None
            for m, u in zip(ms, added_to, strict=True)
        ]
        outputs, along, hs = jax.linearize(
            lambda real, shifts: loop(kernels, real, rest, shifts, keep=lambda h: h),
            real,
            vary_over(primals, shifts),
            has_aux=True,
        )
        d_real, d_shifts = list(d_real), list(shifts)
        for k, (d_kernel, u) in enumerate(zip(d_kernels, added_to, strict=True)):
            d_m = jax.vmap(product, (0, None))(hs, d_kernel)
            if u is None:
                d_shifts[k] = d_m
            else:
                d_real[u] += d_m  # the inputs u stand in front
        return outputs, along(d_real, d_shifts)

    real = [value if flag else None for value, flag in zip(values, is_real, strict=True)]
    rest = [None if flag else value for value, flag in zip(values, is_real, strict=True)]
    return run(kernels, real, rest)


def _multiplier(kernels: Sequence[jax.Array]) -> Callable[[jax.Array], Sequence[jax.Array]]:
    """`h -> [h @ W for W in kernels]`, as one product where they are of one height."""
    heights = {(kernel.ndim, kernel.shape[0], kernel.dtype) for kernel in kernels}
    if len(kernels) < 2 or len(heights) > 1 or kernels[0].ndim != 2:
        return lambda h: [product(h, kernel) for kernel in kernels]
    side_by_side = jnp.concatenate(kernels, axis=1)
    widths = [kernel.shape[1] for kernel in kernels]
    return lambda h: jax.lax.split(h @ side_by_side, widths)


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
            m[k] = m[k] + shift
    return jax.tree.unflatten(structure, us), m
