"""Options of a run: a dataclass whose numbers have valid ranges, and its file."""

from __future__ import annotations

import dataclasses
import math
import pathlib
import types
import typing
from collections.abc import Callable, Iterator, Sequence
from typing import Annotated, Any, NamedTuple, TypeVar

from recur.runs.run_files import read_json, write_json

Options = TypeVar("Options")


class Range(NamedTuple):
    """A valid range of an option, given in its type: `Annotated[int, between(1, 9)]`.

    Attributes:
      what: the range in words, such as "from 1 to 9".
      holds: whether a number is in it.
    """

    what: str
    holds: Callable[[float], bool]


def between(least: float, most: float) -> Range:
    """Makes a range with both ends.

    Args:
      least: the smallest valid number.
      most: the largest valid number.

    Returns:
      A `Range`.

    Example:
      >>> from recur.runs import between
      >>> between(1, 1000).what, between(1, 1000).holds(0)
      ('from 1 to 1,000', False)
    """
    return Range(f"from {least:,} to {most:,}", lambda number: least <= number <= most)


Size = Annotated[int, between(1, 10**6)]  # the product of three fits into 64 bits
Count = Annotated[int, between(1, 10**9)]  # 32 bits count them
Seed = Annotated[int, between(0, 2**32 - 1)]
Rate = Annotated[float, Range("from 0 to below 1", lambda number: 0 <= number < 1)]
Positive = Annotated[float, Range("above 0", lambda number: 0 < number < math.inf)]
Finite = Annotated[float, Range("a finite number", math.isfinite)]
NonNegative = Annotated[float, Range("at least 0", lambda number: 0 <= number < math.inf)]


def check_options(options: Any) -> None:
    """Checks the numbers and texts of options.

    Args:
      options: a dataclass. A field of type `Annotated[..., Range]` must be in its range, if it is a
        number.

    Raises:
      ValueError: if a number is not in its range, or a text is not valid Unicode; it names the
        option as on the command line, such as `--batch-size`.

    Example:
      >>> import dataclasses
      >>> from recur.runs import Size, check_options
      >>> @dataclasses.dataclass
      ... class Options:
      ...     batch_size: Size = 16
      >>> check_options(Options(0))
      Traceback (most recent call last):
      ...
      ValueError: --batch-size: expected from 1 to 1,000,000, got 0.
    """
    for name, hint in typing.get_type_hints(type(options), include_extras=True).items():
        value, option = getattr(options, name), f"--{name.replace('_', '-')}"
        if isinstance(value, int | float):
            for valid in _ranges(hint):
                if not valid.holds(value):
                    raise ValueError(f"{option}: expected {valid.what}, got {value}.")
        if isinstance(value, str) and any("\ud800" <= c <= "\udfff" for c in value):
            raise ValueError(f"{option}: expected text in UTF-8, got {value!r}.")


def is_options(options: Any) -> bool:
    """Whether a value is a dataclass or a dict."""
    return isinstance(options, dict) or dataclasses.is_dataclass(options)


def to_json(options: Any) -> dict[str, Any]:
    """Options as values for JSON: paths as strings."""
    fields = options if isinstance(options, dict) else dataclasses.asdict(options)
    return {name: _plain(value) for name, value in fields.items()}


def save_options(path: pathlib.Path, options: Any) -> None:
    """Saves options, except `run`, the folder they are in."""
    write_json(path, {**to_json(options), "run": None})


def load_options(path: pathlib.Path, kind: type[Options]) -> Options:
    """Loads options that `save_options` saved, of a dataclass; `run` is the folder of the file.

    Raises:
      ValueError: if the file has other options, or one has an invalid value; it names the option.
    """
    hints = typing.get_type_hints(kind)
    saved = {**read_json(path), "run": str(path.parent)}
    if set(saved) == {"run"} and set(hints) > {"run"}:
        raise ValueError(
            f"{path.parent}: expected the folder of a run with options, got one without. If it is "
            f"a part of a run, its options are in {path.parents[1]}."
        )
    saved = saved if "run" in hints else {k: v for k, v in saved.items() if k != "run"}
    for name, value in saved.items():
        if name not in hints or not is_of(hints[name], value):
            raise ValueError(
                f"{path}: expected the options of a run of this script, got {name} = "
                f"{value!r:.60}. Name another folder."
            )
    values = {name: _as_tuples(value) for name, value in saved.items()}
    options = map_paths(kind(**values), lambda name, path: pathlib.Path(path))
    try:
        check_options(options)
    except ValueError as error:
        raise ValueError(f"{path}: {error}") from error
    return options


def check_unchanged(path: pathlib.Path, options: Any, may_change: Sequence[str]) -> None:
    """Raises a ValueError if an option differs from a saved one, except those that may change."""
    saved, given = read_json(path), to_json(options)
    for name in dict.fromkeys([*saved, *given]):
        was, wanted = saved.get(name), given.get(name)
        if was != wanted and name not in ("run", *may_change):
            raise ValueError(
                f"{path.parent}: expected the {name} of the run that is there, {was}, got "
                f"{wanted}. Leave the option out to resume the run, or name another folder."
            )


def map_paths(options: Options, change: Callable[[str, Any], Any]) -> Options:
    """Options with every path changed by `change(name, path)`; a field may hold tuples of them."""

    def changed(name, value):
        if isinstance(value, tuple):
            return tuple(changed(name, each) for each in value)
        return value if value is None else change(name, value)

    values = {
        name: changed(name, getattr(options, name))
        for name, hint in typing.get_type_hints(type(options)).items()
        if _has_path(hint)
    }
    return dataclasses.replace(options, **values)  # type: ignore[type-var]


def _has_path(hint: Any) -> bool:
    return hint is pathlib.Path or any(map(_has_path, typing.get_args(hint)))


def is_of(hint: Any, value: Any) -> bool:
    """Whether a JSON value matches a type hint, such as `int | None`."""
    parts = typing.get_args(hint)
    if typing.get_origin(hint) is typing.Literal:
        return value in parts
    if typing.get_origin(hint) in (typing.Union, types.UnionType):
        return any(is_of(part, value) for part in parts)
    if typing.get_origin(hint) is tuple:
        if not isinstance(value, list):
            return False
        hints = parts[:1] * len(value) if Ellipsis in parts else parts
        return len(hints) == len(value) and all(map(is_of, hints, value))
    if hint is pathlib.Path:
        return isinstance(value, str) and "\0" not in value
    return type(value) is hint or (hint is float and type(value) is int)


def _ranges(hint: Any) -> Iterator[Range]:
    """The ranges in a type hint, at any depth."""
    for part in typing.get_args(hint):
        if isinstance(part, Range):
            yield part
        else:
            yield from _ranges(part)


def _as_tuples(value: Any) -> Any:
    """A JSON value with tuples in place of lists."""
    return tuple(map(_as_tuples, value)) if isinstance(value, list) else value


def _plain(value: Any) -> Any:
    if isinstance(value, tuple | list):
        return [_plain(each) for each in value]
    return str(value) if isinstance(value, pathlib.Path) else value
