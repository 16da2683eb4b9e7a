"""The folder of a run: one process writes in it, and a start that fails leaves none."""

from __future__ import annotations

import contextlib
import itertools
import pathlib
import shutil
from collections.abc import Iterator

from recur.train.run_folder import MARKER, RunFolder

_NEW = "a new folder"


@contextlib.contextmanager
def claimed(
    folder: pathlib.Path | None, name: str, *, goes_on: bool = False
) -> Iterator[pathlib.Path]:
    """Makes or opens the folder of a run, in which no other process writes meanwhile.

    When what is within fails before there is a line of metrics, a folder that was new is taken away
    again, so that the next try finds none.

    Args:
      folder: the folder that is asked for; the first free one of name-1, -2 ... when None.
      name: of the script's folders.
      goes_on: whether it may be that of a run, with options.json in it; otherwise it must be new.

    Raises:
      ValueError: when it holds something else.
      OSError: when another process writes there; it names it.
    """
    was_there = folder is not None and folder.exists()
    folder = folder or make_free_folder(name)
    is_new = is_new_folder(folder)
    is_run = goes_on and (folder / MARKER).exists() and (folder / "options.json").exists()
    if not is_new and not is_run:
        raise _other_files(folder, "a new folder or the folder of a run" if goes_on else _NEW)
    claim = RunFolder(folder)
    claim.lock()
    try:
        if is_new and not is_new_folder(folder):
            is_new = False
            raise ValueError(f"{folder}: another process has begun a run there. Start again.")
        yield folder
    except BaseException as error:
        is_stopped = isinstance(error, KeyboardInterrupt) and (folder / "options.json").exists()
        if is_new and not is_stopped and not _has_metrics(folder):
            _remove(folder, only_content=was_there)
        raise
    finally:
        claim.unlock()


def new_folder(folder: pathlib.Path | None, name: str) -> pathlib.Path:
    """Makes the folder that is asked for, which must be new, or the first free one of a name."""
    if folder is None:
        return make_free_folder(name)
    if not is_new_folder(folder):
        raise _other_files(folder, _NEW)
    folder.mkdir(parents=True, exist_ok=True)
    return folder


def make_free_folder(name: str) -> pathlib.Path:
    """Makes the first of name-1, -2 ... that is not there."""
    for number in itertools.count(1):
        with contextlib.suppress(FileExistsError):  # also where another process is quicker
            pathlib.Path(f"{name}-{number}").mkdir(parents=True)
            return pathlib.Path(f"{name}-{number}")


def is_new_folder(folder: pathlib.Path) -> bool:
    """Whether there is nothing in it but what a process that was killed at its start had made."""
    left = (".new", ".lock")
    return not folder.exists() or all(
        path.name.startswith(".") or path.suffix in left for path in folder.iterdir()
    )


def _has_metrics(folder: pathlib.Path) -> bool:
    return any(path.stat().st_size for path in folder.glob("*.jsonl"))


def _remove(folder: pathlib.Path, only_content: bool) -> None:
    shutil.rmtree(folder)
    if only_content:
        folder.mkdir()


def _other_files(folder: pathlib.Path, expected: str) -> ValueError:
    return ValueError(f"{folder}: expected {expected}, got one with other files. Name another.")
