"""Turns links between notebooks into links between their pages.

docs/notebooks links to the folder of the notebooks. MyST follows it when it resolves a link to a
file, finds the file outside of docs/, and so no page.
"""

from __future__ import annotations

import re
from typing import Any

LINK = re.compile(r"\[([^\[\]]+)\]\((\d+_\w+)\.ipynb\)")


def process(app: Any, docname: str, source: list[str]) -> None:
    """Replaces links in the source of a notebook, as Sphinx reads it."""
    if docname.startswith("notebooks/"):
        source[0] = LINK.sub(r"{doc}`\1 <\2>`", source[0])


def setup(app: Any) -> dict[str, bool]:
    """Registers with Sphinx."""
    app.connect("source-read", process)
    return {"parallel_read_safe": True, "parallel_write_safe": True}
