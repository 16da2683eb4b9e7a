"""Checks of the data of plots."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np

from recur.checks import check_number


def check_lines(caller: str, lines: Any) -> None:
    """Raises an error unless `lines` are positions and values by name, as `curves` takes them."""
    _check_mapping(caller, lines, "lines as a mapping of names to positions and values")
    for name, line in lines.items():
        if isinstance(line, str) or not hasattr(line, "__len__") or len(line) != 2:
            raise TypeError(
                f"{caller}: expected a pair of positions and values for {name!r}, got "
                f"{type(line).__name__}."
            )
        places, values = (as_numbers(f"{caller}: {name!r}", part) for part in line)
        if places.ndim != 1 or values.ndim != 1 or len(places) != len(values):
            came = " and ".join(str(part.shape[0] if part.ndim == 1 else list(part.shape))
                                for part in (places, values))  # fmt: skip
            raise ValueError(
                f"{caller}: expected as many positions as values for {name!r}, got {came}."
            )


def check_panels(panels: Any, levels: Any) -> None:
    """Raises an error unless there are panels, and all levels belong to one of them."""
    _check_mapping("panels", panels, "panels as a mapping of titles to lines")
    _check_mapping("panels", levels, "levels as a mapping of titles to levels")
    if not panels or not set(levels) <= set(panels):
        raise ValueError(
            "panels: expected at least one panel, and levels only of these panels, got panels "
            f"{list(panels)} and levels of {list(levels)}."
        )
    for lines in panels.values():
        check_lines("panels", lines)
    for title, of_panel in levels.items():
        _check_mapping("panels", of_panel, f"levels of {title!r} as a mapping of names to numbers")
        for name, level in of_panel.items():
            check_number(f"panels: the level {name!r}", level)


def check_points(points: Any, labels: Any, size: Any) -> None:
    """Raises an error unless there are points `[N, 2]`, and a label for each."""
    array = as_numbers("scatter: points", points)
    if isinstance(labels, str) or not hasattr(labels, "__len__"):
        raise TypeError(
            f"scatter: expected labels as a sequence of strings, got {type(labels).__name__}."
        )
    if array.ndim != 2 or array.shape[1] != 2 or not 0 < len(array) == len(labels):
        raise ValueError(
            "scatter: expected points of shape [N, 2] and N labels, got points of shape "
            f"{list(array.shape)} and {len(labels)} labels."
        )
    if check_number("scatter: size", size) <= 0:
        raise ValueError(f"scatter: size: expected a number above 0, got {size!r}.")


def check_confusion(counts: Any, names: Any) -> np.ndarray:
    """Returns counts `[V, V]` as floats; raises an error unless there is a name for each class."""
    table = as_numbers("confusion: counts", counts)
    if isinstance(names, str) or not hasattr(names, "__len__"):
        raise TypeError(
            f"confusion: expected names as a sequence of strings, got {type(names).__name__}."
        )
    if table.ndim != 2 or not 0 < len(names) == table.shape[0] == table.shape[1]:
        raise ValueError(
            "confusion: expected counts of shape [V, V] and V names, got counts of shape "
            f"{list(table.shape)} and {len(names)} names."
        )
    if not (np.isfinite(table) & (table >= 0)).all():
        raise ValueError("confusion: expected finite counts of at least 0, got others.")
    return table


def check_weighted(examples: Any) -> list[tuple[str, Any, np.ndarray]]:
    """Returns examples of title, steps and weights; steps as a list of strings or an array."""
    if isinstance(examples, str | Mapping) or not hasattr(examples, "__len__"):
        raise TypeError(
            "step_weights: expected examples as a sequence of (title, steps, weights), got "
            f"{type(examples).__name__}."
        )
    if not len(examples):
        raise ValueError("step_weights: expected at least one example, got none.")
    checked = []
    for number, example in enumerate(examples):
        caller = f"step_weights: example {number}"
        if not isinstance(example, tuple | list) or len(example) != 3:
            raise TypeError(f"{caller}: expected (title, steps, weights), got {example!r:.60}.")
        title, steps, given = example
        weights = as_numbers(f"{caller}: weights", given)
        is_text = isinstance(steps, tuple | list) and all(isinstance(s, str) for s in steps)
        steps = list(steps) if is_text else as_numbers(f"{caller}: steps", steps)
        shape = (len(steps),) if isinstance(steps, list) else steps.shape
        if not 1 <= len(shape) <= 4 or (len(shape) == 4 and shape[3] != 1):
            raise ValueError(
                f"{caller}: expected steps as strings, or numbers [T], [T, D], [T, H, W] or "
                f"[T, H, W, 1], got the shape {list(shape)}."
            )
        if not 0 < shape[0] == weights.size == len(np.atleast_1d(weights)):
            raise ValueError(
                f"{caller}: expected a weight for each step, got {shape[0]} steps and weights of "
                f"shape {list(weights.shape)}."
            )
        if not np.isfinite(weights).all():
            raise ValueError(f"{caller}: expected finite weights, got others.")
        checked.append((str(title), steps, weights))
    return checked


def check_fans(history: Any, fans: Any, future: Any, lines: Any) -> tuple[Any, ...]:
    """Returns the arguments of `forecast_fan` as floats; raises an error unless they fit."""
    _check_mapping("forecast_fan", fans, "fans as a mapping of names to paths [N, S]")
    _check_mapping("forecast_fan", lines, "lines as a mapping of names to values [S]")
    if not fans or not set(lines) <= set(fans):
        raise ValueError(
            f"forecast_fan: expected at least one fan, and lines only of these fans, got fans "
            f"{list(fans)} and lines of {list(lines)}."
        )
    past = as_numbers("forecast_fan: history", history)
    paths = {name: as_numbers(f"forecast_fan: {name!r}", each) for name, each in fans.items()}
    steps = next(iter(paths.values())).shape[-1:]
    for name, each in paths.items():
        if each.ndim != 2 or not each.size or each.shape[1:] != steps:
            raise ValueError(
                f"forecast_fan: expected paths [N, S] with the same S for all, got "
                f"{list(each.shape)} for {name!r}."
            )
        if not np.isfinite(each).all():
            raise ValueError(f"forecast_fan: expected finite paths, got others for {name!r}.")
    came = None if future is None else as_numbers("forecast_fan: future", future)
    drawn = {name: as_numbers(f"forecast_fan: {name!r}", each) for name, each in lines.items()}
    shapes = {name: each.shape for name, each in drawn.items()}
    for name, shape in (shapes if came is None else {"future": came.shape, **shapes}).items():
        if shape != steps:
            raise ValueError(
                f"forecast_fan: expected {name} of shape {list(steps)}, as the paths have, got "
                f"{list(shape)}."
            )
    if past.ndim != 1 or not np.isfinite(past).any():
        raise ValueError(
            f"forecast_fan: expected a history [T] with a value, got the shape {list(past.shape)}."
        )
    return past, paths, came, drawn


def _check_mapping(caller: str, value: Any, expected: str) -> None:
    if not isinstance(value, Mapping):
        raise TypeError(f"{caller}: expected {expected}, got {type(value).__name__}.")


def as_numbers(name: str, value: Any) -> np.ndarray:
    """Returns numbers as an array of floats."""
    try:
        return np.asarray(value, float)
    except (TypeError, ValueError) as error:
        raise TypeError(f"{name}: expected numbers, got {type(value).__name__}.") from error
