"""A loop in chunks of steps, if no derivative is taken.

Values computed before a loop are stored for all steps, and the loop reads them one step at a time.
If they exceed the cache, this costs more than the products before the loop save. In chunks of steps
they stay in the cache, and memory does not grow with T. A derivative needs them for all steps in
any case, so the derivative is that of the whole loop.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import jax
from jax.custom_derivatives import SymbolicZero

from recur.lift.mask import Steps
from recur.masks import is_known
from recur.partition_inexact import partition_inexact
from recur.structure import Parts, has_custom_vjp_or_control_flow
from recur.types import Carry

ROWS = "recur.rows"  # the name of the batch axis of `recur.batch`
_MAX_BYTES = 2**23  # of a chunk; the fastest of 2^21 to 2^25, with caches of 1 and 32 MiB
_MIN_STEPS = 8  # of a chunk

Run = Callable[[Parts, Carry, Carry, Steps], tuple[Carry, Any]]


def chunk_size(parts: Parts, count: int) -> int | None:
    """Returns the number of steps of a chunk, which divides T; None if chunks do not help."""
    equations = parts.found.traced.jaxpr.eqns
    if not is_known(count) or has_custom_vjp_or_control_flow(equations):  # forward mode is needed
        return None
    most = _MAX_BYTES // max(parts.bytes_per_step() * _row_count(), 1)
    if count <= most:
        return None
    sizes = range(max(most, _MIN_STEPS), max(most // 4, _MIN_STEPS) - 1, -1)
    return next((size for size in sizes if count % size == 0), None)


def run_in_chunks(run: Run, size: int, reverse: bool) -> Run:
    """Makes a `run(parts, carry, initial_carry, steps)` that runs `size` steps at a time."""

    def advance(parts, *arguments):
        without = parts.without_values()

        def whole(values, *arguments):
            carry, found = run(without.with_values(values), *arguments)
            # As below: `vmap` needs the same batch axes in a function and its derivative rule.
            return carry, _join(_cut(found, size))

        def chunked(values, carry, initial_carry, steps):
            def turn(carry, chunk):
                return run(without.with_values(values), carry, initial_carry, chunk)

            carry, found = jax.lax.scan(turn, carry, _cut(steps, size), reverse=reverse)
            return carry, _join(found)

        return _with_derivative_of(whole, chunked)(parts.values, *arguments)

    return advance


def _cut(of_steps: Any, size: int) -> Any:
    """Reshapes `[T, ...]` to `[T / size, size, ...]`."""
    return jax.tree.map(lambda leaf: leaf.reshape(-1, size, *leaf.shape[1:]), of_steps)


def _join(chunks: Any) -> Any:
    """Reshapes `[T / size, size, ...]` to `[T, ...]`."""
    return jax.tree.map(lambda leaf: leaf.reshape(-1, *leaf.shape[2:]), chunks)


def _with_derivative_of(run: Callable, forward: Callable) -> Callable:
    """Returns `forward` with the derivative of `run`, with respect to nonzero tangents only."""

    def either(*arguments):
        inexact, rest, join = partition_inexact(arguments)

        @jax.custom_jvp
        def apply(inexact, rest):
            return forward(*join(inexact, rest))

        def derivative(primals, tangents):
            inexact, rest = primals
            moves = [d is not None and not isinstance(d, SymbolicZero) for d in tangents[0]]

            def along(*moving):
                given = iter(moving)
                pairs = zip(inexact, moves, strict=True)
                return run(*join([next(given) if m else leaf for leaf, m in pairs], rest))

            moving, changes = (
                [leaf for leaf, m in zip(leaves, moves, strict=True) if m]
                for leaves in (inexact, tangents[0])
            )
            return jax.jvp(along, moving, changes)

        apply.defjvp(derivative, symbolic_zeros=True)
        return apply(inexact, rest)

    return either


def _row_count() -> int:
    try:
        return jax.lax.axis_size(ROWS)
    except NameError:
        return 1
