"""Keys: typed only, and no key means no noise."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, overload

import jax
import jax.numpy as jnp


def check_key(key: Any) -> jax.Array:
    """Returns `key` when it is one typed key, as `jax.random.key` makes them.

    Raises:
      TypeError: for anything else, keys of the old kind (`jax.random.PRNGKey`) included.
      ValueError: for an array of several keys.
    """
    if not is_key(key):
        came = f"{key.dtype}{list(key.shape)}" if hasattr(key, "dtype") else repr(key)
        raise TypeError(
            f"expected a typed key, got {came}. Make one with jax.random.key(0), or turn an "
            "old one into one with jax.random.wrap_key_data(old)."
        )
    if key.shape != ():
        raise ValueError(
            f"expected one key, got an array of keys of shape {key.shape}. Pass one key: it is "
            "split for rows, steps and layers on the way down."
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
    """`count` keys to hand out by name; `count` times None when there is no key."""
    return [None] * count if key is None else list(jax.random.split(check_key(key), count))


def split_each(keys: jax.Array | None) -> tuple[jax.Array | None, jax.Array | None]:
    """Two keys for each of an array of keys, as a step splits its own; None when there are none."""
    if keys is None:
        return None, None
    pairs = jax.vmap(jax.random.split)(keys)
    return pairs[:, 0], pairs[:, 1]


def split_along(key: jax.Array | None, count: int) -> jax.Array | None:
    """An array of `count` keys, one for each step or row; None when there is no key."""
    return None if key is None else jax.random.split(check_key(key), count)


def split_like(key: jax.Array | None, tree: Any) -> Any:
    """A key for each leaf of a tree, in its place; None for each when there is no key."""
    leaves, structure = jax.tree.flatten(tree)
    return jax.tree.unflatten(structure, split(key, len(leaves)))
