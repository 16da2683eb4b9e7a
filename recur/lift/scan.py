"""The default way to run a cell: `jax.lax.scan`, with all products it can spare taken out."""

from __future__ import annotations

import jax

from recur.checks import check_cell
from recur.combine.stack import Stack
from recur.keys import split_each
from recur.lift.chain import chain
from recur.lift.gated import run_gated
from recur.lift.mask import guard
from recur.lift.over_time import Run, over_time
from recur.types import AnyCell, GatedCell, Layer


def scan(cell: AnyCell, *, reverse: bool = False, unroll: int = 1) -> Layer:
    """Runs a cell over time in one compiled loop.

        carry_t, y_t = step(bound, carry_{t-1}, x_t)    for t = 1 ... T

    Of a `GatedCell` only what depends on the carry stays in the loop: `project` is mapped over all
    steps before it, as one product, and `read` after it; so is the gradient of the kernels. A stack
    runs layer by layer, so that this holds for each of its cells.

    Args:
      cell: any cell.
      reverse: whether to read from the last step to the first; outputs stay aligned with inputs.
      unroll: how many steps one turn of the compiled loop takes.

    Returns:
      A `Layer` with the cell's params and carry.

    Raises:
      TypeError: when `cell` is not a cell, or while tracing, when a `GatedCell`'s gates are not
        elementwise.
      ValueError: when unroll is below 1.

    Example:
      >>> import jax, jax.numpy as jnp, recur
      >>> layer = recur.scan(recur.lstm(4))
      >>> xs = jnp.ones((5, 3))
      >>> params = layer.init(jax.random.key(0), xs)
      >>> layer(params, xs, length=2)[2:].any()
      Array(False, dtype=bool)
    """
    check_cell(cell, "scan")
    if unroll < 1:
        raise ValueError(f"scan: expected unroll of at least 1, got {unroll}.")
    if isinstance(cell, Stack):
        return chain(*(scan(each, reverse=reverse, unroll=unroll) for each in cell.cells))
    if isinstance(cell, GatedCell):
        return over_time(cell, _run_gated(cell, reverse, unroll), reverse=reverse)
    return over_time(cell, _run_plain(cell, reverse, unroll), reverse=reverse)


def _run_plain(cell: AnyCell, reverse: bool, unroll: int) -> Run:
    def run(bound, carry, fresh, steps, see):
        guarded = guard(lambda carry, x, key: cell.step(bound, carry, x, key), fresh, see)
        return jax.lax.scan(guarded, carry, steps, reverse=reverse, unroll=unroll)

    return run


def _run_gated(cell: GatedCell, reverse: bool, unroll: int) -> Run:
    def run(bound, carry, fresh, steps, see):
        xs = steps.x
        project_keys, read_keys = split_each(steps.key)
        us = jax.vmap(lambda x, key: cell.project(bound, x, key))(xs, project_keys)
        steps = steps._replace(x=us, key=None)
        options = {"reverse": reverse, "unroll": unroll}
        carry, seen, vs = run_gated(cell, bound, carry, fresh, steps, see, **options)
        ys = jax.vmap(lambda v, x, key: cell.read(bound, v, x, key))(vs, xs, read_keys)
        return carry, (seen, ys)

    return run
