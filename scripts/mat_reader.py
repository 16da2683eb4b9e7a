"""Reads piano rolls from a MATLAB file, in a separate process: the reader of SciPy may crash.

    python scripts/mat_reader.py FILE            writes the rolls to standard output, as .npz

The arrays are named training/0, training/1 ... With an exit status of 3, the last line of standard
error says what is wrong with the file. A damaged file may state huge sizes, so memory is limited to
the size to which its bytes can be inflated.
"""

from __future__ import annotations

import io
import pathlib
import sys
from collections.abc import Iterator

import numpy as np
import scipy.io
from piano_rolls import IS_WRONG, SPLITS, check_roll

INFLATED = 1032  # the largest compression ratio of zlib
ROOM = 1 << 28  # bytes, for the reader itself


def limit_memory(size: int) -> None:
    """Limits this process to `size` bytes more than it uses, where the system supports it."""
    try:
        import resource  # not on Windows

        pages = pathlib.Path("/proc/self/statm").read_text().split()[0]  # only on Linux
    except (ImportError, OSError):
        return
    most = int(pages) * resource.getpagesize() + size
    resource.setrlimit(resource.RLIMIT_AS, (most, most))


def read_rolls(path: pathlib.Path) -> Iterator[tuple[str, np.ndarray]]:
    """Reads the rolls by name; a ValueError says what is wrong with the file."""
    data = path.read_bytes()
    limit_memory(ROOM + INFLATED * len(data))
    try:
        found = scipy.io.loadmat(io.BytesIO(data))
    except Exception as error:  # SciPy raises errors of many types
        raise ValueError(
            f"{path}: expected a MATLAB file (up to version 7) of piano rolls, which SciPy reads, "
            f"got: {str(error) or type(error).__name__}"
        ) from error
    there = [name for name in found if not name.startswith("__")]
    if missing := [name for name in SPLITS.values() if name not in found]:
        raise ValueError(
            f"{path}: expected {', '.join(SPLITS.values())}, got {there or 'nothing'}: "
            f"{', '.join(missing)} is not there."
        )
    for split, key in SPLITS.items():
        cells = np.asarray(found[key])
        if cells.dtype != object or not cells.size:
            raise ValueError(
                f"{path}: {key}: expected a cell array with a piece in each cell, got "
                f"{cells.dtype} of shape {list(cells.shape)}."
            )
        for number, cell in enumerate(cells.ravel()):
            yield f"{split}/{number}", check_roll(cell, f"{path}: {key}, piece {number + 1}")


def main(path: pathlib.Path) -> None:
    """Writes all rolls, or a message about what is wrong with the file."""
    try:
        rolls = dict(read_rolls(path))
    except ValueError as error:
        print(" ".join(str(error).split()), file=sys.stderr)
        sys.exit(IS_WRONG)
    np.savez(sys.stdout.buffer, **rolls)


if __name__ == "__main__":
    main(pathlib.Path(sys.argv[1]))
