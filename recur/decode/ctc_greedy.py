"""Greedy decoding of CTC: the most likely symbol of each frame."""

from __future__ import annotations

from functools import partial
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp

from recur.decode.ctc_inputs import check_ctc_logits
from recur.decode.hypotheses import log_softmax
from recur.masks import zero_invalid


class BestPath(NamedTuple):
    """The result of `ctc_greedy`.

    Attributes:
      tokens: the symbols, int32 `[..., T]`, 0 after the end.
      length: the number of symbols, int32 `[...]`.
      log_likelihood: the log-probability of the most likely path in nats, float `[...]`. That of
        the symbols, which have many paths, is higher; `recur.train.ctc_loss` computes it.
    """

    tokens: jax.Array
    length: jax.Array
    log_likelihood: jax.Array


def ctc_greedy(logits: Any, mask: Any = None, *, blank: int = 0) -> BestPath:
    """Decodes CTC outputs greedily (best path decoding).

    The most likely symbol of each frame is chosen, repetitions are merged, and blanks are removed.
    The result need not be the most likely transcript, since that may have many paths: see
    `ctc_beam_search`. It is compiled once for each shape.

    Args:
      logits: `[..., T, V]`, of the symbols and the blank, as for `recur.train.ctc_loss`.
      mask: bool `[..., T]`, True where the frame counts; all frames by default. Values at other
        frames never matter.
      blank: the id of the blank.

    Returns:
      A `BestPath`.

    Raises:
      TypeError: if logits are not floats, or the mask is not bool.
      ValueError: if a shape does not fit, or the blank is not one of the V ids.

    Example:
      >>> import jax, jax.numpy as jnp
      >>> from recur.decode import ctc_greedy
      >>> frames = jnp.array([0, 2, 2, 0, 2, 1, 1])  # 0 is the blank
      >>> found = ctc_greedy(9.0 * jax.nn.one_hot(frames, 3))
      >>> found.tokens[: found.length].tolist()
      [2, 2, 1]

    References:
      Graves et al. 2006, Connectionist Temporal Classification: Labelling Unsegmented Sequence Data
      with Recurrent Neural Networks, section 3.2, https://doi.org/10.1145/1143844.1143891
    """
    return _ctc_greedy(*check_ctc_logits("ctc_greedy", logits, mask, blank))


@partial(jax.jit, static_argnames="blank")
def _ctc_greedy(logits, mask, blank):
    one = partial(_decode, blank=blank)
    for _ in range(logits.ndim - 2):
        one = jax.vmap(one)
    return one(logits, mask)


def _decode(logits: jax.Array, mask: jax.Array, *, blank: int) -> BestPath:
    """Decodes one sequence."""
    log_p = log_softmax(zero_invalid(mask, logits))
    path = jnp.argmax(log_p, axis=-1).astype(jnp.int32)
    frames = jnp.arange(len(path))
    last = jax.lax.cummax(jnp.where(mask, frames, -1))  # the last frame that counts
    last = jnp.concatenate([jnp.full(1, -1, last.dtype), last[:-1]])
    previous = jnp.where(last < 0, blank, path[last])
    begins = mask & (path != blank) & (path != previous)
    places = jnp.where(begins, begins.cumsum() - 1, len(path))
    tokens = jnp.zeros_like(path).at[places].set(path, mode="drop")
    log_likelihood = jnp.where(mask, log_p.max(-1), 0.0).sum()
    return BestPath(tokens, begins.sum(dtype=jnp.int32), log_likelihood)
