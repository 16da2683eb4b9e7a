"""Cells and layers that print as the code that made them: `scan(lstm(64))`."""

from __future__ import annotations

import dataclasses
import functools
from collections.abc import Callable
from typing import Any, ParamSpec, TypeVar

import jax
import numpy as np

P = ParamSpec("P")
R = TypeVar("R")


def call_repr(factory: Callable[P, R]) -> Callable[P, R]:
    """Makes the cells or layers that a factory returns print as the call that made them."""

    @functools.wraps(factory)
    def make(*args: P.args, **kwargs: P.kwargs) -> R:
        made: Any = factory(*args, **kwargs)
        if any(made is given for given in (*args, *kwargs.values())):
            return made  # a combinator that had nothing to do
        shown = [*map(_show, args), *(f"{name}={_show(value)}" for name, value in kwargs.items())]
        return dataclasses.replace(made, call=f"{factory.__name__}({', '.join(shown)})")

    return make


def _show(value: Any) -> str:
    if isinstance(value, type):
        return value.__name__
    if isinstance(value, np.generic):
        return repr(value.item())
    if isinstance(value, jax.Array) or hasattr(value, "__array__"):
        return f"{getattr(value, 'dtype', type(value).__name__)}{list(getattr(value, 'shape', ()))}"
    if callable(value) and hasattr(value, "__qualname__"):
        return value.__qualname__.split(".<locals>")[0]
    shown = repr(value)
    if "\n" in shown:  # modules of Flax list all their fields
        return f"{type(value).__name__}({_fields_given(value)})"
    return shown


def _fields_given(value: Any) -> str:
    """The fields of a dataclass that differ from their defaults."""
    if not dataclasses.is_dataclass(value):
        return "..."
    fields = [field for field in dataclasses.fields(value) if field.init and field.repr]
    given = [(field.name, getattr(value, field.name), field.default) for field in fields]
    return ", ".join(f"{n}={_show(v)}" for n, v, default in given if v is not default)
