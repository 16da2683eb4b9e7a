"""Checks of how a function is called: its keywords, its number of arguments."""

from __future__ import annotations

import difflib
import functools
import inspect
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any, ParamSpec, TypeVar

P = ParamSpec("P")
R = TypeVar("R")

_COMMON_MISTAKES = {"lengths": "length", "valid": "mask", "masks": "mask", "resets": "reset"}


def suggests_keywords(function: Callable[P, R]) -> Callable[P, R]:
    """Decorates a function so that an unknown keyword raises an error that suggests a valid one."""
    parameters = inspect.signature(function).parameters
    names = [name for name, p in parameters.items() if p.kind is p.KEYWORD_ONLY]

    @functools.wraps(function)
    def checked(*args: P.args, **kwargs: P.kwargs) -> R:
        for name in kwargs:
            if name not in parameters:
                near = difflib.get_close_matches(name, names, n=1)
                meant = _COMMON_MISTAKES.get(name) or (near[0] if near else None)
                hint = f" Did you mean {meant!r}?" if meant in names else ""
                raise TypeError(
                    f"{function.__name__}: unexpected keyword argument {name!r}.{hint} It takes "
                    f"{', '.join(names)}."
                )
        return function(*args, **kwargs)

    return checked


def check_call(factory: Callable, args: Sequence[Any], kwargs: Mapping[str, Any]) -> None:
    """Raises a TypeError with the arguments of a factory unless a call fits them."""
    signature = inspect.signature(factory)
    try:
        signature.bind(*args, **kwargs)
    except TypeError as error:
        taken = signature.parameters
        hint = " The width of the input is read by init." if "features" in taken else ""
        raise TypeError(
            f"{factory.__name__}: {error}. It takes ({', '.join(_names(taken))}).{hint}"
        ) from None


def check_takes(name: str, function: Callable, takes: Sequence[str], **options: Any) -> None:
    """Raises a TypeError unless a function can be called with these arguments and options."""
    try:
        parameters = inspect.signature(function)
    except ValueError:  # of a function in C
        return
    try:
        parameters.bind(*takes, **options)
    except TypeError:
        raise TypeError(
            f"{name}: expected a function of ({', '.join(takes)}), got one of {parameters}."
        ) from None


def _names(parameters: Mapping[str, inspect.Parameter]) -> Iterator[str]:
    """Yields the names of parameters as in a signature, without types and defaults."""
    kinds = [parameter.kind for parameter in parameters.values()]
    has_star = inspect.Parameter.VAR_POSITIONAL in kinds
    for number, (name, parameter) in enumerate(parameters.items()):
        if parameter.kind is parameter.KEYWORD_ONLY and not has_star:
            has_star = True
            yield "*"
        yield f"*{name}" if kinds[number] is parameter.VAR_POSITIONAL else name
