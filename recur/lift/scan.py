"""The default way to run a cell: `jax.lax.scan`, with all work that allows it outside the loop."""

from __future__ import annotations

import jax

from recur.call_repr import call_repr
from recur.checks import check_cell, check_flag, check_whole
from recur.combine.stack import Stack
from recur.layer import Layer
from recur.lift.chain import chain
from recur.lift.chunks import chunk_size, run_in_chunks
from recur.lift.over_time import over_time, read_all, step_of
from recur.lift.shifts import run_parts
from recur.masks import step_count
from recur.structure import Parts, find_structure
from recur.types import Cell


@call_repr
def scan(cell: Cell, *, reverse: bool = False, unroll: int = 1) -> Layer:
    """Runs a cell over time in one compiled loop (`jax.lax.scan`).

        carry_t, y_t = step(bound, carry_{t-1}, x_t)    for t = 1 ... T

    The step is traced once, and only what connects one carry to the next stays in the loop.
    Products of the input run before the loop and products for the output after it, for all steps at
    once. The gradients of all kernels are computed outside the loop too. `recur.structure_of`
    reports the products of a cell. A stack runs layer by layer.

    Args:
      cell: any cell.
      reverse: whether to read from the last step to the first; outputs stay aligned with inputs.
      unroll: the number of steps in one iteration of the compiled loop.

    Returns:
      A `Layer` with the cell's params and carry.

    Raises:
      TypeError: if `cell` is not a cell, or `reverse` is not a bool.
      ValueError: if unroll is not a whole number of at least 1; when tracing, if a step changes the
        structure, shapes or dtypes of the carry.

    Example:
      >>> import jax, jax.numpy as jnp, recur
      >>> layer = recur.scan(recur.lstm(4))
      >>> xs = jnp.ones((5, 3))
      >>> params = layer.init(jax.random.key(0), xs)
      >>> layer(params, xs, length=2)[2:].any()
      Array(False, dtype=bool)
    """
    check_cell(cell, "scan")
    reverse = check_flag("scan: reverse", reverse)
    unroll = check_whole("scan: unroll", unroll, 1)
    if isinstance(cell, Stack):
        return chain(*(scan(each, reverse=reverse, unroll=unroll) for each in cell.cells))

    def run(bound, carry, initial_carry, steps, all_carries):
        one = step_of((steps.x, steps.key))
        parts = Parts(find_structure(cell.step, bound, carry, *one), bound)

        def run_all(parts, carry, initial_carry, steps):
            prepared = jax.vmap(parts.prepare)(steps.x, steps.key)
            loop_steps = steps._replace(x=prepared.inside, key=None)
            options = {"length": step_count(steps.x), "reverse": reverse, "unroll": unroll}
            carry, carries, crossing = run_parts(
                parts, carry, initial_carry, loop_steps, all_carries, **options
            )
            return carry, (carries, read_all(parts, steps.x, crossing, prepared.after))

        size = chunk_size(parts, step_count(steps.x))
        advance = run_all if size is None else run_in_chunks(run_all, size, reverse)
        return advance(parts, carry, initial_carry, steps)

    return over_time(cell, run, reverse=reverse)
