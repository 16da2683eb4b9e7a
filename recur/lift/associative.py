"""Parallel scan of a recurrence that is linear in its carry.

One step is an affine map of the carry, c -> a c + b. The composition of two is again affine:

    a_2 (a_1 c + b_1) + b_2 = (a_2 a_1) c + (a_2 b_1 + b_2)

So the composition of (a_1, b_1) and (a_2, b_2) is (a_2 a_1, a_2 b_1 + b_2). It is associative, so
all T prefixes are computed in O(log T) rounds. The carry before the first step is added to the b of
that step, and the initial carry to the b of a reset. Steps before a reset are discarded by a
select: a product with zero would keep NaN.

Logarithms of nonnegative numbers can be composed too, with + for the product and logaddexp for the
sum. There log 0 is -inf, which has no derivative, so the derivative is that of the recurrence,

    dh_t = a_t dh_{t-1} + (da_t h_{t-1} + db_t),

which is linear in dh and runs in parallel without logarithms.
"""

from __future__ import annotations

import functools
from collections.abc import Callable
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp

from recur.call_repr import call_repr
from recur.checks import check_cell, check_flag
from recur.combine.stack import Stack
from recur.layer import Layer
from recur.lift.chain import chain
from recur.lift.mask import Steps, masked_step, select
from recur.lift.over_time import Run, over_time, read_all, step_of
from recur.lift.prefix import compose_prefixes
from recur.manual_axes import placed_like
from recur.masks import step_count
from recur.structure import Parts, find_structure, linear_coefficients
from recur.types import Carry, Cell


