"""Conversion of a training state to named arrays and back, and digests of arrays."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from typing import Any

import jax
import numpy as np

from recur.checks import leaf_name
from recur.keys import is_key


def to_arrays(state: Any) -> dict[str, Any]:
    """Returns each leaf as an array, by its path; keys as key data, Python numbers as NumPy arrays.

    Raises:
      TypeError: if a leaf is neither a number nor an array of numbers; it names the leaf.
    """
    return {name: _to_array(name, leaf) for name, leaf in _named_leaves(state)}


def from_arrays(arrays: Mapping[str, Any], like: Any) -> Any:
    """Returns the state of named arrays, with leaves of the types in `like`."""
    leaves = [_of_kind(leaf, arrays[name]) for name, leaf in _named_leaves(like)]
    return jax.tree.unflatten(jax.tree.structure(like), leaves)


def shapes(arrays: Mapping[str, Any]) -> dict[str, str]:
    """The dtype and shape of each array, as text."""
    return {name: f"{leaf.dtype}{list(leaf.shape)}" for name, leaf in arrays.items()}


def digests(arrays: Mapping[str, Any]) -> dict[str, str]:
    """A digest of each array whose values are all in this process."""
    held = {name: leaf for name, leaf in arrays.items() if _is_held(leaf)}
    return {name: _digest(np.asarray(leaf).tobytes()) for name, leaf in held.items()}


def digest_of_json(value: Any) -> str:
    """A digest of a value that JSON can hold."""
    return _digest(json.dumps(value, sort_keys=True).encode())


def _named_leaves(tree: Any) -> list[tuple[str, Any]]:
    leaves = jax.tree_util.tree_leaves_with_path(tree)
    names = [leaf_name(path) for path, _ in leaves]
    if len(set(names)) < len(names):  # some names contain slashes
        names = [jax.tree_util.keystr(path) for path, _ in leaves]
    return [(name, leaf) for name, (_, leaf) in zip(names, leaves, strict=True)]


def _to_array(name: str, leaf: Any) -> Any:
    if is_key(leaf):
        return jax.random.key_data(leaf)
    array = leaf if isinstance(leaf, jax.Array | np.ndarray) else np.asarray(leaf)
    if array.dtype.kind in "OSUMm":
        raise TypeError(
            f"{name}: expected numbers, which a checkpoint can hold, got {type(leaf).__name__}."
        )
    return array


def _of_kind(like: Any, array: Any) -> Any:
    if is_key(like):
        return jax.random.wrap_key_data(array, impl=jax.random.key_impl(like))
    if isinstance(like, jax.Array):
        return array
    return type(like)(np.asarray(array).item()) if np.ndim(like) == 0 else np.asarray(array)


def _is_held(leaf: Any) -> bool:
    return not isinstance(leaf, jax.Array) or leaf.is_fully_addressable


def _digest(data: bytes) -> str:
    return hashlib.blake2b(data, digest_size=16).hexdigest()
