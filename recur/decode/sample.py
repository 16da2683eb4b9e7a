"""Drawing tokens from logits, and whole sequences from a layer.

A chooser is a function `(logits, key) -> token` for the logits `[V]` of one step. `argmax` and
`multinomial` are choosers; `temperature`, `top_k`, `nucleus` and `forbid` take a chooser and return
one that sees other logits. So `top_k(40, temperature(0.7))` keeps 40 tokens, sharpens what is left,
and draws.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

import jax
import jax.numpy as jnp
import numpy as np

from recur.checks import check_ids
from recur.dtypes import precise
from recur.keys import check_key

Chooser = Callable[[jax.Array, jax.Array | None], jax.Array]


def argmax(logits: jax.Array, key: jax.Array | None = None) -> jax.Array:
    """Chooses the likeliest token; the first of several.

    Args:
      logits: `[V]`.
      key: not needed.

    Returns:
      An int32 token.

    Example:
      >>> import jax.numpy as jnp
      >>> from recur.decode import argmax
      >>> argmax(jnp.array([0.0, 2.0, 1.0])).item()
      1
    """
    del key
    return jnp.argmax(logits).astype(jnp.int32)


def multinomial(logits: jax.Array, key: jax.Array | None) -> jax.Array:
    """Draws a token, p(v) = softmax(logits)_v.

    Args:
      logits: `[V]`.
      key: a typed key.

    Returns:
      An int32 token.

    Raises:
      TypeError: when there is no key.

    Example:
      >>> import jax, jax.numpy as jnp
      >>> from recur.decode import multinomial
      >>> multinomial(jnp.array([-jnp.inf, 0.0]), jax.random.key(0)).item()
      1
    """
    if key is None:
        raise TypeError(
            "multinomial: expected a typed key to draw with, got None. Give one, "
            "jax.random.key(0), or choose by recur.decode.argmax."
        )
    return jax.random.categorical(check_key(key), precise(logits)).astype(jnp.int32)


def temperature(value: float, choose: Chooser = multinomial) -> Chooser:
    """Sharpens (below 1) or flattens (above 1) the distribution: logits / value.

    Args:
      value: above 0; it may be traced.
      choose: what chooses then.

    Returns:
      A chooser.

    Raises:
      ValueError: when value is not above 0.

    Example:
      >>> import jax, jax.numpy as jnp
      >>> from recur.decode import temperature
      >>> temperature(0.01)(jnp.array([0.0, 1.0]), jax.random.key(0)).item()
      1
    """
    if not isinstance(value, jax.core.Tracer) and not value > 0:
        raise ValueError(
            f"temperature: expected a value above 0, got {value}. The limit at 0 is "
            "recur.decode.argmax."
        )
    return lambda logits, key: choose(precise(logits) / value, key)


def top_k(k: int, choose: Chooser = multinomial) -> Chooser:
    """Keeps the k likeliest tokens; of equals, those that come first.

    Args:
      k: at least 1; a k above V keeps all.
      choose: what chooses then.

    Returns:
      A chooser.

    Raises:
      ValueError: when k is below 1.

    Example:
      >>> import jax, jax.numpy as jnp
      >>> from recur.decode import top_k
      >>> top_k(1)(jnp.array([0.0, 0.1, 0.1]), jax.random.key(0)).item()
      1

    References:
      Fan, Lewis & Dauphin 2018, Hierarchical Neural Story Generation,
      https://arxiv.org/abs/1805.04833
    """
    if k < 1:
        raise ValueError(f"top_k: expected k of at least 1, got {k}.")

    def choose_among(logits, key):
        return choose(_keep_first(logits, jnp.arange(logits.shape[-1]) < k), key)

    return choose_among


def nucleus(p: float, choose: Chooser = multinomial) -> Chooser:
    """Keeps the likeliest tokens until together they have a probability of p: top-p.

    Args:
      p: above 0, at most 1; the likeliest token is always kept.
      choose: what chooses then.

    Returns:
      A chooser.

    Raises:
      ValueError: when p is not above 0 and at most 1.

    Example:
      >>> import jax, jax.numpy as jnp
      >>> from recur.decode import nucleus
      >>> nucleus(0.5)(jnp.log(jnp.array([0.3, 0.6, 0.1])), jax.random.key(0)).item()
      1

    References:
      Holtzman et al. 2020, The Curious Case of Neural Text Degeneration,
      https://arxiv.org/abs/1904.09751
    """
    if not 0 < p <= 1:
        raise ValueError(f"nucleus: expected p above 0 and at most 1, got {p}.")

    def choose_among(logits, key):
        probabilities = -jnp.sort(-jax.nn.softmax(precise(logits)))
        before = jnp.cumsum(probabilities) - probabilities
        return choose(_keep_first(logits, before < p), key)

    return choose_among


def forbid(tokens: Sequence[int], choose: Chooser = multinomial) -> Chooser:
    """Never chooses some tokens; where all others are impossible, they are equally likely.

    Put it around choosers that keep few tokens, as `top_k`: `forbid(tokens, top_k(5))`.

    Args:
      tokens: their ids.
      choose: what chooses then.

    Returns:
      A chooser.

    Raises:
      ValueError: while tracing, when an id is outside the vocabulary, or none is left to choose.

    Example:
      >>> import jax.numpy as jnp
      >>> from recur.decode import argmax, forbid
      >>> forbid([1], argmax)(jnp.array([0.0, 2.0, 1.0]), None).item()
      2
    """

    def choose_among(logits, key):
        ruled_out = check_ids("forbid", tokens, logits.shape[-1])
        return choose(allowed(lambda logits: rule_out(ruled_out, logits, "forbid"), logits), key)

    return choose_among


def rule_out(ids: Sequence[int], logits: jax.Array, asker: str) -> jax.Array:
    """Logits `[..., V]` of -inf for ids of the vocabulary; a ValueError when these are all."""
    size, ruled_out = logits.shape[-1], sorted({*ids})
    if len(ruled_out) == size:
        raise ValueError(f"{asker}: all {size} tokens are forbidden, so none can be chosen.")
    return logits.at[..., np.array(ruled_out)].set(-jnp.inf) if ruled_out else logits


def constraint(
    forbidden: Sequence[int], stop: int | None, least: int, size: int, asker: str
) -> Callable[[jax.Array, jax.Array], jax.Array]:
    """`(logits [..., V], position) -> logits`: rules out `stop` before the position `least` too.

    An error says which of them are no ids of a vocabulary of `size`.
    """
    never = check_ids(asker, forbidden, size)
    stops = [] if stop is None else check_ids(asker, [stop], size)

    def constrained(logits, position):
        later = rule_out(never, logits, asker)
        if stop is None or least == 0:
            return later
        return jnp.where(position < least, rule_out([*never, *stops], logits, asker), later)

    return constrained


def allowed(constrain: Callable[[jax.Array], jax.Array], logits: jax.Array) -> jax.Array:
    """`constrain(logits)`; where none of what it allows is possible, all of that is as likely."""
    left = constrain(logits)
    if left is logits:
        return logits
    nothing = (left == -jnp.inf).all(-1, keepdims=True)
    return jnp.where(nothing, constrain(jnp.zeros_like(logits)), left)


def _keep_first(logits: jax.Array, kept: jax.Array) -> jax.Array:
    """Rules out the tokens whose rank, the likeliest first, is not kept."""
    order = jnp.argsort(-logits, stable=True)
    kept = jnp.zeros_like(kept).at[order].set(kept)
    return jnp.where(kept, logits, -jnp.inf)
