"""Turns the conventions of recur's docstrings into reStructuredText, before napoleon reads them."""

from __future__ import annotations

from typing import Any

SECTIONS = {"Args:", "Attributes:", "Returns:", "Raises:", "Example:", "References:"}
INDENT = "    "


def mark_equations(lines: list[str]) -> list[str]:
    """Marks indented blocks before the first section, which are equations, as literal blocks."""
    found: list[str] = []
    is_within = False
    for number, line in enumerate(lines):
        if line.strip() in SECTIONS:
            return found + lines[number:]
        if line.startswith(INDENT) and not is_within:
            found += [".. code-block:: text", ""]
        if line.strip():  # a blank line does not end a block
            is_within = line.startswith(INDENT)
        found.append(line)
    return found


def list_references(lines: list[str]) -> list[str]:
    """Makes a list of the references, each of which ends in its link."""
    if "References:" not in lines:
        return lines
    start = lines.index("References:") + 1
    found, is_first = lines[:start], True
    for line in filter(None, map(str.strip, lines[start:])):
        found.append(("  * " if is_first else INDENT) + line)
        is_first = "http" in line.rsplit(" ", 1)[-1]
    return [*found, ""]


def process(app: Any, what: str, name: str, value: Any, options: Any, lines: list[str]) -> None:
    """Rewrites a docstring in place."""
    lines[:] = list_references(mark_equations(lines))


def strip_ends(app: Any, name: str, source: list[str]) -> None:
    """Removes the blank line with which an example ends for doctest."""
    source[0] = source[0].replace("\n\n```\n", "\n```\n")


def setup(app: Any) -> dict[str, bool]:
    """Registers with Sphinx; napoleon, which follows, has the priority 500."""
    app.connect("source-read", strip_ends)
    app.connect("autodoc-process-docstring", process, priority=400)
    return {"parallel_read_safe": True, "parallel_write_safe": True}
