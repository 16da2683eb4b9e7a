"""Zoneout: units that keep what they were, for a step."""

from __future__ import annotations

from typing import Any, NamedTuple

import jax
import jax.numpy as jnp

from recur.checks import check_cell, check_rate, describe
from recur.combine.structure import with_structure
from recur.keys import split, split_like
from recur.types import AffineCell, AnyCell, Carry, Cell, GatedCell

Kept = Any  # a pytree like the carry, of bool arrays: which units keep what they were; or of None


class Zoned(NamedTuple):
    """What the input contributes to a step, and which units keep what they were before it."""

    u: Any
    kept: Kept


def zoneout(cell: AnyCell, rate: Any) -> AnyCell:
    """Lets units keep what they were, each for a step at a time.

        new_t, v_t = step(carry_{t-1}, x_t)
        carry_t = z_t ⊙ carry_{t-1} + (1 - z_t) ⊙ new_t    z_t ~ bernoulli(p), afresh at each step
        y_t = v_t, but carry_t's part where v_t is a part of new_t, as h_t is of an LSTM

    (A part is known by being the same array, which `jax.jit` around the step of a cell would hide.)
    Without a key z_t is its mean p: the state then is what is expected of it, and not that of the
    cell alone. Parts of a carry that have a meaning only together, as those of `slstm`, want a rate
    of 0 each: give rates by part. Parts that are no floating-point numbers, as counts, are always
    new. The structure of a `GatedCell` or an `AffineCell` survives.

    Args:
      cell: the cell; of a stack, wrap each of its cells. Maps of a plain cell's outputs go around
        it: `residual(zoneout(cell, rate))`.
      rate: p, a number or a pytree of them like the carry: `LSTMState(hidden=0.05, cell=0.5)`.

    Returns:
      A cell of the same kind (a plain `Cell` for a stack), with the cell's own params and carry;
      the cell itself when all rates are 0.

    Raises:
      TypeError: when `cell` is not a cell.
      ValueError: when a rate is not in [0, 1), or while tracing, when rates are not like the carry.

    Example:
      >>> import jax, jax.numpy as jnp, recur
      >>> rate = recur.cells.LSTMState(hidden=0.05, cell=0.5)
      >>> layer = recur.scan(recur.zoneout(recur.lstm(8), rate))
      >>> xs = jnp.ones((5, 3))
      >>> params = layer.init(jax.random.key(0), xs)
      >>> carries, ys = layer.trajectory(params, xs, key=jax.random.key(1))
      >>> bool((carries.cell[1:] == carries.cell[:-1]).any()), bool((ys == carries.hidden).all())
      (True, True)

    References:
      Krueger et al. 2017, Zoneout: Regularizing RNNs by Randomly Preserving Hidden Activations,
      https://arxiv.org/abs/1606.01305
    """
    check_cell(cell, "zoneout")
    rate = jax.tree_util.tree_map_with_path(
        lambda path, p: check_rate("zoneout", "rate" + jax.tree_util.keystr(path), p),
        rate,
        is_leaf=lambda leaf: leaf is None,
    )
    if not any(jax.tree.leaves(rate)):
        return cell
    cell = with_structure(cell)
    if isinstance(cell, GatedCell):
        return _zone_gated(cell, rate)
    if isinstance(cell, AffineCell):
        return _zone_affine(cell, rate)
    return _zone_plain(cell, rate)


def _zone_gated(cell: GatedCell, rate: Any) -> GatedCell:
    """What is kept is drawn for all steps before the loop, and rides in u."""

    def project(bound, x, key=None):
        kept_key, cell_key = split(key, 2)
        kept = _draw(rate, kept_key, jax.eval_shape(cell.start, bound, x))
        return Zoned(cell.project(bound, x, cell_key), kept)

    def gates(bound, carry, u, m):
        new, v = cell.gates(bound, carry, u.u, m)
        return _zoned(rate, u.kept, carry, new, v)

    return cell._replace(project=project, gates=gates)


def _zone_affine(cell: AffineCell, rate: Any) -> AffineCell:
    """What is linear in the carry stays so, and the output is read off the carry as it is."""

    def coefficients(bound, x, key=None):
        kept_key, cell_key = split(key, 2)
        a, b = cell.coefficients(bound, x, cell_key)
        kept = _draw(rate, kept_key, b)
        ones, zeros = jax.tree.map(jnp.ones_like, a), jax.tree.map(jnp.zeros_like, b)
        return _mix(rate, kept, ones, a), _mix(rate, kept, zeros, b)

    return cell._replace(coefficients=coefficients)


def _zone_plain(cell: Cell, rate: Any) -> Cell:
    def step(bound, carry, x, key=None):
        kept_key, cell_key = split(key, 2)
        new, v = cell.step(bound, carry, x, cell_key)
        return _zoned(rate, _draw(rate, kept_key, carry), carry, new, v)

    return cell._replace(step=step)


def _zoned(rate: Any, kept: Kept, old: Carry, new: Carry, v: Any) -> tuple[Carry, Any]:
    """The carry, with some of its units kept, and the output, where it is a part of it that one."""
    carry = _mix(rate, kept, old, new)
    parts = list(zip(jax.tree.leaves(new), jax.tree.leaves(carry), strict=True))
    v = jax.tree.map(lambda leaf: next((zoned for part, zoned in parts if part is leaf), leaf), v)
    return carry, v


def _draw(rate: Any, key: jax.Array | None, carry: Carry) -> Kept:
    def draw(leaf, rate, key):
        return None if key is None or not rate else jax.random.bernoulli(key, rate, leaf.shape)

    return jax.tree.map(draw, carry, _rates_of(rate, carry), split_like(key, carry))


def _mix(rate: Any, kept: Kept, old: Carry, new: Carry) -> Carry:
    """`z ⊙ old + (1 - z) ⊙ new`, with z what is kept, or its mean where that was not drawn."""

    def mix(rate, kept, old, new):
        if not rate:
            return new
        return rate * old + (1 - rate) * new if kept is None else jnp.where(kept, old, new)

    return jax.tree.map(mix, _rates_of(rate, new), kept, old, new)


def _rates_of(rate: Any, carry: Carry) -> Any:
    """The rate of each part of a carry, 0 of those that are no floating-point numbers."""
    try:
        rates = jax.tree.broadcast(rate, carry)
    except ValueError as error:
        raise ValueError(
            f"zoneout: expected rate as one number or numbers like the carry, {describe(carry)}, "
            f"got {rate!r}."
        ) from error
    return jax.tree.map(
        lambda rate, leaf: rate if jnp.issubdtype(leaf.dtype, jnp.inexact) else 0.0, rates, carry
    )
