"""A recurrence that is linear in its carry, all steps at once, by an associative scan.

One step is a map of carries, c -> a c + b. One such map after another is again one:

    a_2 (a_1 c + b_1) + b_2 = (a_2 a_1) c + (a_2 b_1 + b_2)

so (a_1, b_1) then (a_2, b_2) is (a_2 a_1, a_2 b_1 + b_2), and this "then" is associative: all T
prefixes are found in O(log T) rounds. The first step has a carry before it, and so has one that
starts afresh, which goes into its b. What was before a reset is selected away: a product with zero
would not do, for it may be no number.
"""

from __future__ import annotations

from typing import Any, NamedTuple

import jax
import jax.numpy as jnp

from recur.checks import check_cell
from recur.combine.stack import Stack
from recur.keys import split_each
from recur.lift.chain import chain
from recur.lift.mask import Steps, select
from recur.lift.over_time import Run, over_time
from recur.sequences.lengths import step_count
from recur.types import AffineCell, AnyCell, Carry, Layer


def associative(cell: AnyCell, *, reverse: bool = False) -> Layer:
    """Runs a cell that is linear in its carry over all steps in parallel.

        carry_t = a_t ⊙ carry_{t-1} + b_t    for t = 1 ... T, in O(log T) rounds

    It does about twice the work of `scan`, so it pays where many units work at once, as on a GPU,
    and for long sequences. Real and complex carries. A stack runs layer by layer.

    Args:
      cell: an `AffineCell`, or a stack of them.
      reverse: whether to read from the last step to the first; outputs stay aligned with inputs.

    Returns:
      A `Layer` with the cell's params and carry.

    Raises:
      TypeError: when `cell` is not linear in its carry, as it tells itself; or is not a cell.

    Example:
      >>> import jax, jax.numpy as jnp, recur
      >>> layer = recur.associative(recur.leaky())
      >>> xs = jnp.ones((1000, 3))
      >>> layer(layer.init(jax.random.key(0), xs), xs, length=2)[2:].any()
      Array(False, dtype=bool)

    References:
      Blelloch 1990, Prefix Sums and Their Applications,
      https://www.cs.cmu.edu/~guyb/papers/Ble93.pdf
      Martin & Cundy 2018, Parallelizing Linear Recurrent Neural Nets Over Sequence Length,
      https://arxiv.org/abs/1709.04057
    """
    check_cell(cell, "associative")
    if isinstance(cell, Stack):
        return chain(*(associative(each, reverse=reverse) for each in cell.cells))
    if not isinstance(cell, AffineCell):
        raise TypeError(
            "associative: expected a cell that is linear in its carry, an AffineCell, got a "
            f"{type(cell).__name__}. recur.scan, recur.loop and, in parallel, recur.newton run "
            "any cell."
        )
    return over_time(cell, _run(cell, reverse), reverse=reverse)


class _Maps(NamedTuple):
    """A map c -> a c + b for each step, and whether it is blind to the steps before it."""

    a: Carry
    b: Carry
    blind: jax.Array | None


def _run(cell: AffineCell, reverse: bool) -> Run:
    def run(bound, carry, fresh, steps, see):
        coefficient_keys, read_keys = split_each(steps.key)
        a, b = jax.vmap(lambda x, key: cell.coefficients(bound, x, key))(steps.x, coefficient_keys)
        maps = _guarded(a, b, carry, fresh, steps, -1 if reverse else 0)
        carries = jax.lax.associative_scan(_then, maps, reverse=reverse).b
        ys = jax.vmap(lambda c, x, key: cell.read(bound, c, x, key))(carries, steps.x, read_keys)
        if step_count(steps.x):
            carry = jax.tree.map(lambda leaf: leaf[0 if reverse else -1], carries)
        return carry, (jax.vmap(see)(carries), ys)

    return run


def _guarded(a: Carry, b: Carry, carry: Carry, fresh: Carry, steps: Steps, first: int) -> _Maps:
    """The maps with the carry to start from, resets and validity in them."""
    if steps.valid is not None:
        stay = jax.tree.map(jnp.ones_like, a), jax.tree.map(jnp.zeros_like, b)
        a, b = _select_each(steps.valid, (a, b), stay)
    is_first = jnp.zeros(step_count(steps.x), bool)
    is_first = is_first.at[first].set(True) if len(is_first) else is_first
    nothing = jax.tree.map(jnp.zeros_like, carry)
    before = jax.vmap(lambda flag: select(flag, carry, nothing))(is_first)
    if steps.reset is not None:
        before = jax.vmap(lambda flag, c: select(flag, fresh, c))(steps.reset, before)
    b = jax.tree.map(lambda a, c, b: a * c + b, a, before, b)
    return _Maps(a, b, steps.reset)


def _then(first: _Maps, second: _Maps) -> _Maps:
    """The map that is one after the other."""
    blind = None
    if first.blind is not None and second.blind is not None:
        nothing = jax.tree.map(jnp.zeros_like, first)
        a, b = _select_each(second.blind, (nothing.a, nothing.b), (first.a, first.b))
        blind = jnp.logical_or(first.blind, second.blind)
        first = first._replace(a=a, b=b)
    a = jax.tree.map(jnp.multiply, second.a, first.a)
    b = jax.tree.map(lambda a, c, b: a * c + b, second.a, first.b, second.b)
    return _Maps(a, b, blind)


def _select_each(flags: jax.Array, on_true: Any, on_false: Any) -> Any:
    """One pytree or the other for each step, by its flag."""
    return jax.vmap(select)(flags, on_true, on_false)
