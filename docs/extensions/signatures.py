"""Shows signatures with their annotations as they are written in the source."""

from __future__ import annotations

import inspect
from typing import Any

from sphinx.util.inspect import stringify_signature


def process(
    app: Any, what: str, name: str, value: Any, options: Any, arguments: str | None, returns: Any
) -> tuple[str, str | None] | None:
    """The arguments and the type of what is returned, as autodoc asks for them.

    Classes are shown without types: their docstrings say what each argument and attribute is.
    """
    if arguments is None or what not in ("function", "method", "class"):
        return None
    signature = inspect.signature(value)
    parameters = list(signature.parameters.values())
    if what == "method" and parameters and parameters[0].name in ("self", "cls"):
        signature = signature.replace(parameters=parameters[1:])
    shown = stringify_signature(
        signature, show_annotation=what != "class", show_return_annotation=False
    )
    returned = signature.return_annotation
    is_shown = what != "class" and isinstance(returned, str)
    return shown, returned if is_shown else None


def setup(app: Any) -> dict[str, bool]:
    """Registers with autodoc."""
    app.connect("autodoc-process-signature", process)
    return {"parallel_read_safe": True, "parallel_write_safe": True}