@call_repr
def associative(cell: Cell, *, reverse: bool = False, log_space: bool = False) -> Layer:
    """Runs a cell that is linear in its carry over all steps in parallel (parallel scan).

        carry_t = a_t ⊙ carry_{t-1} + b_t    for t = 1 ... T, in O(log T) rounds

    a and b are derived from the step of the cell. A parallel scan does about twice the work of
    `scan`, so use it for long sequences on parallel hardware such as a GPU. The carry may be real
    or complex. A stack runs layer by layer.

    In log space it computes `log h_t = logaddexp(log a_t + log h_{t-1}, log b_t)`, as in the papers
    of minGRU and minLSTM. There the product of many a cannot overflow. If a ≤ 1 the plain form is
    stable too, and many times faster: it needs no exp and no log for each sum. Measured in float32
    over 10,000 steps against a loop in float64: with a memory of 1,000 steps or more, the relative
    error was 1e-6 in log space and 1e-5 in the plain form. With fast decay it was 3e-7 in both, but
    1e-5 in log space if b was mostly zero or spanned many orders of magnitude.

    Args:
      cell: a cell whose carry passes only through sums, products with values that do not depend on
        it, selects, casts and reshapes; or a stack of such cells.
      reverse: whether to read from the last step to the first; outputs stay aligned with inputs.
      log_space: whether to compose logarithms. All a, b and carries must then be real and
        nonnegative: a negative number gives NaN.

    Returns:
      A `Layer` with the cell's params and carry.

    Raises:
      TypeError: if `cell` is not a cell, or an option is not a bool; when tracing, if the step is
        not linear in its carry (the message names the primitive), or is complex in log space.

    Example:
      >>> import jax, jax.numpy as jnp, recur
      >>> layer = recur.associative(recur.leaky_integrator())
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
    reverse = check_flag("associative: reverse", reverse)
    log_space = check_flag("associative: log_space", log_space)
    if isinstance(cell, Stack):
        options = {"reverse": reverse, "log_space": log_space}
        return chain(*(associative(each, **options) for each in cell.cells))
    return over_time(cell, _run(cell, reverse, log_space), reverse=reverse)


class _Maps(NamedTuple):
    """The map c -> a c + b of each step, and flags of the steps where a segment starts."""

    a: Carry
    b: Carry
    resets: jax.Array | None


class _Arithmetic(NamedTuple):
    """The operations that compose two maps: sum, product and zero, plain or in log space."""

    zero: float
    times: Callable[[jax.Array, jax.Array], jax.Array]
    plus: Callable[[jax.Array, jax.Array], jax.Array]


_PLAIN = _Arithmetic(0.0, jnp.multiply, jnp.add)
_LOGARITHMS = _Arithmetic(-jnp.inf, jnp.add, jnp.logaddexp)


def _run(cell: Cell, reverse: bool, log_space: bool) -> Run:
    def run(bound, carry, initial_carry, steps, all_carries):
        count = step_count(steps.x)
        one = step_of((steps.x, steps.key))
        parts = Parts(find_structure(cell.step, bound, carry, *one), bound)

        def prepare(x, key):
            prepared = parts.prepare(x, key)
            return prepared, linear_coefficients(parts, prepared.inside, "associative")

        prepared, coefficients = jax.vmap(prepare)(steps.x, steps.key)
        structure = jax.tree.structure(carry)
        a, b = (jax.tree.unflatten(structure, leaves) for leaves in coefficients)
        xs, steps = steps.x, steps._replace(x=prepared.inside, key=None)
        if log_space:
            _check_real((a, b, carry))
        maps = _masked(a, b, carry, initial_carry, steps, count, reverse)
        carries = _by_logarithms(maps, reverse) if log_space else _composed(_PLAIN, maps, reverse)
        before = jax.tree.map(lambda c, cs: _before(c, cs, reverse), carry, carries)
        step = masked_step(lambda c, u, key: parts.advance(c, u), initial_carry)
        _, (_, crossing) = jax.vmap(step)(before, steps)
        ys = read_all(parts, xs, crossing, prepared.after)
        if count != 0:
            carry = jax.tree.map(lambda leaf: leaf[0 if reverse else -1], carries)
        return carry, (carries if all_carries else (), ys)

    return run


def _before(first: jax.Array, carries: jax.Array, reverse: bool) -> jax.Array:
    """The carry before each step, in reading order."""
    first = placed_like(carries[:1], jnp.asarray(first)[None])
    joined = [carries[1:], first] if reverse else [first, carries[:-1]]
    return jnp.concatenate(joined)[: carries.shape[0]]


def _check_real(numbers: Any) -> None:
    for leaf in jax.tree.leaves(numbers):
        if jnp.iscomplexobj(leaf):
            raise TypeError(
                "associative: log_space expects real, nonnegative coefficients and carries, got "
                f"{leaf.dtype}. Use log_space=False for complex numbers."
            )


def _masked(
    a: Carry, b: Carry, carry: Carry, initial_carry: Carry, steps: Steps, count: int, reverse: bool
) -> _Maps:
    """Returns the maps with the first carry, resets and mask applied."""
    if steps.valid is not None:
        stay = jax.tree.map(jnp.ones_like, a), jax.tree.map(jnp.zeros_like, b)
        stay = placed_like((a, b), stay)
        a, b = _select_each(steps.valid, (a, b), stay)
    is_first = jnp.arange(count) == (count - 1 if reverse else 0)
    nothing = jax.tree.map(jnp.zeros_like, carry)
    before = jax.vmap(lambda flag: select(flag, carry, nothing))(is_first)
    if steps.reset is not None:
        before = jax.vmap(lambda flag, c: select(flag, initial_carry, c))(steps.reset, before)
    b = jax.tree.map(lambda a, c, b: a * c + b, a, before, b)
    return _Maps(a, b, steps.reset)


def _composed(arithmetic: _Arithmetic, maps: _Maps, reverse: bool) -> Carry:
    """Returns the carry after each step: the b of the composition of all maps up to it."""
    compose = functools.partial(_compose, arithmetic)
    return compose_prefixes(compose, maps, reverse=reverse).b


def _compose(arithmetic: _Arithmetic, first: _Maps, second: _Maps) -> _Maps:
    """Returns the map that applies `first`, then `second`."""
    zero, times, plus = arithmetic
    resets = None
    if first.resets is not None and second.resets is not None:
        nothing = jax.tree.map(lambda leaf: jnp.full_like(leaf, zero), (first.a, first.b))
        a, b = _select_each(second.resets, nothing, (first.a, first.b))
        resets = jnp.logical_or(first.resets, second.resets)
        first = first._replace(a=a, b=b)
    a = jax.tree.map(times, second.a, first.a)
    b = jax.tree.map(lambda a, c, b: plus(times(a, c), b), second.a, first.b, second.b)
    return _Maps(a, b, resets)


@functools.partial(jax.custom_jvp, nondiff_argnums=(1,))
def _by_logarithms(maps: _Maps, reverse: bool) -> Carry:
    """Computes `_composed` with logarithms."""
    a, b = jax.tree.map(jnp.log, (maps.a, maps.b))
    return jax.tree.map(jnp.exp, _composed(_LOGARITHMS, _Maps(a, b, maps.resets), reverse))


@_by_logarithms.defjvp
def _along(reverse: bool, primals: Any, tangents: Any) -> tuple[Carry, Carry]:
    """`dh_t = a_t dh_{t-1} + (da_t h_{t-1} + db_t)`."""
    (maps,), (change,) = primals, tangents
    hs = _by_logarithms(maps, reverse)
    before = jax.tree.map(functools.partial(_one_before, reverse=reverse), hs)
    if maps.resets is not None:
        before = _select_each(maps.resets, jax.tree.map(jnp.zeros_like, before), before)
    b = jax.tree.map(lambda da, h, db: da * h + db, change.a, before, change.b)
    return hs, _composed(_PLAIN, maps._replace(b=b), reverse)


def _one_before(hs: jax.Array, reverse: bool) -> jax.Array:
    """Returns the carry before each step; zero before the first, whose b includes it."""
    nothing = jnp.zeros_like(hs[:1])
    return jnp.concatenate([hs[1:], nothing] if reverse else [nothing, hs[:-1]])


def _select_each(flags: jax.Array, on_true: Any, on_false: Any) -> Any:
    """Selects between two pytrees at each step by a boolean."""
    return jax.vmap(select)(flags, on_true, on_false)
