"""The `repr` of cells and layers: the call that created them, such as `scan(lstm(64))`."""

from __future__ import annotations

import dataclasses
import functools
from collections.abc import Callable
from typing import Any, ParamSpec, TypeVar

import jax
import numpy as np

from recur.arguments import check_call

P = ParamSpec("P")
R = TypeVar("R")


def call_repr(factory: Callable[P, R]) -> Callable[P, R]:
    """Decorates a factory so that the `repr` of its result is the call that created it."""

    @functools.wraps(factory)
    def make(*args: P.args, **kwargs: P.kwargs) -> R:
        try:
            made: Any = factory(*args, **kwargs)
        except TypeError:
            check_call(factory, args, kwargs)
            raise
        if any(made is given for given in (*args, *kwargs.values())):
            return made  # the combinator returned its argument
        shown = [*map(show, args), *(f"{name}={show(value)}" for name, value in kwargs.items())]
        return dataclasses.replace(made, call=f"{factory.__name__}({', '.join(shown)})")

    return make


def show(value: Any) -> str:
    """Formats an argument of a call: a cell or a layer as its call, an array as its shape."""
    if isinstance(value, type):
        return value.__name__
    if isinstance(value, np.generic):
        return repr(value.item())
    if isinstance(value, jax.Array) or hasattr(value, "__array__"):
        return f"{getattr(value, 'dtype', type(value).__name__)}{list(getattr(value, 'shape', ()))}"
    if callable(value) and hasattr(value, "__qualname__"):
        return value.__qualname__.split(".<locals>")[0]
    shown = repr(value)
    if "\n" in shown:  # the repr of a Flax module lists all its fields
        return f"{type(value).__name__}({_fields_given(value)})"
    return shown


def _fields_given(value: Any) -> str:
    """Formats the fields of a dataclass that differ from their defaults."""
    if not dataclasses.is_dataclass(value):
        return "..."
    fields = [field for field in dataclasses.fields(value) if field.init and field.repr]
    given = [(field.name, getattr(value, field.name), field.default) for field in fields]
    return ", ".join(f"{n}={show(v)}" for n, v, default in given if v is not default)
