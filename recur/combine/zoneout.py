"""Zoneout: units that randomly keep their previous value."""

from __future__ import annotations

from typing import Any

import jax
import jax.numpy as jnp

from recur.call_repr import call_repr
from recur.checks import check_cell, check_rate, describe
from recur.keys import split, split_like
from recur.structure import on_next_carry
from recur.types import Carry, Cell


@call_repr
def zoneout(cell: Cell, rate: Any) -> Cell:
    """Randomly preserves units from the previous step (zoneout).

        new_t = step(carry_{t-1}, x_t)
        carry_t = z_t ⊙ carry_{t-1} + (1 - z_t) ⊙ new_t    z_t ~ bernoulli(p), at each step
        y_t = read(carry_t, x_t)

    `read` is the part of the step that computes the output from the next carry. It reads carry_t,
    so the output of an LSTM is the same h_t that the next step reads. Without a key, z_t is
    replaced by its mean p, so the state is the expected one.

    Parts of a carry that are meaningful only together, such as c, n and m of `slstm`, need a rate
    of 0: pass one rate for each part. Parts that are not floating-point, such as counts, are never
    preserved.

    Args:
      cell: the cell; wrap each cell of a stack.
      rate: p, a number or a pytree of numbers like the carry: `LSTMState(hidden=0.05, cell=0.5)`.

    Returns:
      A `Cell` with the params and the carry of `cell`; the cell itself when all rates are 0.

    Raises:
      TypeError: when `cell` is not a cell.
      ValueError: when a rate is not in [0, 1); while tracing, when the structure of the rates does
        not match the carry.

    Example:
      >>> import jax, jax.numpy as jnp, recur
      >>> rate = recur.cells.LSTMState(hidden=0.05, cell=0.5)
      >>> layer = recur.scan(recur.zoneout(recur.lstm(8), rate))
      >>> xs = jnp.ones((5, 3))
      >>> params = layer.init(jax.random.key(0), xs)
      >>> carries, ys = layer.run(params, xs, key=jax.random.key(1), all_carries=True)
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

    def step(bound, carry, x, key=None):
        zone_key, cell_key = split(key, 2)

        def zone(old, new):
            return jax.tree.map(_zoned, _rates_of(rate, old), split_like(zone_key, old), old, new)

        return on_next_carry(cell.step, zone)(bound, carry, x, cell_key)

    return Cell(cell.init, cell.bind, cell.init_carry, step)


def _zoned(rate: float, key: jax.Array | None, old: jax.Array, new: jax.Array) -> jax.Array:
    """Computes `z ⊙ old + (1 - z) ⊙ new`, with z drawn, or its mean without a key."""
    if not rate:
        return new
    if key is None:
        return rate * old + (1 - rate) * new
    return jnp.where(jax.random.bernoulli(key, rate, old.shape), old, new)


def _rates_of(rate: Any, carry: Carry) -> Any:
    """Returns the rate of each part of a carry; 0 for those that are not floating-point."""
    try:
        rates = jax.tree.broadcast(rate, carry)
    except ValueError as error:
        raise ValueError(
            "zoneout: expected rate as one number, or one for each part of the carry, "
            f"{describe(carry)}, got {rate!r}."
        ) from error
    return jax.tree.map(
        lambda rate, leaf: rate if jnp.issubdtype(leaf.dtype, jnp.inexact) else 0.0, rates, carry
    )
