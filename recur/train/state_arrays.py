"""Conversion of a training state to named arrays and back, and digests of arrays."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from recur.checks import leaf_name
from recur.keys import is_key


def to_arrays(
    caller: str, state: Any, *, or_shapes: bool = False, plain: bool = True
) -> dict[str, Any]:
    """Returns each leaf as an array, by its path; keys as key data, Python numbers as NumPy arrays.

    Args:
      caller: the subject of errors.
      state: a pytree.
      or_shapes: whether leaves may be `jax.ShapeDtypeStruct`, which remain shapes, with a sharding.
      plain: whether paths are written as `params/kernel`, where these names are unique.

    Raises:
      TypeError: if a leaf is neither a number nor an array of numbers; it names the leaf.
    """
    return {
        name: _to_shape(leaf) if or_shapes and _is_shape(leaf) else _to_array(caller, name, leaf)
        for name, leaf in _named_leaves(state, plain)
    }


def from_arrays(arrays: Mapping[str, Any], like: Any) -> Any:
    """Returns a pytree of arrays in the order of leaves, with leaves of the types in `like`."""
    leaves, structure = jax.tree.flatten(like)
    found = [_of_kind(leaf, array) for leaf, array in zip(leaves, arrays.values(), strict=True)]
    return jax.tree.unflatten(structure, found)


def shapes(arrays: Mapping[str, Any]) -> dict[str, str]:
    """The dtype and shape of each array, as text."""
    return {name: f"{leaf.dtype}{list(leaf.shape)}" for name, leaf in arrays.items()}


def shapes_of_params(saved: Mapping[str, str]) -> dict[str, jax.ShapeDtypeStruct]:
    """The params among arrays whose dtypes and shapes are given as `shapes` formats them."""
    sharding, found = jnp.zeros(()).sharding, {}
    for name, text in saved.items():
        if path_of_param(name):
            dtype, _, sizes = text.rstrip("]").partition("[")
            shape = tuple(int(size) for size in sizes.split(",") if size)
            found[name] = jax.ShapeDtypeStruct(shape, jnp.dtype(dtype), sharding=sharding)
    return found


def path_of_param(name: str) -> str:
    """The path in the params of an array of a state; "" if it is not one of the params."""
    if name in ("params", ".params"):
        return "params"
    for prefix in ("params/", ".params"):
        if name.startswith(prefix):
            return name.removeprefix(prefix)
    return ""


def check_same(saved: Mapping[str, str], like: Mapping[str, Any], where: Any) -> None:
    """Raises a ValueError that names the first array in which a checkpoint is unlike `like`."""
    expected = shapes(like)
    for name in [*expected, *saved]:
        was, wanted = saved.get(name, "nothing"), expected.get(name, "nothing")
        if was != wanted:
            raise ValueError(
                f"{where}: expected {wanted} at {name}, as in like, but the checkpoint has {was}. "
                "It is of another model or optimizer: make like with those that were saved, or "
                "name another folder."
            )


def digests(arrays: Mapping[str, Any]) -> dict[str, str]:
    """A digest of each array whose values are all in this process."""
    held = {name: leaf for name, leaf in arrays.items() if _is_held(leaf)}
    return {name: _digest(np.asarray(leaf).tobytes()) for name, leaf in held.items()}


def digest_of_json(value: Any) -> str:
    """A digest of a value that JSON can hold, in which there may be NumPy arrays."""
    return _digest(json.dumps(value, sort_keys=True, default=_describe).encode())


def _describe(array: Any) -> list[str]:
    if not isinstance(array, np.ndarray):
        raise TypeError(f"Object of type {type(array).__name__} is not JSON serializable")
    return [str(array.dtype), str(array.shape), _digest(array.tobytes())]


def _named_leaves(tree: Any, plain: bool) -> list[tuple[str, Any]]:
    leaves = jax.tree_util.tree_leaves_with_path(tree)
    names = [leaf_name(path) for path, _ in leaves]
    if not plain or len(set(names)) < len(names):  # some names contain slashes
        names = [jax.tree_util.keystr(path) for path, _ in leaves]
    return [(name, leaf) for name, (_, leaf) in zip(names, leaves, strict=True)]


def _is_shape(leaf: Any) -> bool:
    return isinstance(leaf, jax.ShapeDtypeStruct)


def _to_shape(leaf: jax.ShapeDtypeStruct) -> jax.ShapeDtypeStruct:
    """The shape of an array or of key data, on the default device if it has no sharding."""
    sharding = leaf.sharding or jnp.zeros(()).sharding
    data = jax.eval_shape(jax.random.key_data, leaf) if is_key(leaf) else leaf
    return jax.ShapeDtypeStruct(data.shape, data.dtype, sharding=sharding)


def _to_array(caller: str, name: str, leaf: Any) -> Any:
    if is_key(leaf):
        return jax.random.key_data(leaf)
    array = leaf if isinstance(leaf, jax.Array | np.ndarray) else np.asarray(leaf)
    if array.dtype.kind in "OSUMm":
        raise TypeError(
            f"{caller}: {name}: expected numbers, which a checkpoint can hold, got "
            f"{type(leaf).__name__}."
        )
    return array


def _of_kind(like: Any, array: Any) -> Any:
    if is_key(like):
        return jax.random.wrap_key_data(array, impl=_implementation(like))
    if isinstance(like, jax.Array | jax.ShapeDtypeStruct):
        return array
    return type(like)(np.asarray(array).item()) if np.ndim(like) == 0 else np.asarray(array)


def _implementation(key: Any) -> Any:
    """The implementation of a key, or of the shape of one, which `jax.random` refuses."""
    found: list[Any] = []
    jax.eval_shape(lambda key: found.append(jax.random.key_impl(key)), key)
    return found[0]


def _is_held(leaf: Any) -> bool:
    return not isinstance(leaf, jax.Array) or leaf.is_fully_addressable


def _digest(data: bytes) -> str:
    return hashlib.blake2b(data, digest_size=16).hexdigest()
