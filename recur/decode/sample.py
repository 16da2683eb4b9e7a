"""Choosing a token from the logits of one step: greedy, sampling, temperature, top-k, top-p.

A chooser is a function `(logits, key) -> token` of the logits `[V]` of one step. `argmax` and
`categorical` are choosers. `temperature`, `top_k`, `top_p` and `forbid` take a chooser and return
one that reads changed logits: `top_k(40, temperature(0.7))` keeps the 40 most likely tokens,
divides their logits by 0.7, and samples. Choosers made by equal calls are equal and hashable. Their
numbers are leaves of a pytree, so a program compiled for `temperature(0.7)` is reused for
`temperature(0.8)`.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Sequence
from functools import partial

import jax
import jax.numpy as jnp
import numpy as np

from recur.arrays import as_array, check_one_number
from recur.checks import check_function, check_ids, check_whole, known_value
from recur.dtypes import at_least_float32
from recur.ids import check_known_ids
from recur.keys import check_key

Chooser = Callable[[jax.Array, jax.Array | None], jax.Array]
_SUMS_TO = 1e-5  # tolerance below p of a sum of probabilities


def argmax(logits: jax.Array, key: jax.Array | None = None) -> jax.Array:
    """Chooses the most likely token (greedy decoding); the first one of equals.

    Args:
      logits: `[V]`.
      key: not used.

    Returns:
      An int32 token.

    Raises:
      TypeError: if logits are not an array of real numbers.
      ValueError: if they are not `[V]` with V ≥ 1.

    Example:
      >>> import jax.numpy as jnp
      >>> from recur.decode import argmax
      >>> argmax(jnp.array([0.0, 2.0, 1.0])).item()
      1
    """
    del key
    return jnp.argmax(_check_logits("argmax", logits)).astype(jnp.int32)


def categorical(logits: jax.Array, key: jax.Array | None) -> jax.Array:
    """Samples a token from the distribution of the logits, p(v) = softmax(logits)_v.

    Args:
      logits: `[V]`.
      key: a typed key.

    Returns:
      An int32 token.

    Raises:
      TypeError: if the key is None, or logits are not an array of real numbers.
      ValueError: if they are not `[V]` with V ≥ 1.

    Example:
      >>> import jax, jax.numpy as jnp
      >>> from recur.decode import categorical
      >>> categorical(jnp.array([-jnp.inf, 0.0]), jax.random.key(0)).item()
      1
    """
    if key is None:
        raise TypeError(
            "categorical: expected a typed key to sample with, got None. Pass one, such as "
            "jax.random.key(0), or choose=recur.decode.argmax."
        )
    logits = at_least_float32(_check_logits("categorical", logits))
    return jax.random.categorical(check_key(key), logits).astype(jnp.int32)


def temperature(value: float | jax.Array, choose: Chooser = categorical) -> Chooser:
    """Divides logits by a temperature: below 1 sharpens the distribution, above 1 flattens it.

    Args:
      value: the temperature, above 0; it may be traced.
      choose: the chooser that reads the divided logits.

    Returns:
      A chooser.

    Raises:
      TypeError: if value is not one number, or `choose` not a function.
      ValueError: if value is not above 0.

    Example:
      >>> import jax, jax.numpy as jnp
      >>> from recur.decode import temperature
      >>> temperature(0.01)(jnp.array([0.0, 1.0]), jax.random.key(0)).item()
      1
    """
    check_one_number("temperature: value", value)
    check_function("temperature: choose", choose)
    known = known_value(value)
    if known is not None and not known > 0:
        raise ValueError(
            f"temperature: expected a value above 0, got {value}. For the limit 0 use "
            "recur.decode.argmax."
        )
    return _Temperature(value, choose)


def top_k(k: int, choose: Chooser = categorical) -> Chooser:
    """Keeps the k most likely tokens (top-k sampling); of equals, those that come first.

    Args:
      k: an int of at least 1; a k above V keeps all tokens.
      choose: the chooser that reads the remaining logits.

    Returns:
      A chooser.

    Raises:
      TypeError: if `choose` is not a function.
      ValueError: if k is not an int of at least 1.

    Example:
      >>> import jax, jax.numpy as jnp
      >>> from recur.decode import top_k
      >>> top_k(1)(jnp.array([0.0, 0.1, 0.1]), jax.random.key(0)).item()
      1

    References:
      Fan, Lewis & Dauphin 2018, Hierarchical Neural Story Generation,
      https://arxiv.org/abs/1805.04833
    """
    check_function("top_k: choose", choose)
    return _TopK(check_whole("top_k: k", k, 1), choose)


def top_p(p: float | jax.Array, choose: Chooser = categorical) -> Chooser:
    """Keeps the most likely tokens until their probabilities add up to p (nucleus sampling).

    Since sums are rounded, a sum that is at most 1e-5 below p counts as p: of the probabilities
    0.5, 0.3, 0.1 and 0.1, p = 0.8 keeps two.

    Args:
      p: above 0 and at most 1, which keeps all tokens; it may be traced. The most likely token is
        always kept.
      choose: the chooser that reads the remaining logits.

    Returns:
      A chooser.

    Raises:
      TypeError: if p is not one number, or `choose` not a function.
      ValueError: if p is not above 0 and at most 1.

    Example:
      >>> import jax, jax.numpy as jnp
      >>> from recur.decode import top_p
      >>> top_p(0.5)(jnp.log(jnp.array([0.3, 0.6, 0.1])), jax.random.key(0)).item()
      1

    References:
      Holtzman et al. 2020, The Curious Case of Neural Text Degeneration,
      https://arxiv.org/abs/1904.09751
    """
    check_one_number("top_p: p", p)
    check_function("top_p: choose", choose)
    known = known_value(p)
    if known is not None and not 0 < known <= 1:
        raise ValueError(f"top_p: expected p above 0 and at most 1, got {p}.")
    return _TopP(p, choose)


def forbid(tokens: Sequence[int], choose: Chooser = categorical) -> Chooser:
    """Excludes tokens from sampling. If all others have the probability 0, they are equally likely.

    Use it around choosers that keep few tokens, such as `top_k`: `forbid(tokens, top_k(5))`.

    Args:
      tokens: the ids that are never chosen.
      choose: the chooser that reads the logits of the other tokens.

    Returns:
      A chooser.

    Raises:
      TypeError: if the ids are not integers, or `choose` is not a function.
      ValueError: if an id is below 0; when tracing, if an id is outside the vocabulary, or all
        tokens are excluded.

    Example:
      >>> import jax.numpy as jnp
      >>> from recur.decode import argmax, forbid
      >>> forbid([1], argmax)(jnp.array([0.0, 2.0, 1.0]), None).item()
      2
    """
    ids = check_ids("forbid", tokens)
    check_known_ids("forbid", "tokens", ids, None)
    check_function("forbid: choose", choose)
    return _Forbid(tuple(ids), choose)


@partial(jax.tree_util.register_dataclass, data_fields=["value", "choose"], meta_fields=[])
@dataclasses.dataclass(frozen=True)
class _Temperature:
    value: float | jax.Array
    choose: Chooser

    def __call__(self, logits: jax.Array, key: jax.Array | None = None) -> jax.Array:
        return self.choose(at_least_float32(logits) / self.value, key)


@partial(jax.tree_util.register_dataclass, data_fields=["choose"], meta_fields=["k"])
@dataclasses.dataclass(frozen=True)
class _TopK:
    k: int
    choose: Chooser

    def __call__(self, logits: jax.Array, key: jax.Array | None = None) -> jax.Array:
        return self.choose(_keep_ranks(logits, jnp.arange(logits.shape[-1]) < self.k), key)


@partial(jax.tree_util.register_dataclass, data_fields=["p", "choose"], meta_fields=[])
@dataclasses.dataclass(frozen=True)
class _TopP:
    p: float | jax.Array
    choose: Chooser

    def __call__(self, logits: jax.Array, key: jax.Array | None = None) -> jax.Array:
        probabilities = -jnp.sort(-jax.nn.softmax(at_least_float32(logits)))
        before = jnp.cumsum(probabilities) - probabilities
        p = jnp.asarray(self.p).astype(before.dtype)
        kept = (before < p - _SUMS_TO) | (p >= 1)
        return self.choose(_keep_ranks(logits, kept.at[0].set(True)), key)


@partial(jax.tree_util.register_dataclass, data_fields=["choose"], meta_fields=["tokens"])
@dataclasses.dataclass(frozen=True)
class _Forbid:
    tokens: tuple[int, ...]
    choose: Chooser

    def __call__(self, logits: jax.Array, key: jax.Array | None = None) -> jax.Array:
        check_ids("forbid", self.tokens, logits.shape[-1])
        constrain = partial(rule_out, self.tokens, caller="forbid")
        return self.choose(allowed(constrain, logits), key)


def check_token(token: jax.Array) -> jax.Array:
    """Returns the result of a chooser as int32; raises a TypeError unless it is one token."""
    token = as_array("choose", token)
    if token.shape != () or not jnp.issubdtype(token.dtype, jnp.integer):
        raise TypeError(
            "choose: expected a function (logits, key) -> token that returns one integer, got "
            f"{token.dtype}{list(token.shape)}."
        )
    return token.astype(jnp.int32)


def _check_logits(caller: str, logits: jax.Array) -> jax.Array:
    logits = as_array(f"{caller}: logits", logits)
    if jnp.issubdtype(logits.dtype, jnp.complexfloating):
        raise TypeError(f"{caller}: expected logits as real numbers, got {logits.dtype}.")
    if logits.ndim != 1 or not logits.size:
        raise ValueError(
            f"{caller}: expected logits [V] with V >= 1, got shape {list(logits.shape)}. Use "
            "jax.vmap for a batch."
        )
    is_float = jnp.issubdtype(logits.dtype, jnp.floating)
    return logits if is_float else logits.astype(jnp.result_type(float))


def rule_out(ids: Sequence[int], logits: jax.Array, caller: str) -> jax.Array:
    """Sets logits `[..., V]` of some ids to -inf; raises a ValueError if no other ids remain."""
    size, ruled_out = logits.shape[-1], sorted({*ids})
    if len(ruled_out) == size:
        raise ValueError(
            f"{caller}: expected at least one token that is allowed, got all {size} forbidden."
        )
    return logits.at[..., np.array(ruled_out)].set(-jnp.inf) if ruled_out else logits


def constraint(
    forbidden: Sequence[int], eos: int | None, min_tokens: int, size: int, caller: str
) -> Callable[[jax.Array, jax.Array], jax.Array]:
    """Makes `(logits [..., V], position) -> logits`, which sets logits of tokens to -inf.

    Forbidden tokens are excluded everywhere, `eos` at positions before `min_tokens`. Ids outside a
    vocabulary of `size` raise a ValueError.
    """
    never = check_ids(caller, forbidden, size)
    ends = [] if eos is None else check_ids(caller, [eos], size)

    def constrained(logits, position):
        later = rule_out(never, logits, caller)
        if eos is None or min_tokens == 0:
            return later
        return jnp.where(position < min_tokens, rule_out([*never, *ends], logits, caller), later)

    return constrained


def allowed(constrain: Callable[[jax.Array], jax.Array], logits: jax.Array) -> jax.Array:
    """Applies `constrain`; if all remaining logits are -inf, they become equally likely."""
    left = constrain(logits)
    if left is logits:
        return logits
    nothing = (left == -jnp.inf).all(-1, keepdims=True)
    return jnp.where(nothing, constrain(jnp.zeros_like(logits)), left)


def _keep_ranks(logits: jax.Array, kept: jax.Array) -> jax.Array:
    """Excludes tokens by rank: `kept[r]` is for the r-th most likely token."""
    order = jnp.argsort(-logits, stable=True)
    kept = jnp.zeros_like(kept).at[order].set(kept)
    return jnp.where(kept, logits, -jnp.inf)
