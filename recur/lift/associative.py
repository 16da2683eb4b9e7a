"""A recurrence that is linear in its carry, all steps at once, by an associative scan.

One step is a map of carries, c -> a c + b. One such map after another is again one:

    a_2 (a_1 c + b_1) + b_2 = (a_2 a_1) c + (a_2 b_1 + b_2)

so (a_1, b_1) then (a_2, b_2) is (a_2 a_1, a_2 b_1 + b_2), and this "then" is associative: all T
prefixes are found in O(log T) rounds. The first step has a carry before it, and so has one that
starts afresh, which goes into its b. What was before a reset is selected away: a product with zero
would not do, for it may be no number.

Of positive numbers the logarithms can be composed as well, with + for the product and logaddexp
for the sum. Zero is -inf there, where no derivative is to be taken, so the derivative is that of
the recurrence itself,

    dh_t = a_t dh_{t-1} + (da_t h_{t-1} + db_t),

which is linear in dh and runs in parallel without logarithms.
"""

from __future__ import annotations

import functools
from collections.abc import Callable
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


def associative(cell: AnyCell, *, reverse: bool = False, log_space: bool = False) -> Layer:
    """Runs a cell that is linear in its carry over all steps in parallel.

        carry_t = a_t ⊙ carry_{t-1} + b_t    for t = 1 ... T, in O(log T) rounds

    It does about twice the work of `scan`, so it pays where many units work at once, as on a GPU,
    and for long sequences. Real and complex carries. A stack runs layer by layer.

    In log space it is `log h_t = logaddexp(log a_t + log h_{t-1}, log b_t)`, the form in which
    minGRU and minLSTM were published. Products of many a cannot overflow there. Where a ≤ 1 the
    plain form is stable too, and many times faster: it needs no exp and no logarithm for each sum.
    Measured in float32 over 10,000 steps, against a loop in float64: where a memory lasts for about
    1,000 steps or more, log space had relative errors of 1e-6 and the plain form of 1e-5; where it
    decays quickly, both had 3e-7, but log space 1e-5 where b is mostly zero or spans many orders
    of magnitude.

    Args:
      cell: an `AffineCell`, or a stack of them.
      reverse: whether to read from the last step to the first; outputs stay aligned with inputs.
      log_space: whether to compose logarithms. All a, b and carries must then be real and
        nonnegative: a negative number gives NaN.

    Returns:
      A `Layer` with the cell's params and carry.

    Raises:
      TypeError: when `cell` is not linear in its carry, as it tells itself; or is not a cell; or,
        while tracing, when it is complex in log space.

    Example:
      >>> import jax, jax.numpy as jnp, recur
      >>> layer = recur.associative(recur.leaky())
      >>> xs = jnp.ones((10, 3))
      >>> layer(layer.init(jax.random.key(0), xs), xs, length=2)[2:].any()
      Array(False, dtype=bool)

    References:
      Blelloch 1990, Prefix Sums and Their Applications,
      https://www.cs.cmu.edu/~guyb/papers/Ble93.pdf
      Martin & Cundy 2018, Parallelizing Linear Recurrent Neural Nets Over Sequence Length,
      https://arxiv.org/abs/1709.04057
      Heinsen 2023, Efficient Parallelization of a Ubiquitous Sequential Computation (log space),
      https://arxiv.org/abs/2311.06281
      Feng et al. 2024, Were RNNs All We Needed? (log space), https://arxiv.org/abs/2410.01201
    """
    check_cell(cell, "associative")
    if isinstance(cell, Stack):
        options = {"reverse": reverse, "log_space": log_space}
        return chain(*(associative(each, **options) for each in cell.cells))
    if not isinstance(cell, AffineCell):
        raise TypeError(
            "associative: expected a cell that is linear in its carry, an AffineCell, got a "
            f"{type(cell).__name__}. recur.scan, recur.loop and, in parallel, recur.newton run "
            "any cell."
        )
    return over_time(cell, _run(cell, reverse, log_space), reverse=reverse)


class _Maps(NamedTuple):
    """A map c -> a c + b for each step, and whether it is blind to the steps before it."""

    a: Carry
    b: Carry
    blind: jax.Array | None


