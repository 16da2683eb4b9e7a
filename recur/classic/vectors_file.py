"""The file format of word vectors: written atomically, and bounded in memory by its size."""

from __future__ import annotations

import io
import math
import os
import pathlib
import zipfile
from collections.abc import Sequence

import numpy as np

from recur.files import replacing

# The concatenated words in UTF-8, the end of each, and their vectors.
_NAMES = ("utf8", "ends", "matrix")


def write_vectors(path: str | os.PathLike, words: Sequence[str], matrix: np.ndarray) -> None:
    """Writes words and their vectors, to a temporary file that then replaces the old one.

    Raises:
      OSError: if they cannot be written.
      ValueError: if the path is a file of another kind.
    """
    if os.path.exists(path) and os.path.getsize(path) and not _is_ours(path):
        raise ValueError(
            f"{path}: expected a new file, or one that WordVectors.save wrote, got another one. "
            "Name another path."
        )
    encoded = [word.encode("utf-8", "surrogatepass") for word in words]
    utf8 = np.frombuffer(b"".join(encoded), np.uint8)
    ends = np.cumsum([len(word) for word in encoded], dtype=np.int64)
    with replacing(path, "wb") as file:  # given a name, savez would add a suffix
        np.savez(file, utf8=utf8, ends=ends, matrix=matrix)


def read_vectors(path: str | os.PathLike) -> tuple[tuple[str, ...], np.ndarray]:
    """Reads words and their vectors.

    Sizes in the file are compared with its length before memory is allocated.

    Raises:
      OSError: if the file cannot be read.
      ValueError: if it is of another kind, or damaged.
    """
    data = pathlib.Path(path).read_bytes()
    try:
        with zipfile.ZipFile(io.BytesIO(data)) as archive:
            entries = [archive.getinfo(f"{name}.npy") for name in _NAMES]
            if sum(entry.file_size for entry in entries) > len(data):
                raise ValueError(f"arrays of more than the {len(data)} bytes of the file")
            utf8, ends, matrix = (_parse(archive.read(entry)) for entry in entries)
        return _split(utf8, ends), matrix
    except Exception as error:  # zipfile and NumPy raise errors of many types
        raise ValueError(
            f"{path}: expected a file that WordVectors.save wrote, got another one, or a damaged "
            f"one ({error or type(error).__name__})."
        ) from error


def _is_ours(path: str | os.PathLike) -> bool:
    try:
        with zipfile.ZipFile(path) as archive:
            return sorted(archive.namelist()) == sorted(f"{name}.npy" for name in _NAMES)
    except zipfile.BadZipFile:
        return False


def _parse(data: bytes) -> np.ndarray:
    """Parses an `.npy` file; its header must match the number of bytes after it."""
    file = io.BytesIO(data)
    np.lib.format.read_magic(file)
    shape, _, dtype = np.lib.format.read_array_header_1_0(file)
    if not dtype.itemsize or math.prod(shape) * dtype.itemsize != len(data) - file.tell():
        raise ValueError(f"{dtype}{list(shape)} in {len(data)} bytes")
    file.seek(0)
    return np.lib.format.read_array(file, allow_pickle=False)


def _split(utf8: np.ndarray, ends: np.ndarray) -> tuple[str, ...]:
    """Splits concatenated UTF-8 into words that end at `ends`."""
    bounds = [0, *ends.tolist()]
    if utf8.dtype != np.uint8 or bounds[-1] != utf8.size or bounds != sorted(bounds):
        raise ValueError(f"words that do not end where their {utf8.size} bytes do")
    data = utf8.tobytes()
    return tuple(
        data[begin:end].decode("utf-8", "surrogatepass")
        for begin, end in zip(bounds[:-1], bounds[1:], strict=True)
    )
