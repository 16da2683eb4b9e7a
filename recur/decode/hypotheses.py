"""The hypotheses of a beam: what lives, what has finished, and one step of both for one row."""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from recur.checks import check_whole
from recur.decode.generate import check_steps
from recur.decode.sample import constraint
from recur.dtypes import precise
from recur.types import Carry


class Beams(NamedTuple):
    """The best hypotheses found, the best first; where there are fewer than n, scores are -inf.

    Example:
      >>> import jax.numpy as jnp
      >>> from recur.decode import search
      >>> coin = jnp.log(jnp.array([0.25, 0.75]))
      >>> found = search(lambda carry, token: (carry, coin), (), coin, width=2, steps=1, best=2)
      >>> found.tokens.tolist(), found.length.tolist(), jnp.exp(found.score).tolist()
      ([[1], [0]], [1, 1], [0.75, 0.25])
    """

    tokens: jax.Array  # int32 [..., n, steps], 0 behind the end
    length: jax.Array  # int32 [..., n], the stop token not included
    score: jax.Array  # [..., n], nats, with the length penalty
    log_likelihood: jax.Array  # [..., n], nats, those of the stop token included


class Live(NamedTuple):
    """Hypotheses that go on, all of the same length."""

    tokens: jax.Array  # int32 [..., W, steps]
    log_likelihood: jax.Array  # [..., W], the highest first; -inf where there are fewer


class Row(NamedTuple):
    """What one turn hands to the next, of W hypotheses; of a batch, with an axis of rows before."""

    carry: Carry
    logits: jax.Array  # [..., W, V], of the token to come
    live: Live
    finished: Beams


class Rules(NamedTuple):
    """What does not change in a search."""

    width: int
    steps: int
    stop: int  # -1, which is no token, where nothing stops
    best: int
    constrained: Callable[[jax.Array, jax.Array], jax.Array]
    penalties: jax.Array  # [steps + 1], lp(n)


def make_rules(asker, logits, width, steps, stop, best, length_penalty, forbidden, least) -> Rules:
    """Checks the options of a search over tokens of `logits [..., V]`, told for `asker`."""
    check_steps(steps, least, asker)
    size = logits.shape[-1]
    if check_whole(f"{asker}: width", width, 1) > size:
        raise ValueError(
            f"{asker}: a beam of width {width} is wider than the vocabulary of {size} tokens. "
            f"Expected a width from 1 to {size}."
        )
    if check_whole(f"{asker}: best", best, 1) > width:
        raise ValueError(
            f"{asker}: expected best from 1 to the width of the beam, {width}, got {best}. A wider "
            "beam has more to return."
        )
    if not isinstance(length_penalty, jax.core.Tracer) and not np.isfinite(length_penalty):
        raise ValueError(f"{asker}: expected a finite length_penalty, got {length_penalty}.")
    lengths = jnp.arange(steps + 1).astype(precise(logits).dtype)
    penalties = ((5 + lengths) / 6) ** jnp.asarray(length_penalty, lengths.dtype)
    constrained = constraint(forbidden, stop, least, size, asker)
    return Rules(width, steps, -1 if stop is None else stop, best, constrained, penalties)


def begin(rules: Rules, carry: Carry, logits: jax.Array) -> Row:
    """Nothing has been said yet, by one of the hypotheses: the others are not there."""

    def repeat(leaf):
        return jnp.broadcast_to(leaf, (rules.width, *leaf.shape))

    none = jnp.full(rules.width, -jnp.inf, rules.penalties.dtype)
    tokens = jnp.zeros((rules.width, rules.steps), jnp.int32)
    finished = Beams(tokens, jnp.zeros(rules.width, jnp.int32), none, none)
    live = Live(tokens, none.at[0].set(0.0))
    return Row(jax.tree.map(repeat, carry), repeat(logits), live, finished)


def extend(rules: Rules, row: Row, position: jax.Array) -> tuple[Carry, jax.Array, Live, Beams]:
    """Goes on by one token: the carries to read the tokens with, what lives and what finished."""
    size, live = row.logits.shape[-1], row.live
    gains = rules.constrained(log_softmax(row.logits), position)
    before = live.log_likelihood[:, None]
    totals = jnp.where(before == -jnp.inf, -jnp.inf, before + gains)
    # Of each live one at most one extension ends: twice as many hold enough of those that do not.
    count = rules.width * min(2, size)
    totals, places = jax.lax.top_k(totals.ravel(), count)
    parents, tokens = places // size, places % size

    ends = tokens == rules.stop
    ended = jnp.where(ends & (jnp.arange(count) < rules.width), totals, -jnp.inf)
    lengths = jnp.full(count, position)
    found = Beams(live.tokens[parents], lengths, ended / rules.penalties[position + 1], ended)
    finished = _best_of(row.finished, found, rules.width)

    totals, kept = jax.lax.top_k(jnp.where(ends, -jnp.inf, totals), rules.width)
    parents, tokens = parents[kept], tokens[kept]
    written = live.tokens[parents].at[:, position].set(tokens)
    carry = jax.tree.map(lambda leaf: leaf[parents], row.carry)
    return carry, tokens, Live(written, totals), finished


def close(rules: Rules, row: Row, position: jax.Array) -> Beams:
    """The best of all; what lives when a loop ends early scores too low to be among them."""
    totals, lengths = row.live.log_likelihood, jnp.full(rules.width, position)
    standing = Beams(row.live.tokens, lengths, totals / rules.penalties[-1], totals)
    return _best_of(row.finished, standing, rules.best)


def _best_of(one: Beams, other: Beams, count: int) -> Beams:
    """The best of two pools; of equals those of the first, so that what is not there is empty."""
    joined = jax.tree.map(lambda *leaves: jnp.concatenate(leaves), one, other)
    _, best = jax.lax.top_k(joined.score, count)
    return jax.tree.map(lambda leaf: leaf[best], joined)


def log_softmax(logits: jax.Array) -> jax.Array:
    """Where no token is possible, -inf for each and not NaN, which may sort before all numbers."""
    return jnp.where(logits == -jnp.inf, -jnp.inf, jax.nn.log_softmax(precise(logits)))
