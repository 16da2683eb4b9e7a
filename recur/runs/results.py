"""Results as a table in Markdown."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

import numpy as np


def markdown_table(
    rows: Iterable[Mapping[str, Any]],
    *,
    precision: int = 3,
    formats: Mapping[str, str] | None = None,
) -> str:
    """Formats results as a table in Markdown.

    Args:
      rows: a dict for each row, with values by column. The columns are those of all rows, in the
        order in which they first come; where a row has no value, the cell is empty.
      precision: the number of decimals of floats. Integers have commas between thousands.
      formats: format specifications by column, such as `{"accuracy": ".1%"}`, for numbers.

    Returns:
      The lines of the table, joined by newlines.

    Raises:
      TypeError: if the rows are not dicts.
      ValueError: if there are no rows.

    Example:
      >>> from recur.runs import markdown_table
      >>> rows = [{"model": "gru", "loss": 1.2345}, {"model": "lstm", "loss": 2, "updates": 1000}]
      >>> print(markdown_table(rows))
      | model | loss | updates |
      |---|---:|---:|
      | gru | 1.234 |  |
      | lstm | 2 | 1,000 |
    """
    found = type(rows).__name__
    if isinstance(rows, Iterable) and not isinstance(rows, Mapping | str):
        rows = list(rows)
        found = f"a list of {', '.join(sorted({type(row).__name__ for row in rows}))}"
    if not isinstance(rows, list) or not all(isinstance(row, Mapping) for row in rows):
        raise TypeError(f"markdown_table: expected dicts, one for each row, got {found}.")
    if not rows:
        raise ValueError("markdown_table: expected at least one row, got none.")
    columns = list(dict.fromkeys(name for row in rows for name in row))
    right = [name for name in columns if any(_is_number(row.get(name)) for row in rows)]
    lines = [columns, ["---:" if name in right else "---" for name in columns]]
    lines += [
        [_cell(row.get(name, ""), (formats or {}).get(name), precision) for name in columns]
        for row in rows
    ]
    header, rule, *body = (f"| {' | '.join(line)} |" for line in lines)
    return "\n".join([header, rule.replace(" ", ""), *body])


def _is_number(value: Any) -> bool:
    return isinstance(value, int | float | np.number) and not isinstance(value, bool)


def _cell(value: Any, form: str | None, precision: int) -> str:
    if not _is_number(value):
        return str(value).replace("|", "\\|")
    is_whole = isinstance(value, int | np.integer)
    return format(value, form or (",d" if is_whole else f".{precision}f"))
