"""The tables of cells and combinators in the docs, as the registry has them.

`python -m recur_tests.contract.table` writes them.
"""

from __future__ import annotations

import inspect
import pathlib
import re
from collections.abc import Iterator
from types import ModuleType

import recur
from recur.combine import Stack
from recur.types import Cell
from recur_tests.contract.cases import CELLS, CellCase
from recur_tests.contract.lifts import is_linear, is_real, report

ROOT = pathlib.Path(__file__).parents[2]
PAGES = [ROOT / "README.md", *sorted((ROOT / "docs").rglob("*.md"))]
TABLES = {"cells": recur.cells, "combinators": recur.combine}
COLUMNS = ("before", "in the loop", "after", "`associative`", "`newton`, `online`")
ONE_PAPER = re.compile(r"(\S.*? \d{4}),.*?(https://\S+?)(?=[,.)]?(?:\s|$))", re.DOTALL)


def table(room: ModuleType) -> str:
    """A row for each factory of a room, and one more where an option changes what runs it.

    Of a cell also where an option changes the number of products; of a combinator those are the
    products of the cell inside.
    """
    rows = ["| | paper | " + " | ".join(COLUMNS) + " |"]
    rows += ["|---|---|" + "---|" * len(COLUMNS)]
    names = [name for name in room.__all__ if hasattr(recur, name) and name != "cell"]
    for factory in (getattr(recur, name) for name in names):
        seen: list[tuple[str, ...]] = []
        for case in (case for case in CELLS if case.factory is factory):
            counts, lifts = products(case), marks(case)
            looked_at = (*counts, *lifts) if room is recur.cells else lifts
            if looked_at not in seen:
                name = called(case) if seen else f"`{factory.__name__}`"
                paper = ", ".join(papers(factory)) if not seen else ""
                rows.append(f"| {name} | {paper} | " + " | ".join((*counts, *lifts)) + " |")
                seen.append(looked_at)
    return "\n".join(rows)


def products(case: CellCase) -> tuple[str, ...]:
    """How many products there are before, in and after the loop."""
    found = report(case.name)
    return tuple(str(len(products)) for products in (found.before, found.inside, found.after))


def marks(case: CellCase) -> tuple[str, ...]:
    """Whether the lifts run a cell that do not run all cells."""
    return tuple("yes" if runs else "" for runs in (is_linear(case), is_real(case)))


def called(case: CellCase) -> str:
    """The call that makes a row, as far as it chooses by name, and what is special inside."""
    chosen = {k: v for k, v in case.options.items() if isinstance(v, str) or v is True}
    options = ", ".join(f"{name}={value!r}" for name, value in chosen.items())
    call = f"{case.factory.__name__}({options})" if options else case.factory.__name__
    cells = [arg for arg in case.args if isinstance(arg, Cell)]
    inside = " of a stack" if any(isinstance(cell, Stack) for cell in cells) else ""
    inside = " of a linear cell" if cells and is_linear(case) else inside
    return f"`{call}`{inside}"


def papers(factory) -> Iterator[str]:
    """Links to the papers in a docstring, by authors and year."""
    _, _, references = inspect.getdoc(factory).partition("References:")
    for who, where in ONE_PAPER.findall(references):
        yield f"[{' '.join(who.split())}]({where})"


def with_tables(text: str) -> str:
    """The text of a page with each table that it has between its marks."""
    for name, room in TABLES.items():
        begin, end = f"<!-- {name} -->\n", f"\n<!-- end of {name} -->"
        if begin in text:
            before, rest = text.split(begin)
            text = before + begin + table(room) + end + rest.split(end)[1]
    return text


if __name__ == "__main__":
    for page in PAGES:
        page.write_text(with_tables(page.read_text()))
