"""The `repr` of cells and layers: the call that created them, such as `scan(lstm(64))`."""

from __future__ import annotations

import dataclasses
import functools
import inspect
from collections.abc import Callable, Iterator, Mapping
from typing import Any, ParamSpec, TypeVar

import jax
import numpy as np

P = ParamSpec("P")
R = TypeVar("R")


def call_repr(factory: Callable[P, R]) -> Callable[P, R]:
    """Decorates a factory so that the `repr` of its result is the call that created it."""

    signature = inspect.signature(factory)
    parameters = signature.parameters

    @functools.wraps(factory)
    def make(*args: P.args, **kwargs: P.kwargs) -> R:
        try:
            signature.bind(*args, **kwargs)
        except TypeError as error:
            hint = " The width of the input is read by init." if "features" in parameters else ""
            raise TypeError(
                f"{factory.__name__}: {error}. It takes ({', '.join(_names(parameters))}).{hint}"
            ) from None
        made: Any = factory(*args, **kwargs)
        if any(made is given for given in (*args, *kwargs.values())):
            return made  # the combinator returned its argument
        shown = [*map(_show, args), *(f"{name}={_show(value)}" for name, value in kwargs.items())]
        return dataclasses.replace(made, call=f"{factory.__name__}({', '.join(shown)})")

    return make


def _names(parameters: Mapping[str, inspect.Parameter]) -> Iterator[str]:
    """Yields the names of parameters as in a signature, without types and defaults."""
    kinds = [parameter.kind for parameter in parameters.values()]
    has_star = inspect.Parameter.VAR_POSITIONAL in kinds
    for number, (name, parameter) in enumerate(parameters.items()):
        if parameter.kind is parameter.KEYWORD_ONLY and not has_star:
            has_star = True
            yield "*"
        yield f"*{name}" if kinds[number] is parameter.VAR_POSITIONAL else name


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
    if "\n" in shown:  # the repr of a Flax module lists all its fields
        return f"{type(value).__name__}({_fields_given(value)})"
    return shown


def _fields_given(value: Any) -> str:
    """Formats the fields of a dataclass that differ from their defaults."""
    if not dataclasses.is_dataclass(value):
        return "..."
    fields = [field for field in dataclasses.fields(value) if field.init and field.repr]
    given = [(field.name, getattr(value, field.name), field.default) for field in fields]
    return ", ".join(f"{n}={_show(v)}" for n, v, default in given if v is not default)
