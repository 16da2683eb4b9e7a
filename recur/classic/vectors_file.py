"""The file of word vectors: whole at any moment, and never larger in memory than on the disk."""

from __future__ import annotations

import io
import math
import os
import pathlib
import zipfile
from collections.abc import Sequence

import numpy as np

from recur.files import replacing

# The words one after the other in UTF-8, where each of them ends, and their vectors.
_NAMES = ("utf8", "ends", "matrix")


def write_vectors(path: str | os.PathLike, words: Sequence[str], matrix: np.ndarray) -> None:
    """Writes words and their vectors, beside what is there, and puts them in its place.

    Raises:
      OSError: if they cannot be written.
      ValueError: if there is a file of another kind.
    """
    if os.path.exists(path) and os.path.getsize(path) and not _is_ours(path):
        raise ValueError(
            f"{path}: expected a new file, or one that WordVectors.save wrote, got another one. "
            "Name another path."
        )
    encoded = [word.encode("utf-8", "surrogatepass") for word in words]
    utf8 = np.frombuffer(b"".join(encoded), np.uint8)
    ends = np.cumsum([len(word) for word in encoded], dtype=np.int64)
    with replacing(path, "wb") as file:  # savez would add an ending to a bare name
        np.savez(file, utf8=utf8, ends=ends, matrix=matrix)


def read_vectors(path: str | os.PathLike) -> tuple[tuple[str, ...], np.ndarray]:
    """Reads words and their vectors.

    Sizes that the file states are compared with its length before memory is taken.

    Raises:
      OSError: if it cannot be read.
      ValueError: if it is another file, or a damaged one.
    """
    data = pathlib.Path(path).read_bytes()
    try:
        with zipfile.ZipFile(io.BytesIO(data)) as archive:
            entries = [archive.getinfo(f"{name}.npy") for name in _NAMES]
            if sum(entry.file_size for entry in entries) > len(data):
                raise ValueError(f"arrays of more than the {len(data)} bytes of the file")
            utf8, ends, matrix = (_parse(archive.read(entry)) for entry in entries)
        return _split(utf8, ends), matrix
    except Exception as error:  # zipfile and NumPy raise what they stumble over
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
    """The array of an `.npy` file, whose header states as many bytes as follow it."""
    file = io.BytesIO(data)
    np.lib.format.read_magic(file)
    shape, _, dtype = np.lib.format.read_array_header_1_0(file)
    if not dtype.itemsize or math.prod(shape) * dtype.itemsize != len(data) - file.tell():
        raise ValueError(f"{dtype}{list(shape)} in {len(data)} bytes")
    file.seek(0)
    return np.lib.format.read_array(file, allow_pickle=False)


def _split(utf8: np.ndarray, ends: np.ndarray) -> tuple[str, ...]:
    """The words that end at `ends` in their joined UTF-8."""
    bounds = [0, *ends.tolist()]
    if utf8.dtype != np.uint8 or bounds[-1] != utf8.size or bounds != sorted(bounds):
        raise ValueError(f"words that do not end where their {utf8.size} bytes do")
    data = utf8.tobytes()
    return tuple(
        data[begin:end].decode("utf-8", "surrogatepass")
        for begin, end in zip(bounds[:-1], bounds[1:], strict=True)
    )
