"""Intermediate values of a step, such as the gates of an LSTM, beside its output."""

from __future__ import annotations

from typing import Any, NamedTuple

from recur.call_repr import call_repr
from recur.checks import check_cell
from recur.structure.doors import reading_named
from recur.types import Cell


class NamedValues(NamedTuple):
    """The output of a cell made by `named_values`, for one step.

    Attributes:
      output: the output y of the cell.
      values: a dict from names to values. A name that the step gives several times, such as in a
        stack, has a tuple of its values in the order of the step.
    """

    output: Any
    values: dict[str, Any]


@call_repr
def named_values(cell: Cell, *names: str) -> Cell:
    """Returns intermediate values of each step beside its output: gates and candidates to look at.

    The step is not changed or written again: values that it names with `recur.name` are read from
    its trace. All cells of recur name their gates and their candidate. Params and carry are those
    of the cell, so it can be used with trained params.

    Args:
      cell: any cell.
      *names: the names of the values; all by default.

    Returns:
      A `Cell` whose output is `NamedValues`. A layer of it returns them for all steps, `[T, ...]`.

    Raises:
      TypeError: if `cell` is not a cell, or a name is not a string; while tracing, if no value of
        the step has a name that is given.

    Example:
      >>> import jax, jax.numpy as jnp, recur
      >>> from recur.diagnose import named_values
      >>> cell, xs = recur.lstm(8), jnp.ones((5, 3))
      >>> params = recur.scan(cell).init(jax.random.key(0), xs)
      >>> ys, values = recur.scan(named_values(cell))(params, xs)
      >>> {name: value.shape for name, value in values.items()}
      {'candidate': (5, 8), 'forget': (5, 8), 'input': (5, 8), 'output': (5, 8)}
      >>> bool(jnp.allclose(ys, recur.scan(cell)(params, xs), atol=1e-6))
      True
    """
    check_cell(cell, "named_values")
    for name in names:
        if not isinstance(name, str):
            raise TypeError(f"named_values: expected names as strings, got {name!r}.")
    reading = reading_named(cell.step, names, "named_values")

    def step(bound, carry, x, key=None):
        carry, y, values = reading(bound, carry, x, key)
        single = {name: v[0] if len(v) == 1 else tuple(v) for name, v in values.items()}
        return carry, NamedValues(y, single)

    return Cell(cell.init, cell.bind, cell.init_carry, step)
