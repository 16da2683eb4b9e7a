"""Shared code of cells of other libraries."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import jax
import jax.numpy as jnp

from recur.checks import check_leaves, check_params
from recur.keys import is_key
from recur.layer import check_is_layer
from recur.types import Cell, Shaped


def foreign_cell(
    name: str, record: type, init: Callable, init_carry: Callable, step: Callable
) -> Cell:
    """Makes a cell from functions; `bind` checks that params are of type `record`."""

    def bind(params, x, *, key=None, context=None):
        del key, context
        _check_no_list(x, name)
        check_params(name, params, record)
        return params

    def init_cell(key, x, context=None):
        del context
        _check_no_list(x, name)
        return init(key, x)

    def step_cell(params, carry, x, key=None):
        return step(params, carry, x, key)

    return Cell(init_cell, bind, init_carry, step_cell)


def _check_no_list(x: Any, name: str) -> None:
    """Raises a TypeError if x is a list, such as a list of steps."""
    if isinstance(x, list):
        raise TypeError(
            f"{name}: expected x as the cell reads it, got a list of {len(x)}. Stack a list of "
            "steps with jnp.stack."
        )


def zeros_like(x: Shaped) -> Any:
    """Returns zeros with the shapes of x, for libraries that initialize by a call of the cell."""
    return jax.tree.map(lambda leaf: jnp.zeros(leaf.shape, leaf.dtype), x)


def named(came: Any, made: Any = None) -> str:
    """Describes a wrong argument by its type, since the repr of a module is many lines long."""
    name = f"the class {came.__name__}" if isinstance(came, type) else type(came).__name__
    return name if made is None else f"{name} which returns {type(made).__name__}"


def by_name(params: Any) -> dict[str, Any]:
    """Returns params as nested dicts of strings, by the names of fields and numbers of entries."""
    names: dict[str, Any] = {}
    for path, leaf in jax.tree_util.tree_leaves_with_path(params):
        *above, last = _names(path)
        inside = names
        for name in above:
            inside = inside.setdefault(name, {})
        inside[last] = leaf
    return names


def from_names(names: Mapping[str, Any], like: Any) -> Any:
    """Returns params with the structure of `like` from nested dicts: the inverse of `by_name`."""

    def leaf(path, _):
        inside: Any = names
        for name in _names(path):
            inside = inside[name]
        return inside

    return jax.tree_util.tree_map_with_path(leaf, like)


def _names(path: tuple[Any, ...]) -> list[str]:
    """Returns the names of the entries of a path; a single array has the name "value"."""
    return [jax.tree_util.keystr((entry,), simple=True) for entry in path] or ["value"]


def typed(key: jax.Array) -> jax.Array:
    """Returns a key as a typed key, since other libraries also have raw ones."""
    return key if is_key(key) else jax.random.wrap_key_data(key)


def check_layer_and_params(caller: str, layer: Any, params: Any) -> None:
    """Raises an error unless `layer` is a layer, and `params` a pytree of arrays."""
    check_is_layer(layer, caller, may_be_pooled=True)
    check_leaves(f"{caller}: params", params)
    if params is None or not all(map(_is_array, jax.tree.leaves(params))):
        raise TypeError(
            f"{caller}: expected params as `init` of the layer returns them, got {named(params)}."
        )


def _is_array(leaf: Any) -> bool:
    return hasattr(leaf, "shape") and hasattr(leaf, "dtype")
