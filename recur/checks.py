"""Checks of users' input: each error says what was expected, what was given and how to fix it."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from typing import Any, ParamSpec, TypeVar

import jax
import jax.numpy as jnp
import numpy as np
from jax.core import Tracer

from recur.types import Cell, Context

P = ParamSpec("P")
R = TypeVar("R")

PARAMS_REMEDY = "Pass what `init` of this layer returned, or a pytree of the same types."


def describe(tree: Any) -> str:
    """Formats a pytree as its structure, with `float32[3,4]` in place of each leaf."""

    def leaf(value):
        dtype = getattr(value, "dtype", type(value).__name__)
        return _Bare(f"{dtype}[{','.join(map(str, getattr(value, 'shape', ())))}]")

    return repr(jax.tree.map(leaf, tree))


def leaf_name(path: tuple[Any, ...]) -> str:
    """Returns the name of a leaf by its path in a pytree, such as `0/recurrent_kernel/update`."""
    return jax.tree_util.keystr(path, simple=True, separator="/")


def signature(tree: Any) -> tuple:
    """Returns the structure, shapes and dtypes of a pytree, to compare two of them."""
    leaves, structure = jax.tree.flatten(tree)
    return structure, [(leaf.shape, leaf.dtype) for leaf in leaves]


class _Bare(str):
    """A string whose `repr` has no quotes."""

    __slots__ = ()

    def __repr__(self) -> str:
        return str(self)


def from_context(context: Context, name: str, caller: str) -> Any:
    """Returns the value of a context that has the given name.

    Raises:
      TypeError: if the context is not a mapping, or the name is not a string.
      ValueError: if the context has no value of that name.
    """
    if not isinstance(name, str):
        raise TypeError(
            f"{caller}: expected the name of a value in the context, as a string, got "
            f"{type(name).__name__}. The value itself is passed by name: context={{name: value}}."
        )
    given = {} if context is None else context
    if not isinstance(given, Mapping):
        raise TypeError(
            f"{caller}: expected the context as a mapping of names to values, "
            f"{{{name!r}: ...}}, got {type(given).__name__}."
        )
    if name not in given:
        has = ", ".join(map(repr, sorted(given))) or "nothing"
        raise ValueError(
            f"{caller} needs the context {name!r}, and got {has}. Pass "
            f"context={{{name!r}: ...}} to init and to the call."
        )
    return given[name]


def check_context(context: Any) -> None:
    """Raises a TypeError unless `context` is a mapping or None."""
    if context is not None and not isinstance(context, Mapping):
        raise TypeError(
            "expected the context as a mapping of names to values, {name: ...}, got "
            f"{type(context).__name__}."
        )


def known_value(value: Any) -> np.ndarray | None:
    """Returns `value` as a NumPy array for checks, or None where its value is unknown.

    It is unknown if a leaf is traced, or is not fully addressable. Comparing a JAX array itself
    would give a tracer inside `jax.jit`, even if its value is known.
    """
    arrays = [leaf for leaf in jax.tree.leaves(value) if isinstance(leaf, jax.Array)]
    if any(isinstance(leaf, Tracer) or not leaf.is_fully_addressable for leaf in arrays):
        return None
    return np.asarray(value)


def check_entries(name: str, value: Any, count: int) -> None:
    """Raises a ValueError unless `value` is a tuple of `count` entries."""
    if not isinstance(value, tuple) or len(value) != count:
        came = f"{len(value)} entries" if isinstance(value, tuple) else describe(value)
        raise ValueError(
            f"{name}: expected a tuple of {count} entries, one for each part, got {came}."
        )


def check_whole(name: str, value: Any, least: int) -> int:
    """Returns `value` as an int; raises a ValueError unless it is a whole number >= `least`."""
    is_whole = isinstance(value, (int, np.integer)) and not isinstance(value, bool)
    if not is_whole or value < least:
        raise ValueError(f"{name}: expected a whole number of at least {least}, got {value!r}.")
    return int(value)


def check_number(name: str, value: Any) -> float:
    """Returns `value` as a float; raises a ValueError unless it is a finite real number."""
    if not is_number(value) or not math.isfinite(value):
        raise ValueError(f"{name}: expected a finite number, got {value!r}.")
    return float(value)


def is_number(value: Any) -> bool:
    """Whether `value` is a real Python or NumPy number; a bool is not."""
    is_real = isinstance(value, (int, float, np.integer, np.floating))
    return is_real and not isinstance(value, bool)


def check_flag(name: str, value: Any) -> bool:
    """Returns `value` as a bool; raises a TypeError unless it is one."""
    if not isinstance(value, (bool, np.bool_)):
        raise TypeError(f"{name}: expected True or False, got {value!r}.")
    return bool(value)


def check_function(name: str, value: Any) -> None:
    """Raises a TypeError unless `value` is callable."""
    if not callable(value):
        raise TypeError(f"{name}: expected a function, got {type(value).__name__}.")


def check_floating(caller: str, **dtypes: Any) -> None:
    """Raises a TypeError unless dtypes are real floating-point; only param_dtype is required."""
    for name, given in dtypes.items():
        if given is None and name != "param_dtype":
            continue
        dtype = _dtype_called(given)
        if dtype is None or not jnp.issubdtype(dtype, jnp.floating):
            raise TypeError(
                f"{caller}: expected {name} as a real floating-point dtype, such as jnp.float32 or "
                f"jnp.bfloat16, got {repr(given) if dtype is None else dtype.name}."
            )


def _dtype_called(name: Any) -> np.dtype | None:
    """The dtype that a name or class refers to; None if there is none, or for an array."""
    if name is None or isinstance(name, (jax.Array, np.ndarray, np.generic)):
        return None
    try:
        return np.dtype(name)
    except TypeError:
        return None


def check_initializer(name: str, value: Any) -> None:
    """Raises a TypeError unless `value` is callable, as an initialiser is."""
    if not callable(value):
        raise TypeError(
            f"{name}: expected an initialiser, such as jax.nn.initializers.orthogonal(), got "
            f"{value!r}."
        )


def drawn_by(init: Callable[..., Any], key: Any, shape: tuple[int, ...], dtype: Any) -> Any:
    """Draws an array with an initialiser, `init(key, shape, dtype)`, and checks its shape.

    Raises:
      TypeError: if the result is not an array: `init` may be a factory of initialisers.
      ValueError: if the result has another shape.
    """
    array = init(key, shape, dtype)
    if not hasattr(array, "shape"):
        raise TypeError(
            "expected an initialiser, such as jax.nn.initializers.orthogonal(), got a function "
            f"that returns {type(array).__name__} instead of an array."
        )
    if array.shape != shape:
        raise ValueError(
            f"expected an initialiser that returns the shape it is given, {list(shape)}, got "
            f"{list(array.shape)}."
        )
    return array


def check_leaves(name: str, tree: Any) -> None:
    """Raises a TypeError that names the leaf, unless JAX can compute with all leaves of a tree."""
    if all(isinstance(leaf, jax.Array) for leaf in jax.tree.leaves(tree)):
        return  # the usual case: paths are needed for an error only
    for path, leaf in jax.tree_util.tree_leaves_with_path(tree):
        check_array(f"{name}{jax.tree_util.keystr(path)}", leaf)


def check_array(name: str, value: Any) -> None:
    """Raises a TypeError unless `value` is an array or a number that JAX can compute with."""
    try:
        jax.typeof(value)
    except TypeError as error:
        came = f"an array of {value.dtype}" if hasattr(value, "dtype") else type(value).__name__
        raise TypeError(f"{name}: expected an array of numbers or flags, got {came}.") from error


def check_params(caller: str, params: Any, record: type) -> None:
    """Raises a TypeError unless `params` are of the type that `init` returns."""
    if not isinstance(params, record):
        raise TypeError(
            f"{caller}: expected params as {record.__name__}, got {type(params).__name__}. "
            f"{PARAMS_REMEDY}"
        )


def check_ids(caller: str, ids: Any, size: int | None = None) -> list[int]:
    """Returns `ids` as a list of ints, and checks that they are in a vocabulary of `size`.

    With `size=None` any id is allowed.

    Raises:
      TypeError: if they are not a sequence of whole numbers.
      ValueError: if an id is outside the vocabulary.
    """
    array = np.asarray(ids)
    if array.ndim != 1 or (array.size and array.dtype.kind not in "iu"):
        raise TypeError(f"{caller}: expected a sequence of whole numbers, got {ids!r}.")
    if size is not None and (outside := array[(array < 0) | (array >= size)].tolist()):
        raise ValueError(
            f"{caller}: expected ids from 0 to {size - 1}, the size of the vocabulary less 1, got "
            f"{outside}."
        )
    return array.astype(int).tolist()


def check_rate(caller: str, name: str, rate: Any) -> float:
    """Returns a dropout rate as a float.

    Raises:
      ValueError: if it is not a number in [0, 1).
    """
    if not is_number(rate) or not 0 <= rate < 1:
        which = "" if is_number(rate) else f" of type {type(rate).__name__}, not a float"
        raise ValueError(f"{caller}: expected {name} in [0, 1), got {rate!r}{which}.")
    return float(rate)


def check_cell(cell: Any, caller: str) -> None:
    """Raises a TypeError unless `cell` is a cell."""
    if isinstance(cell, Cell):
        return
    if hasattr(cell, "batch_axes"):
        raise TypeError(f"{caller}: expected a cell, got a layer, which already runs over time.")
    hint = (
        " Convert cells of other libraries with recur.interop; a module without a carry belongs in "
        "recur.readin, recur.readout or recur.chain."
    )
    raise TypeError(
        f"{caller}: expected a cell, such as recur.lstm(64) or recur.cell(...), got "
        f"{type(cell).__name__}.{hint if callable(cell) else ''}"
    )


def check_step_result(result: Any) -> None:
    """Raises a TypeError unless a step returns a pair."""
    if not isinstance(result, tuple) or len(result) != 2:
        raise TypeError(
            f"step: expected a tuple (carry, y), got {describe(result)}. The order is that of "
            "jax.lax.scan: return carry, y."
        )


def check_step_carry(before: Any, after: Any) -> None:
    """Raises a ValueError if a step changes the structure, shapes or dtypes of the carry."""
    expected, came = jax.eval_shape(lambda *trees: trees, before, after)
    if signature(expected) != signature(came):
        raise ValueError(
            "step: expected the next carry to have the structure, shapes and dtypes of the carry "
            f"before it, {describe(expected)}, got {describe(came)}. Make init_carry return the "
            "carry as the step does, or cast it in the step."
        )


def check_optimizer(optimizer: Any) -> None:
    """Raises a TypeError unless `optimizer` is an Optax transformation."""
    if not (hasattr(optimizer, "init") and hasattr(optimizer, "update")):
        raise TypeError(
            "optimizer: expected an Optax transformation, such as optax.adam(1e-3), got "
            f"{type(optimizer).__name__}."
        )
