"""Random keys: typed keys only; without a key there is no noise."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, overload

import jax
import jax.numpy as jnp


def check_key(key: Any) -> jax.Array:
    """Returns `key` if it is one typed key, as `jax.random.key` returns.

    Raises:
      TypeError: for anything else, including raw keys of `jax.random.PRNGKey`.
      ValueError: for an array of several keys.
    """
    if not is_key(key):
        came = f"{key.dtype}{list(key.shape)}" if hasattr(key, "dtype") else repr(key)
        raise TypeError(
            f"expected a typed key, got {came}. Make one with jax.random.key(0), or convert a raw "
            "key with jax.random.wrap_key_data(raw)."
        )
    if key.shape != ():
        raise ValueError(
            f"expected one key, got an array of keys of shape {key.shape}. Pass one key: it is "
            "split for rows, steps and layers."
        )
    return key


def is_key(value: Any) -> bool:
    """Whether `value` is a typed key or an array of them."""
    return hasattr(value, "dtype") and jnp.issubdtype(value.dtype, jax.dtypes.prng_key)


@overload
def split(key: jax.Array, count: int) -> Sequence[jax.Array]: ...


@overload
def split(key: None, count: int) -> Sequence[None]: ...


@overload
def split(key: jax.Array | None, count: int) -> Sequence[jax.Array | None]: ...


def split(key: jax.Array | None, count: int) -> Sequence[jax.Array | None]:
    """Splits a key into a list of `count` keys; `count` times None without a key."""
    return [None] * count if key is None else list(jax.random.split(check_key(key), count))


def split_each(keys: jax.Array | None) -> tuple[jax.Array | None, jax.Array | None]:
    """Splits each key of an array in two, as a step splits its key; None without keys."""
    if keys is None:
        return None, None
    pairs = jax.vmap(jax.random.split)(keys)
    return pairs[:, 0], pairs[:, 1]


def split_along(key: jax.Array | None, count: int) -> jax.Array | None:
    """Splits a key into an array of `count` keys, one for each step or row; None without a key."""
    return None if key is None else jax.random.split(check_key(key), count)


def split_like(key: jax.Array | None, tree: Any) -> Any:
    """Splits a key into a tree of keys, one for each leaf; None for each without a key."""
    leaves, structure = jax.tree.flatten(tree)
    return jax.tree.unflatten(structure, split(key, len(leaves)))