class _Arithmetic(NamedTuple):
    """What maps are composed with."""

    zero: float
    times: Callable[[jax.Array, jax.Array], jax.Array]
    plus: Callable[[jax.Array, jax.Array], jax.Array]


_PLAIN = _Arithmetic(0.0, jnp.multiply, jnp.add)
_LOGARITHMS = _Arithmetic(-jnp.inf, jnp.add, jnp.logaddexp)


def _run(cell: AffineCell, reverse: bool, log_space: bool) -> Run:
    def run(bound, carry, fresh, steps, see):
        coefficient_keys, read_keys = split_each(steps.key)
        a, b = jax.vmap(lambda x, key: cell.coefficients(bound, x, key))(steps.x, coefficient_keys)
        if log_space:
            _check_real((a, b, carry))
        maps = _guarded(a, b, carry, fresh, steps, -1 if reverse else 0)
        carries = _by_logarithms(maps, reverse) if log_space else _composed(_PLAIN, maps, reverse)
        ys = jax.vmap(lambda c, x, key: cell.read(bound, c, x, key))(carries, steps.x, read_keys)
        if step_count(steps.x):
            carry = jax.tree.map(lambda leaf: leaf[0 if reverse else -1], carries)
        return carry, (jax.vmap(see)(carries), ys)

    return run


def _check_real(numbers: Any) -> None:
    for leaf in jax.tree.leaves(numbers):
        if jnp.iscomplexobj(leaf):
            raise TypeError(
                "associative: log_space takes real, nonnegative coefficients and carries, got "
                f"{leaf.dtype}. Without it, complex ones run too."
            )


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


def _composed(arithmetic: _Arithmetic, maps: _Maps, reverse: bool) -> Carry:
    """The carry after each step: b of all maps up to it, one after the other."""
    then = functools.partial(_then, arithmetic)
    return jax.lax.associative_scan(then, maps, reverse=reverse).b


def _then(arithmetic: _Arithmetic, first: _Maps, second: _Maps) -> _Maps:
    """The map that is one after the other."""
    zero, times, plus = arithmetic
    blind = None
    if first.blind is not None and second.blind is not None:
        nothing = jax.tree.map(lambda leaf: jnp.full_like(leaf, zero), (first.a, first.b))
        a, b = _select_each(second.blind, nothing, (first.a, first.b))
        blind = jnp.logical_or(first.blind, second.blind)
        first = first._replace(a=a, b=b)
    a = jax.tree.map(times, second.a, first.a)
    b = jax.tree.map(lambda a, c, b: plus(times(a, c), b), second.a, first.b, second.b)
    return _Maps(a, b, blind)


@functools.partial(jax.custom_jvp, nondiff_argnums=(1,))
def _by_logarithms(maps: _Maps, reverse: bool) -> Carry:
    """What `_composed` gives, by way of the logarithms."""
    a, b = jax.tree.map(jnp.log, (maps.a, maps.b))
    return jax.tree.map(jnp.exp, _composed(_LOGARITHMS, _Maps(a, b, maps.blind), reverse))


@_by_logarithms.defjvp
def _along(reverse: bool, primals: Any, tangents: Any) -> tuple[Carry, Carry]:
    """`dh_t = a_t dh_{t-1} + (da_t h_{t-1} + db_t)`."""
    (maps,), (change,) = primals, tangents
    hs = _by_logarithms(maps, reverse)
    before = jax.tree.map(functools.partial(_one_before, reverse=reverse), hs)
    if maps.blind is not None:
        before = _select_each(maps.blind, jax.tree.map(jnp.zeros_like, before), before)
    b = jax.tree.map(lambda da, h, db: da * h + db, change.a, before, change.b)
    return hs, _composed(_PLAIN, maps._replace(b=b), reverse)


def _one_before(hs: jax.Array, reverse: bool) -> jax.Array:
    """What each step starts from; the first one has it in its b."""
    nothing = jnp.zeros_like(hs[:1])
    return jnp.concatenate([hs[1:], nothing] if reverse else [nothing, hs[:-1]])


def _select_each(flags: jax.Array, on_true: Any, on_false: Any) -> Any:
    """One pytree or the other for each step, by its flag."""
    return jax.vmap(select)(flags, on_true, on_false)
