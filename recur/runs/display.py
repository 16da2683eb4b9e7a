"""Output to the terminal, whose errors never end a run."""

from __future__ import annotations

import contextlib
import sys
from typing import Any


class Display:
    """A text stream that replaces characters its encoding lacks, and ignores errors of writing.

    Args:
      stream: such as `sys.stdout`.
    """

    def __init__(self, stream: Any):
        self._stream = stream

    def write(self, text: str) -> int:
        """Writes a text as far as possible."""
        encoding = getattr(self._stream, "encoding", None) or "utf-8"
        with contextlib.suppress(OSError):  # a closed pipe, as with `| head`, or a full disk
            self._stream.write(text.encode(encoding, "replace").decode(encoding))
        return len(text)

    def flush(self) -> None:
        """Flushes the stream."""
        with contextlib.suppress(OSError):
            self._stream.flush()

    def __getattr__(self, name: str) -> Any:
        return getattr(self._stream, name)


def display_safely() -> None:
    """Wraps standard output and error in a `Display`."""
    sys.stdout, sys.stderr = (
        stream and Display(stream)  # None if there is no terminal
        for stream in (sys.stdout, sys.stderr)
    )
