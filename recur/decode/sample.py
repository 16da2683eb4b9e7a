"""Drawing tokens from logits, and whole sequences from a layer.

A chooser is a function `(logits, key) -> token` for the logits `[V]` of one step. `argmax` and
`multinomial` are choosers; `temperature`, `top_k`, `nucleus` and `forbid` take a chooser and return
one that sees other logits. So `top_k(40, temperature(0.7))` keeps 40 tokens, sharpens what is left,
and draws.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence

import jax
import jax.numpy as jnp
import numpy as np

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
    return jax.random.categorical(key, precise(logits)).astype(jnp.int32)


def temperature(value: float, choose: Chooser = multinomial) -> Chooser:
    """Sharpens (below 1) or flattens (above 1) the distribution: logits / value.

    Args:
      value: above 0.
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
    if not value > 0:
        raise ValueError(
            f"temperature: expected a value above 0, got {value}. The limit at 0 is "
            "recur.decode.argmax."
        )
    return lambda logits, key: choose(logits / value, key)


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
    """Never chooses some tokens.

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
    return lambda logits, key: choose(rule_out(tokens, logits, "forbid"), key)


def rule_out(tokens: Sequence[int], logits: jax.Array, asker: str) -> jax.Array:
    """Logits `[..., V]` of -inf for `tokens`; what is wrong with them is told for `asker`."""
    size, ruled_out = logits.shape[-1], np.unique(np.asarray(tokens, np.int32))
    check_ids(ruled_out, size, asker)
    if len(ruled_out) == size:
        raise ValueError(f"{asker}: all {size} tokens are forbidden, so none can be chosen.")
    return logits.at[..., ruled_out].set(-jnp.inf) if len(ruled_out) else logits


def check_ids(tokens: Iterable[int], size: int, asker: str) -> None:
    """Raises a ValueError unless all ids are in a vocabulary of `size`."""
    outside = [int(token) for token in tokens if not 0 <= token < size]
    if outside:
        raise ValueError(
            f"{asker}: expected ids from 0 to {size - 1}, the size of the vocabulary less 1, got "
            f"{outside}."
        )


def constraint(
    forbidden: Sequence[int], stop: int | None, least: int, size: int, asker: str
) -> Callable[[jax.Array, jax.Array], jax.Array]:
    """`(logits [..., V], position) -> logits`: rules out `stop` before the position `least` too.

    A ValueError says which of them are outside a vocabulary of `size`.
    """
    check_ids([*forbidden, *([] if stop is None else [stop])], size, asker)

    def constrained(logits, position):
        allowed = rule_out(forbidden, logits, asker)
        if stop is None or least == 0:
            return allowed
        return jnp.where(position < least, rule_out([*forbidden, stop], logits, asker), allowed)

    return constrained


def precise(logits: jax.Array) -> jax.Array:
    """In 16 bits noise and sums have so few values that draws would be of another distribution."""
    return logits.astype(jnp.float32) if logits.dtype.itemsize < 4 else logits


def _keep_first(logits: jax.Array, kept: jax.Array) -> jax.Array:
    """Rules out the tokens whose rank, the likeliest first, is not kept."""
    order = jnp.argsort(-logits, stable=True)
    kept = jnp.zeros_like(kept).at[order].set(kept)
    return jnp.where(kept, logits, -jnp.inf)
