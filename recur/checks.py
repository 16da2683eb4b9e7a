"""Checks: a user's mistake is told while tracing, with what was expected, what came, what to do."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import jax
import numpy as np

from recur.types import AnyCell, Context, Layer


def describe(tree: Any) -> str:
    """Writes a pytree as its structure with a `float32[3,4]` for each leaf."""

    def leaf(value):
        dtype = getattr(value, "dtype", type(value).__name__)
        return _Bare(f"{dtype}[{','.join(map(str, getattr(value, 'shape', ())))}]")

    return repr(jax.tree.map(leaf, tree))


def signature(tree: Any) -> tuple:
    """The structure, shapes and dtypes of a pytree, to compare with another's."""
    leaves, structure = jax.tree.flatten(tree)
    return structure, [(leaf.shape, leaf.dtype) for leaf in leaves]


class _Bare(str):
    """A string that `repr` shows without quotes."""

    __slots__ = ()

    def __repr__(self) -> str:
        return str(self)


def from_context(context: Context, name: str, asker: str) -> Any:
    """Returns the value called `name` of a context.

    Raises:
      TypeError: when the context is no mapping, or the name no string.
      ValueError: when there is no context, or none of that name.
    """
    if not isinstance(name, str):
        raise TypeError(
            f"{asker}: expected the name of a value in the context, as a string, got "
            f"{type(name).__name__}. The value itself is passed by name: context={{name: value}}."
        )
    given = {} if context is None else context
    if not isinstance(given, Mapping):
        raise TypeError(
            f"{asker}: expected the context as a mapping of names to values, "
            f"{{{name!r}: ...}}, got {type(given).__name__}."
        )
    if name not in given:
        has = ", ".join(map(repr, sorted(given))) or "nothing"
        raise ValueError(
            f"{asker} needs the context {name!r}, and got {has}. Pass "
            f"context={{{name!r}: ...}} to init and to the call."
        )
    return given[name]


def check_entries(name: str, value: Any, count: int) -> None:
    """Raises a ValueError unless `value` is a tuple of `count` entries."""
    if not isinstance(value, tuple) or len(value) != count:
        came = f"{len(value)} entries" if isinstance(value, tuple) else type(value).__name__
        raise ValueError(f"{name}: expected a tuple of {count} entries, one a part, got {came}.")


def check_whole(name: str, value: Any, least: int) -> int:
    """`value` as an int, when it is a whole number of at least `least`."""
    is_whole = isinstance(value, (int, np.integer)) and not isinstance(value, bool)
    if not is_whole or value < least:
        raise ValueError(f"{name}: expected a whole number of at least {least}, got {value!r}.")
    return int(value)


def check_ids(asker: str, ids: Any, size: int) -> list[int]:
    """`ids` as ints, when they are those of a vocabulary of `size`.

    Raises:
      TypeError: when they are not a sequence of whole numbers.
      ValueError: when some are outside the vocabulary.
    """
    array = np.asarray(ids)
    if array.ndim != 1 or (array.size and array.dtype.kind not in "iu"):
        raise TypeError(f"{asker}: expected a sequence of whole numbers, got {ids!r}.")
    outside = array[(array < 0) | (array >= size)].tolist()
    if outside:
        raise ValueError(
            f"{asker}: expected ids from 0 to {size - 1}, the size of the vocabulary less 1, got "
            f"{outside}."
        )
    return array.astype(int).tolist()


def check_rate(asker: str, name: str, rate: Any) -> float:
    """`rate` as a float, when it is the share of what is dropped.

    Raises:
      ValueError: when it is not a number in [0, 1).
    """
    is_number = isinstance(rate, (int, float, np.floating))
    if not is_number or not 0 <= rate < 1:
        which = "" if is_number else f", of {type(rate).__name__} and no float"
        raise ValueError(f"{asker}: expected {name} in [0, 1), got {rate!r}{which}.")
    return float(rate)


def check_cell(cell: Any, asker: str) -> None:
    """Raises a TypeError unless `cell` is a cell."""
    if isinstance(cell, Layer):
        raise TypeError(f"{asker}: expected a cell, got a layer, which already runs over time.")
    if not isinstance(cell, AnyCell):
        hint = (
            " recur.interop makes cells of those of other libraries; a module that keeps no state "
            "stands in recur.readin, recur.readout or recur.chain."
        )
        raise TypeError(
            f"{asker}: expected a cell, as recur.lstm(64) or recur.cell(...) make them, got "
            f"{type(cell).__name__}.{hint if callable(cell) else ''}"
        )


def check_is_layer(layer: Any, asker: str) -> None:
    """Raises a TypeError unless `layer` is a layer, batched or not."""
    if not isinstance(layer, Layer):
        raise TypeError(
            f"{asker}: expected a layer, got {type(layer).__name__}. Lift a cell with recur.scan "
            "first."
        )


def check_layer(layer: Any, asker: str) -> None:
    """Raises an error unless `layer` is a layer over one sequence."""
    check_is_layer(layer, asker)
    if layer.batched:
        raise ValueError(
            f"{asker}: the layer is batched, so its first axis is not time. Batch last: "
            f"recur.batch(recur.{asker}(...))."
        )
