"""Live and finished hypotheses of a beam search, and one step of the search for one row."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from recur.arrays import check_one_number
from recur.checks import check_whole, known_value
from recur.decode.generate import TokenRules
from recur.decode.sample import constraint
from recur.dtypes import at_least_float32
from recur.types import Carry


class Beams(NamedTuple):
    """The n best hypotheses of a beam search, the best first.

    If fewer were found, the scores of the others are -inf.

    Attributes:
      tokens: int32 `[..., n, max_tokens]`, 0 after the end.
      length: the number of tokens without `eos`, int32 `[..., n]`.
      score: log-likelihood in nats, divided by the length penalty, float `[..., n]`; from
        `ctc_beam_search`, with the language model.
      log_likelihood: log-likelihood in nats, `eos` included, float `[..., n]`.

    Example:
      >>> import jax.numpy as jnp
      >>> from recur.decode import search
      >>> coin = jnp.log(jnp.array([0.25, 0.75]))
      >>> found = search(
      ...     lambda carry, token: (carry, coin), (), coin, num_beams=2, max_tokens=1, num_return=2
      ... )
      >>> found.tokens.tolist(), found.length.tolist(), jnp.exp(found.score).tolist()
      ([[1], [0]], [1, 1], [0.75, 0.25])
    """

    tokens: jax.Array
    length: jax.Array
    score: jax.Array
    log_likelihood: jax.Array


class Live(NamedTuple):
    """Hypotheses that are being extended, all of the same length."""

    tokens: jax.Array  # int32 [..., W, max_tokens]
    log_likelihood: jax.Array  # [..., W], the highest first; -inf where there are fewer


class Row(NamedTuple):
    """The carry of the search loop, for W hypotheses; with a batch axis first in a batch."""

    carry: Carry
    logits: jax.Array  # [..., W, V], of the next token
    live: Live
    finished: Beams


class Rules(NamedTuple):
    """The constants of a search."""

    num_beams: int
    num_return: int
    max_tokens: int
    eos: int  # -1, which is not a token, if there is none
    constrained: Callable[[jax.Array, jax.Array], jax.Array]
    penalties: jax.Array  # [max_tokens + 1], lp(n)


def make_rules(
    caller: str,
    logits: jax.Array,
    num_beams: int,
    num_return: int,
    rules: TokenRules,
    length_penalty: float | jax.Array,
) -> Rules:
    """Checks the options of a search over `logits [..., V]`; errors begin with `caller`."""
    size = logits.shape[-1]
    if num_beams > size:
        raise ValueError(
            f"{caller}: expected num_beams from 1 to the {size} tokens of the vocabulary, got "
            f"{num_beams}."
        )
    max_tokens, min_tokens, eos, forbidden = rules
    lengths = jnp.arange(max_tokens + 1).astype(at_least_float32(logits).dtype)
    penalties = ((5 + lengths) / 6) ** jnp.asarray(length_penalty, lengths.dtype)
    constrained = constraint(forbidden, eos, min_tokens, size, caller)
    end = -1 if eos is None else eos
    return Rules(num_beams, num_return, max_tokens, end, constrained, penalties)


def check_beams(caller: str, num_beams: Any, num_return: Any, length_penalty: Any) -> None:
    """Raises an error unless 1 ≤ num_return ≤ num_beams and the penalty is one finite number."""
    check_whole(f"{caller}: num_beams", num_beams, 1)
    if check_whole(f"{caller}: num_return", num_return, 1) > num_beams:
        raise ValueError(
            f"{caller}: expected num_return from 1 to num_beams, {num_beams}, got {num_return}. "
            "Increase num_beams to return more."
        )
    check_one_number(f"{caller}: length_penalty", length_penalty)
    known = known_value(length_penalty)
    if known is not None and not np.isfinite(known):
        raise ValueError(f"{caller}: expected a finite length_penalty, got {length_penalty}.")


def begin(rules: Rules, carry: Carry, logits: jax.Array) -> Row:
    """Returns the row before the first token, with one empty hypothesis."""

    def repeat(leaf):
        return jnp.broadcast_to(leaf, (rules.num_beams, *leaf.shape))

    none = jnp.full(rules.num_beams, -jnp.inf, rules.penalties.dtype)
    tokens = jnp.zeros((rules.num_beams, rules.max_tokens), jnp.int32)
    finished = Beams(tokens, jnp.zeros(rules.num_beams, jnp.int32), none, none)
    live = Live(tokens, none.at[0].set(0.0))
    return Row(jax.tree.map(repeat, carry), repeat(logits), live, finished)


def extend(rules: Rules, row: Row, position: jax.Array) -> tuple[Carry, jax.Array, Live, Beams]:
    """Extends the live hypotheses by one token.

    Returns:
      The carries, the tokens to read with them, the live hypotheses and the finished ones.
    """
    size, live = row.logits.shape[-1], row.live
    gains = rules.constrained(log_softmax(row.logits), position)
    before = live.log_likelihood[:, None]
    totals = jnp.where(before == -jnp.inf, -jnp.inf, before + gains)
    # At most one extension of each hypothesis ends, so 2 W extensions hold W that do not.
    count = rules.num_beams * min(2, size)
    totals, places = jax.lax.top_k(totals.ravel(), count)
    parents, tokens = places // size, places % size

    ends = tokens == rules.eos
    ended = jnp.where(ends & (jnp.arange(count) < rules.num_beams), totals, -jnp.inf)
    lengths = jnp.full(count, position)
    found = Beams(live.tokens[parents], lengths, ended / rules.penalties[position + 1], ended)
    finished = _best_of(row.finished, found, rules.num_beams)

    totals, kept = jax.lax.top_k(jnp.where(ends, -jnp.inf, totals), rules.num_beams)
    parents, tokens = parents[kept], tokens[kept]
    written = live.tokens[parents].at[:, position].set(tokens)
    carry = jax.tree.map(lambda leaf: leaf[parents], row.carry)
    return carry, tokens, Live(written, totals), finished


def close(rules: Rules, row: Row, position: jax.Array) -> Beams:
    """Returns the best hypotheses; if the loop ends early, live ones score too low to be in it."""
    totals, lengths = row.live.log_likelihood, jnp.full(rules.num_beams, position)
    unfinished = Beams(row.live.tokens, lengths, totals / rules.penalties[-1], totals)
    return _best_of(row.finished, unfinished, rules.num_return)


def _best_of(first: Beams, second: Beams, count: int) -> Beams:
    """Returns the best of two sets; of equal scores, those of the first come first."""
    joined = jax.tree.map(lambda *leaves: jnp.concatenate(leaves), first, second)
    _, best = jax.lax.top_k(joined.score, count)
    return jax.tree.map(lambda leaf: leaf[best], joined)


def log_softmax(logits: jax.Array) -> jax.Array:
    """Computes log-probabilities; if all logits are -inf, they are -inf and not NaN."""
    return jnp.where(logits == -jnp.inf, -jnp.inf, jax.nn.log_softmax(at_least_float32(logits)))
