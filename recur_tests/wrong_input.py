"""Tables of wrong inputs: a call, the error it must raise, and a part of its message."""

from __future__ import annotations

import collections
import inspect
from collections.abc import Callable, Iterable
from types import ModuleType
from typing import Any, NamedTuple

import jax.numpy as jnp
import pytest
from flax import linen as nn

import recur


class Row(NamedTuple):
    """A call of the public function `name` that must raise `error` with `sentence` in it."""

    name: str
    call: Callable[[], Any]
    error: type[Exception]
    sentence: str

    def check(self) -> None:
        with pytest.raises(self.error) as caught:
            self.call()
        assert self.sentence in str(caught.value)


def each_row(rows: Iterable[Row]) -> Any:
    """Runs a test for each row of a table."""
    rows = list(rows)
    return pytest.mark.parametrize("row", rows, ids=[row.name for row in rows])


def check_five_rows(room: ModuleType, rows: Iterable[Row], besides: Iterable[Any] = ()) -> None:
    """Checks that every public function of a room, except `besides`, has at least five rows."""
    counts = collections.Counter(row.name for row in rows)
    functions = {name for name in room.__all__ if inspect.isfunction(getattr(room, name))}
    besides = {function.__name__ for function in besides}
    assert besides <= functions
    assert {name: counts[name] for name in functions - besides if counts[name] < 5} == {}


# Values that are not cells, and a part of the message about each.
NO_CELLS = {
    "a layer": (recur.scan(recur.gru(3)), "expected a cell, got a layer, which already runs over"),
    "a number": (3, "expected a cell, such as recur.lstm(64) or recur.cell(...), got int."),
    "nothing": (None, "such as recur.lstm(64) or recur.cell(...), got NoneType."),
    "a factory": (recur.lstm, "recur.cell(...), got function. Convert cells of other libraries"),
    "a module": (nn.LSTMCell(3), "recur.cell(...), got LSTMCell. Convert cells of other"),
}
# The same for layers.
NO_LAYERS = {
    "a cell": (recur.gru(3), "expected a layer, got Cell. Lift a cell with recur.scan first."),
    "a number": (3, "expected a layer, got int. Lift a cell with recur.scan first."),
    "nothing": (None, "expected a layer, got NoneType. Lift a cell with recur.scan first."),
    "a factory": (recur.scan, "expected a layer, got function."),
    "a module": (nn.Dense(3), "expected a layer, got Dense."),
}

# By the annotation of an argument: wrong values, the error and its sentence.
WRONG: dict[str, list[tuple[Any, type[Exception], str]]] = {
    "int": [
        (value, ValueError, f"expected a whole number of at least 1, got {value!r}.")
        for value in (-1, 0, 2.0, "3", True, None, [4])
    ],
    "bool": [
        (value, TypeError, f"expected True or False, got {value!r}.")
        for value in ("no", 1, 0, None, [True])
    ],
    "float": [
        (value, ValueError, f"expected a finite number, got {value!r}.")
        for value in ("1", None, True, float("nan"), float("inf"), 1j, [1.0])
    ],
    "Initializer": [
        (
            value,
            TypeError,
            f"expected an initialiser, such as jax.nn.initializers.orthogonal(), got {value!r}.",
        )
        for value in ("orthogonal", 0.1)
    ],
    "Activation": [
        ("tanhh", ValueError, "unknown activation 'tanhh'. Known by name: celu, elu"),
        (3, TypeError, "expected a module, a function or an activation's name, got int."),
        (None, TypeError, "expected a module, a function or an activation's name, got NoneType."),
        (nn.Dense(3), TypeError, "expected a function without weights, got Dense, whose arrays"),
        (jnp.tanh(1.0), TypeError, "expected a function without weights, got ArrayImpl, whose"),
    ],
    "dtype": [
        (
            value,
            TypeError,
            f"real floating-point dtype, such as jnp.float32 or jnp.bfloat16, {s}",
        )
        for value, s in (
            (jnp.int32, "got int32."),
            (complex, "got complex128."),
            (bool, "got bool."),
            ("float33", "got 'float33'."),
            (3, "got 3."),
            (jnp.tanh(1.0), "got Array("),
        )
    ],
}


def rows_of_options(
    factory: Callable[..., Any],
    make: Callable[..., Any],
    sentences: dict[str, str] | None = None,
) -> list[Row]:
    """A row for each argument of a factory and each wrong value of its type.

    Args:
      factory: the public function.
      make: `make(**{argument: value})` calls it.
      sentences: by the name of an argument, another sentence.
    """
    rows = []
    for argument, parameter in inspect.signature(factory).parameters.items():
        kind = str(parameter.annotation).removesuffix(" | None")
        kind = "dtype" if argument.endswith("dtype") else kind
        for value, error, sentence in WRONG.get(kind, []):
            if value is None and " | None" in str(parameter.annotation):
                continue
            sentence = (sentences or {}).get(argument, sentence)
            call = lambda argument=argument, value=value: make(**{argument: value})  # noqa: E731
            rows.append(Row(factory.__name__, call, error, sentence))
    return rows
