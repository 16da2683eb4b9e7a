"""The loop of a `GatedCell`, and its derivative with the products of the kernels taken out.

The loop forms m_t = h_{t-1} W at every step. Left to itself, reverse mode would add dW up at every
step too, a second product there, and keep all that the gates computed on their way. But W reaches
the outputs through m alone. So the derivative along a change dW of a kernel is the derivative along

    dm_t = h_{t-1} dW    for all steps at once.

Where m is only ever added to an input u, as in most gates, it is that along du_t = dm_t, and the
loop is the same; elsewhere the loop takes a shift of m. Transposed, this is one product too,
dW = sum_t h_{t-1}ᵀ dm_t. The gates are computed again on the way back, from what they were given.
It is a rule of forward mode, from which JAX derives reverse mode and all higher derivatives.

Many rows stand side by side, features first: [H, B]. Then Wᵀ is the left factor of the product, the
one that is read as it lies in memory, and only the small h is rearranged; in h W, with rows first,
it is the kernels that a CPU's product rearranges in each step.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp

from recur.lift.elementwise import check_elementwise, jaxpr_of_gates, only_added
from recur.lift.mask import Steps, guard
from recur.lift.over_time import step_of, vary_over
from recur.lift.products import multiplier, stand_side_by_side
from recur.lift.rows import by_rows
from recur.sequences.lengths import step_count
from recur.types import Bound, Carry, GatedCell, product

_SMALL = 2**19  # bytes: with rows first, a loop is faster up to this size


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

    def run(lanes, kernels, us, *rest):
        return _run(lanes, kernels, us, rest, see, added_to, options)

    def one(kernels, us, bound, carry, fresh, marks):
        return run(_one_row(cell), kernels, us, bound, carry, fresh, marks)

    def many(size, has_rows, kernels, us, bound, *others):
        kernels_have, us_have, bound_has, *others_have = has_rows
        if any(jax.tree.leaves(kernels_have)) or _are_small(kernels):
            axes = _axes_of(tuple(has_rows))
            return jax.vmap(one, in_axes=axes, out_axes=-1)(kernels, us, bound, *others)
        us, *others = _with_rows(size, [us_have, *others_have], [us, *others])
        return run(_many_rows(cell, _axes_of(bound_has)), kernels, us, bound, *others)

    return by_rows(one, many)(cell.kernels(bound), us, bound, carry, fresh, marks)


class _Lanes(NamedTuple):
    """The parts of a step, for one row or for many rows side by side."""

    hidden: Callable[[Bound, Carry], jax.Array]
    gates: Callable[..., tuple[Carry, Any]]
    multiplier: Callable[[Sequence[jax.Array]], Callable]  # kernels -> (h -> ms)


def _run(
    lanes: _Lanes,
    kernels: Any,
    us: Any,
    rest: tuple[Bound, Carry, Carry, Steps],
    see: Callable[[Carry], Any],
    added_to: Sequence[int | None],
    options: dict[str, Any],
) -> tuple[Carry, Any, Any]:
    """The loop, and the rule of its derivative."""
    kernels, kernel_structure = jax.tree.flatten(kernels)
    values, structure = jax.tree.flatten((us, rest))
    is_real = [jnp.issubdtype(jnp.result_type(value), jnp.inexact) for value in values]
    gates = jax.checkpoint(lanes.gates, prevent_cse=False)  # within a loop nothing is merged

    def join(real, others):
        pairs = zip(real, others, strict=True)
        return jax.tree.unflatten(structure, [b if a is None else a for a, b in pairs])

    def loop(kernels, real, others, shifts, keep):
        """What the loop gives, and what it keeps of each h; shifts are added to m."""
        us, (bound, carry, fresh, marks) = join(real, others)
        multiply = lanes.multiplier(kernels)

        def advance(carry, step, key):
            del key
            u, shift = step
            h = lanes.hidden(bound, carry)
            u, m = _meet(u, multiply(h), shift, added_to)
            carry, v = gates(bound, carry, u, jax.tree.unflatten(kernel_structure, m))
            return carry, (v, keep(h))

        steps = marks._replace(x=(us, shifts))
        carry, (seen, (vs, hs)) = jax.lax.scan(guard(advance, fresh, see), carry, steps, **options)
        return (carry, seen, vs), hs

    @jax.custom_jvp
    def run(kernels, real, others):
        return loop(kernels, real, others, [None] * len(kernels), keep=lambda h: ())[0]

    @run.defjvp
    def derivative(primals, tangents):
        kernels, real, others = primals
        d_kernels, d_real, _ = tangents
        outputs, along, hs = jax.linearize(
            lambda real, shifts: loop(kernels, real, others, shifts, keep=lambda h: h),
            real,
            vary_over(primals, no_shifts(*primals)),
            has_aux=True,
        )
        d_real, d_shifts = list(d_real), [None] * len(kernels)
        for k, (d_kernel, u) in enumerate(zip(d_kernels, added_to, strict=True)):
            [d_m] = jax.vmap(lanes.multiplier([d_kernel]))(hs)
            if u is None:
                d_shifts[k] = d_m
            else:
                d_real[u] += d_m  # the inputs u stand in front
        return outputs, along(d_real, d_shifts)

    def no_shifts(kernels, real, others):
        """Zeros for each m of each step that is not only added to a u."""
        us, (bound, carry, _, _) = join(real, others)
        ms = jax.eval_shape(lambda: lanes.multiplier(kernels)(lanes.hidden(bound, carry)))
        return [
            jnp.zeros((step_count(us), *m.shape), m.dtype) if u is None else None
            for m, u in zip(ms, added_to, strict=True)
        ]

    real = [value if flag else None for value, flag in zip(values, is_real, strict=True)]
    others = [None if flag else value for value, flag in zip(values, is_real, strict=True)]
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


def _one_row(cell: GatedCell) -> _Lanes:
    """One row: m = h W, as one product for kernels of one height."""

    def multiplier(kernels):
        if not stand_side_by_side(kernels):
            return lambda h: [product(h, kernel) for kernel in kernels]
        wide = jnp.concatenate(kernels, axis=1)
        return lambda h: jax.lax.split(h @ wide, [kernel.shape[1] for kernel in kernels])

    return _Lanes(cell.hidden, cell.gates, multiplier)


def _many_rows(cell: GatedCell, bound_axes: Any) -> _Lanes:
    """Rows side by side, features first: m = Wᵀ h for h `[H, B]`."""

    def over_rows(function):
        def mapped(bound, *given):
            in_axes = (bound_axes, *[-1] * len(given))
            return jax.vmap(function, in_axes=in_axes, out_axes=-1)(bound, *given)

        return mapped

    return _Lanes(over_rows(cell.hidden), over_rows(cell.gates), multiplier)


def _are_small(kernels: Any) -> bool:
    """Whether they lie in a core's own cache, where it does not matter how often they are read."""
    return sum(kernel.nbytes for kernel in jax.tree.leaves(kernels)) <= _SMALL


def _axes_of(has_rows: Any) -> Any:
    return jax.tree.map(lambda flag: -1 if flag else None, has_rows)


def _with_rows(size: int, has_rows: Any, tree: Any) -> Any:
    """The tree, with a row axis behind where there was none."""

    def give(flag, leaf):
        return leaf if flag else jnp.broadcast_to(leaf[..., None], (*leaf.shape, size))

    return jax.tree.map(give, has_rows, tree)
