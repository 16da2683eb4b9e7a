"""The README's tables of cells and combinators, as the registry has them.

`python -m recur_tests.contract.table` writes them into the README.
"""

from __future__ import annotations

import inspect
import pathlib
import re
from collections.abc import Iterator
from types import ModuleType

import jax

import recur
from recur.combine import Stack
from recur.types import AffineCell, Cell, GatedCell
from recur_tests.contract.cases import CELLS, CellCase
from recur_tests.contract.lifts import LIFTS, is_real

README = pathlib.Path(__file__).parents[2] / "README.md"
TABLES = {"cells": recur.cells, "combinators": recur.combine}
LIFTED_BY = ("scan", "checkpoint", "truncate", "tree", "newton", "online", "associative")
ONE_PAPER = re.compile(r"(\S.*? \d{4}),.*?(https://\S+?)(?=[,.)]?(?:\s|$))", re.DOTALL)


def table(room: ModuleType) -> str:
    """A row for each factory of a room, and one more where an option changes what runs it."""
    rows = ["| | paper | " + " | ".join(f"`{lift}`" for lift in LIFTED_BY) + " |"]
    rows += ["|---|---|" + "---|" * len(LIFTED_BY)]
    for factory in (getattr(recur, name) for name in room.__all__ if hasattr(recur, name)):
        seen: list[list[str]] = []
        for case in (case for case in CELLS if case.factory is factory):
            marks = [mark(case, lift) for lift in LIFTED_BY]
            if marks not in seen:
                name = called(case) if seen else f"`{factory.__name__}`"
                paper = ", ".join(papers(factory)) if not seen else ""
                rows.append(f"| {name} | {paper} | " + " | ".join(marks) + " |")
                seen.append(marks)
    return "\n".join(rows)


def mark(case: CellCase, lift: str) -> str:
    """Whether and how a lift runs a cell."""
    if lift == "scan":
        kinds = {GatedCell: "fast path", AffineCell: "linear", Stack: "each of its own"}
        return kinds.get(type(case.cell), "yes")
    if lift == "online":
        return "yes" if is_real(case) else ""
    runs = any(row.runs(case) for row in LIFTS if row.factory is getattr(recur, lift))
    return "yes" if runs else ""


def called(case: CellCase) -> str:
    """The call that makes a row, as far as it chooses by name, and what kind of cell is inside."""
    chosen = {k: v for k, v in case.options.items() if isinstance(v, str) or v is True}
    options = ", ".join(f"{name}={value!r}" for name, value in chosen.items())
    call = f"{case.factory.__name__}({options})" if options else case.factory.__name__
    inside = {AffineCell: " of a linear cell", Cell: " of a plain cell", Stack: " of a stack"}
    return f"`{call}`" + next((inside[type(a)] for a in case.args if type(a) in inside), "")


def papers(factory) -> Iterator[str]:
    """Links to the papers in a docstring, by authors and year."""
    _, _, references = inspect.getdoc(factory).partition("References:")
    for who, where in ONE_PAPER.findall(references):
        yield f"[{' '.join(who.split())}]({where})"


def with_tables(text: str) -> str:
    """The text with each table between its marks."""
    for name, room in TABLES.items():
        begin, end = f"<!-- {name} -->\n", f"\n<!-- end of {name} -->"
        before, rest = text.split(begin)
        text = before + begin + table(room) + end + rest.split(end)[1]
    return text


if __name__ == "__main__":
    with jax.enable_x64(True):
        README.write_text(with_tables(README.read_text()))
