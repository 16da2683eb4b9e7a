"""The folder of a run: locked by one process, and removed if the run fails at its start."""

from __future__ import annotations

import contextlib
import itertools
import os
import pathlib
import shutil
from collections.abc import Iterator
from typing import Any

from recur.train.run_folder import MARKER, RunFolder

OPTIONS = "options.json"  # a folder with this file is that of a run


@contextlib.contextmanager
def claimed(
    folder: pathlib.Path | None, name: str, *, may_resume: bool = False
) -> Iterator[pathlib.Path]:
    """Creates or opens the folder of a run, and locks it.

    If the block fails before it has logged metrics, a new folder is removed again, so that the
    command can be repeated.

    Args:
      folder: the folder; None for the first free one of name-1, -2 ...
      name: the prefix of default folders.
      may_resume: whether the folder may be that of an existing run; otherwise it must be new.

    Raises:
      ValueError: if it holds other files.
      OSError: if another process has locked it; it names the process.
    """
    was_there = folder is not None and folder.exists()
    folder = folder or _free_folder(name)
    is_new = is_new_folder(folder)
    is_run = may_resume and (folder / MARKER).exists() and (folder / OPTIONS).exists()
    if not is_new and not is_run:
        raise _other_files(folder, f"a new folder{' or the folder of a run' * may_resume}")
    claim = RunFolder(folder)
    claim.lock()
    try:
        if is_new and not is_new_folder(folder):
            is_new = False
            raise ValueError(f"{folder}: another process has started a run there. Start again.")
        yield folder
    except BaseException as error:
        is_stopped = isinstance(error, KeyboardInterrupt) and (folder / OPTIONS).exists()
        if is_new and not is_stopped and not _has_metrics(folder):
            _remove(folder, only_content=was_there)
        raise
    finally:
        claim.unlock()


def new_folder(folder: str | os.PathLike | None, name: str) -> pathlib.Path:
    """Creates a new folder, for files that a script writes apart from its runs.

    Args:
      folder: a folder that is empty or does not exist; None for the first free one of name-1, -2
        ...
      name: the prefix of default folders.

    Returns:
      The folder.

    Raises:
      ValueError: if it holds other files.
    """
    if folder is None:
        return _free_folder(name)
    folder = pathlib.Path(folder)
    if not is_new_folder(folder):
        raise _other_files(folder, "a new folder")
    folder.mkdir(parents=True, exist_ok=True)
    return folder


def existing(run: Any, found: Any) -> Any:
    """Returns what was read of a checkpoint of a run; raises a ValueError if it is None."""
    if found is None:
        raise ValueError(f"{run}: expected a checkpoint, got none yet. Train it longer.")
    return found


def is_new_folder(folder: pathlib.Path) -> bool:
    """Whether a folder is empty, except for files of a process that was killed at its start."""
    left = (".new", ".lock")
    return not folder.exists() or all(
        path.name.startswith(".") or path.suffix in left for path in folder.iterdir()
    )


def _free_folder(name: str) -> pathlib.Path:
    """Creates the first folder of name-1, -2 ... that does not exist."""
    for number in itertools.count(1):
        with contextlib.suppress(FileExistsError):  # also if another process creates it first
            pathlib.Path(f"{name}-{number}").mkdir(parents=True)
            return pathlib.Path(f"{name}-{number}")
    raise AssertionError


def _has_metrics(folder: pathlib.Path) -> bool:
    return any(path.stat().st_size for path in folder.rglob("*.jsonl"))


def _remove(folder: pathlib.Path, only_content: bool) -> None:
    shutil.rmtree(folder)
    if only_content:
        folder.mkdir()


def _other_files(folder: pathlib.Path, expected: str) -> ValueError:
    return ValueError(f"{folder}: expected {expected}, got one with other files. Name another.")
