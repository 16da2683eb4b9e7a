"""Files of the scripts: written atomically, and checked when they are read."""

from __future__ import annotations

import contextlib
import json
import os
import pathlib
import types
import typing
import zipfile
from collections.abc import Iterator, Sequence
from typing import IO, Any

import numpy as np

from recur.files import NO_ROOM, replacing
from recur.train import read_json_lines

MAKE_ROOM = "Make room, or name another folder."


@contextlib.contextmanager
def writing(path: pathlib.Path, mode: str = "w") -> Iterator[IO[Any]]:
    """Opens a file for atomic writing; an OSError names the file and the remedy."""
    try:
        with replacing(path, mode) as file:
            yield file
    except OSError as error:
        reason = os.strerror(error.errno) if error.errno else str(error)
        remedy = MAKE_ROOM if error.errno in NO_ROOM else ""
        raise OSError(f"{path}: it could not be written ({reason}). {remedy}".strip()) from error


def write_text(path: pathlib.Path, text: str) -> None:
    """Writes a text file in UTF-8."""
    with writing(path) as file:
        file.write(text)


def write_picture(path: pathlib.Path, figure: Any) -> None:
    """Writes a figure in the format of its suffix."""
    with writing(path, "wb") as file:
        figure.savefig(file, format=path.suffix[1:])


def write_json(path: pathlib.Path, value: Any) -> None:
    """Writes a value as JSON; paths become strings."""
    write_text(path, json.dumps(value, indent=1, default=str) + "\n")


def read_json(path: pathlib.Path, kind: type = dict) -> Any:
    """Reads a value that `write_json` wrote.

    Raises:
      ValueError: if it is not JSON, or of another kind.
    """
    try:
        value = json.loads(path.read_text("utf-8"))
    except (ValueError, RecursionError) as error:
        raise ValueError(f"{path}: expected JSON, got a damaged file ({error}).") from error
    if type(value) is not kind:
        raise ValueError(f"{path}: expected JSON of a {kind.__name__}, got {type(value).__name__}.")
    return value


def is_of(hint: Any, value: Any) -> bool:
    """Whether a JSON value matches a type hint, such as `int | None`."""
    parts = typing.get_args(hint)
    if typing.get_origin(hint) is typing.Literal:
        return value in parts
    if typing.get_origin(hint) in (typing.Union, types.UnionType):
        return any(is_of(part, value) for part in parts)
    if typing.get_origin(hint) is tuple:
        return isinstance(value, list) and all(is_of(parts[0], each) for each in value)
    if hint is pathlib.Path:
        return isinstance(value, str) and "\0" not in value
    return type(value) is hint or (hint is float and type(value) is int)


def read_metrics(path: pathlib.Path, *names: str) -> list[dict[str, float]]:
    """Reads the records of a log, which must have a step and numbers of the given names.

    Raises:
      ValueError: if a record lacks one, or has a value that is not a number; it names the line.
    """
    records = read_json_lines(path)
    for number, record in enumerate(records, start=1):
        for name in ("step", *names, *record):
            if not _is_number(record.get(name)):
                raise ValueError(
                    f"{path}, line {number}: expected a number as {name}, got "
                    f"{record.get(name)!r:.60}. Correct or remove the line."
                )
    return records


def _is_number(value: Any) -> bool:
    return isinstance(value, float) or (isinstance(value, int) and abs(value) < 2**63)


def write_arrays(path: pathlib.Path, arrays: Sequence[Any]) -> None:
    """Writes arrays as an .npz file."""
    with writing(path, "wb") as file:
        np.savez(file, *arrays)


def read_arrays(path: pathlib.Path, like: Sequence[Any]) -> list[np.ndarray]:
    """Reads arrays that `write_arrays` wrote, with no more memory than arrays like these need.

    Args:
      path: the file.
      like: objects with the expected shapes and dtypes.

    Raises:
      OSError: if it cannot be read.
      ValueError: if it is damaged, or holds other arrays.
    """
    try:
        with zipfile.ZipFile(path) as archive:
            return [_read_array(archive, f"arr_{n}.npy", each) for n, each in enumerate(like)]
    except OSError:
        raise
    except Exception as error:  # zipfile and NumPy raise errors of many types
        raise ValueError(
            f"{path}: expected the weights of this model, got a damaged file, or those of another "
            f"({type(error).__name__}: {error}). Train it again."
        ) from error


def _read_array(archive: zipfile.ZipFile, name: str, like: Any) -> np.ndarray:
    with archive.open(name) as entry:
        np.lib.format.read_magic(entry)
        shape, _, dtype = np.lib.format.read_array_header_1_0(entry)
        if (shape, dtype) != (like.shape, like.dtype):
            raise ValueError(f"{name} is {dtype}{list(shape)}, not {like.dtype}{list(like.shape)}")
        data = entry.read(like.size * dtype.itemsize + 1)
    return np.frombuffer(data, dtype).reshape(shape)
