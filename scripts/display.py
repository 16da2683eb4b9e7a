"""What is shown on a terminal, which never ends a run."""

from __future__ import annotations

import contextlib
import shlex
import sys
from typing import Any


class Display:
    """A stream that replaces what its encoding cannot show, and drops what cannot be written.

    Args:
      stream: of text, such as `sys.stdout`.
    """

    def __init__(self, stream: Any):
        self._stream = stream

    def write(self, text: str) -> int:
        """Shows a text as far as it can be shown."""
        encoding = getattr(self._stream, "encoding", None) or "utf-8"
        with contextlib.suppress(OSError):  # of a closed pipe, as of `| head`, or a full disk
            self._stream.write(text.encode(encoding, "replace").decode(encoding))
        return len(text)

    def flush(self) -> None:
        """Shows what was written."""
        with contextlib.suppress(OSError):
            self._stream.flush()

    def __getattr__(self, name: str) -> Any:
        return getattr(self._stream, name)


def display_safely() -> None:
    """From now on all that is printed goes through a `Display`."""
    sys.stdout, sys.stderr = (
        stream and Display(stream)  # None where there is no terminal
        for stream in (sys.stdout, sys.stderr)
    )


def command_line(script: str, *arguments: Any) -> str:
    """A command to type, its arguments quoted where they need it."""
    return shlex.join(["python", f"scripts/{script}", *map(str, arguments)])
