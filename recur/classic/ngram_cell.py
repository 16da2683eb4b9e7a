"""An n-gram language model as a cell, to run and decode it as a recurrent layer."""

from __future__ import annotations

from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from recur.call_repr import call_repr
from recur.cells.custom import cell
from recur.classic.ngram_model import Level, NGrams
from recur.types import Cell


class NGramTable(NamedTuple):
    """The n-grams of one length n, sorted by context; the params of `ngram_cell` have one per n.

    Attributes:
      tokens: the last token of each n-gram, int32 `[G]`.
      log_probabilities: log p(w | h) of each, float `[G]`.
      begins: where the n-grams of each of the H contexts h begin, int32 `[H + 2]`; the last context
        is for all unseen ones.
      log_weights: the logarithm of the weight of each context, float `[H + 1]`.
    """

    tokens: jax.Array
    log_probabilities: jax.Array
    begins: jax.Array
    log_weights: jax.Array


@call_repr
def ngram_cell(model: NGrams) -> Cell:
    """Makes a cell of an n-gram language model, for generation and as a language model in decoding.

        y_t = log p(· | x_{t-n+2} ... x_t)

    `recur.scan` of it is a causal layer from tokens to logits, which `recur.decode` takes like a
    recurrent network. The carry is the numbers of the contexts of each length. A step takes time in
    proportion to the most distinct tokens that follow one context.

    Args:
      model: an `NGrams`, as `kneser_ney`, `katz` and `additive` return it.

    Returns:
      A `Cell` from an int token to log-probabilities `[V]`; `init` returns the tables.

    Raises:
      TypeError: if the model is not an `NGrams`.

    Example:
      >>> import jax, jax.numpy as jnp, numpy as np, recur
      >>> from recur.classic import kneser_ney, ngram_cell
      >>> model = kneser_ney([np.array([0, 1, 2, 1, 2, 1, 2, 3])], order=3, size=4)
      >>> layer, tokens = recur.scan(ngram_cell(model)), jnp.array([2, 1])
      >>> params = layer.init(jax.random.key(0), tokens)
      >>> np.exp(layer(params, tokens)[-1], dtype=float).round(2).tolist()
      [0.0, 0.02, 0.96, 0.01]
    """
    if not isinstance(model, NGrams):
        raise TypeError(
            f"ngram_cell: expected a model as kneser_ney returns it, got {type(model).__name__}."
        )
    most = [int(np.diff(_begins(level, model.size)).max()) for level in model.levels]

    def init(key, x):
        return tuple(_table(level, model.size) for level in model.levels)

    def init_carry(tables, x):
        unseen = [len(table.log_weights) - 1 for table in tables[1:]]
        return jnp.array([0, *unseen], jnp.int32)

    def step(tables, contexts, token):
        """Adds a token to the contexts; the context of level k is an n-gram of level k - 1."""
        longer = [jnp.zeros((), jnp.int32)]
        for table, context, count, above in zip(tables, contexts, most, tables[1:], strict=False):
            places, is_there = _row(table, context, count)
            same = is_there & (table.tokens[places] == token.astype(jnp.int32))
            unseen = len(above.log_weights) - 1
            longer.append(jnp.where(same.any(), places[same.argmax()], unseen).astype(jnp.int32))
        contexts = jnp.stack(longer)
        log_p = jnp.full(model.size, -np.log(model.size), tables[0].log_weights.dtype)
        for table, context, count in zip(tables, contexts, most, strict=True):
            places, is_there = _row(table, context, count)
            at = jnp.where(is_there, table.tokens[places], model.size)
            log_p = log_p + table.log_weights[context]
            log_p = log_p.at[at].set(table.log_probabilities[places], mode="drop")
        return contexts, log_p

    return cell(init, init_carry, step)


def _row(table: NGramTable, context: jax.Array, count: int) -> tuple[jax.Array, jax.Array]:
    """The places of the n-grams of a context, and which of them are there, `[count]` each."""
    places = table.begins[context] + jnp.arange(count, dtype=jnp.int32)
    return jnp.minimum(places, len(table.tokens) - 1), places < table.begins[context + 1]


def _begins(level: Level, size: int) -> np.ndarray:
    ends = np.searchsorted(level.keys, size * np.arange(len(level.weights)))
    return np.append(ends, len(level.keys)).astype(np.int32)


def _table(level: Level, size: int) -> NGramTable:
    with np.errstate(divide="ignore"):
        log_p, log_weights = (np.log(each) for each in (level.probabilities, level.weights))
    return NGramTable(
        tokens=jnp.asarray(level.keys % size, jnp.int32),
        log_probabilities=jnp.asarray(log_p, jnp.result_type(float)),
        begins=jnp.asarray(_begins(level, size)),
        log_weights=jnp.asarray(log_weights, jnp.result_type(float)),
    )
