"""Files of a run: text, JSON and figures, written atomically and checked when they are read."""

from __future__ import annotations

import contextlib
import json
import os
import pathlib
from collections.abc import Iterator
from typing import IO, Any

from recur.files import NO_ROOM, replacing

MAKE_ROOM = "Make room, or name another folder."


@contextlib.contextmanager
def writing(path: str | os.PathLike, mode: str = "w") -> Iterator[IO[Any]]:
    """Opens a file for atomic writing; an OSError names the file and the remedy."""
    try:
        with replacing(path, mode) as file:
            yield file
    except OSError as error:
        reason = os.strerror(error.errno) if error.errno else str(error)
        remedy = MAKE_ROOM if error.errno in NO_ROOM else ""
        raise OSError(f"{path}: it could not be written ({reason}). {remedy}".strip()) from error


def write_text(path: str | os.PathLike, text: str) -> None:
    """Writes a text file in UTF-8, whole or not at all.

    Args:
      path: the file; its folder must exist.
      text: its content.

    Raises:
      OSError: if it could not be written; the file is unchanged.
    """
    with writing(path) as file:
        file.write(text)


def write_figure(path: str | os.PathLike, figure: Any, **settings: Any) -> None:
    """Writes a figure of matplotlib in the format of the file's suffix, whole or not at all.

    Args:
      path: the file, such as `curve.png`; its folder must exist.
      figure: a figure, as the functions of `recur.diagnose` return it.
      **settings: further arguments of `figure.savefig`.

    Raises:
      OSError: if it could not be written; the file is unchanged.
    """
    with writing(path, "wb") as file:
        figure.savefig(file, format=pathlib.Path(path).suffix[1:], **settings)


def write_json(path: str | os.PathLike, value: Any) -> None:
    """Writes a value as JSON, whole or not at all; paths and other objects become strings.

    Args:
      path: the file; its folder must exist.
      value: of dicts, lists, strings and numbers.

    Raises:
      OSError: if it could not be written; the file is unchanged.
    """
    write_text(path, json.dumps(value, indent=1, default=str) + "\n")


def read_json(path: str | os.PathLike, kind: type = dict) -> Any:
    """Reads a value that `write_json` wrote.

    Args:
      path: the file.
      kind: the type of the value.

    Returns:
      The value.

    Raises:
      ValueError: if the file is not JSON, or of another kind.
      OSError: if it cannot be read.
    """
    try:
        value = json.loads(pathlib.Path(path).read_text("utf-8"))
    except (ValueError, RecursionError) as error:
        raise ValueError(f"{path}: expected JSON, got a damaged file ({error}).") from error
    if type(value) is not kind:
        raise ValueError(f"{path}: expected JSON of a {kind.__name__}, got {type(value).__name__}.")
    return value
