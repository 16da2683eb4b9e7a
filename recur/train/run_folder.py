"""The folder of one run, with a marker file, written by one process at a time."""

from __future__ import annotations

import datetime
import json
import os
import pathlib
import socket
from typing import Any

from recur.files import replacing

MARKER = ".recur-checkpoints"  # a file in each folder that recur created
_OWNER = ".recur-writer"  # the process that writes


class RunFolder:
    """A folder that is new, empty, or contains the marker file.

    Args:
      path: of the folder; it is created if it does not exist.

    Raises:
      ValueError: if it holds other files.
    """

    def __init__(self, path: str | os.PathLike):
        self.path = pathlib.Path(path).absolute()
        self._lock: Any = None
        if self.path.exists() and not self.path.is_dir():
            raise ValueError(f"{self.path}: expected a folder, got a file. Name another.")
        self.path.mkdir(parents=True, exist_ok=True)
        if (self.path / MARKER).exists():
            return
        if any(self.path.iterdir()):
            raise ValueError(
                f"{self.path}: expected a new folder, or one of checkpoints, got one that holds "
                "something else. Nothing in it was changed; name another folder."
            )
        with replacing(self.path / MARKER) as file:
            file.write("Checkpoints of recur. Files are written and deleted here.\n")

    @property
    def is_locked(self) -> bool:
        """Whether this process writes here."""
        return self._lock is not None

    def lock(self) -> None:
        """Locks the folder for this process.

        Raises:
          OSError: if another process has locked it; it names the process.
        """
        from filelock import FileLock, Timeout  # here, since only training needs it

        lock = FileLock(self.path / f"{_OWNER}.lock", timeout=0)
        try:
            lock.acquire()
        except Timeout:
            raise OSError(
                f"{self.path}: {self._writer()} is writing here. Wait until it ends, stop it, or "
                "name another folder."
            ) from None
        self._lock = lock
        now = datetime.datetime.now().isoformat(" ", "seconds")
        writer = {"pid": os.getpid(), "host": socket.gethostname(), "since": now}
        with replacing(self.path / _OWNER) as file:
            json.dump(writer, file)

    def unlock(self) -> None:
        """Unlocks the folder, so that another process can write."""
        if self._lock is not None:
            self._lock.release()
            self._lock = None

    def set_aside(self, names: list[str]) -> None:
        """Moves entries into a new subfolder."""
        number = sum(1 for _ in self.path.glob("set-aside-*")) + 1
        aside = self.path / f"set-aside-{number}"
        aside.mkdir()
        for name in names:
            (self.path / name).rename(aside / name)

    def _writer(self) -> str:
        try:
            writer = json.loads((self.path / _OWNER).read_text("utf-8"))
            return f"process {writer['pid']} on {writer['host']}, started {writer['since']},"
        except (OSError, ValueError, KeyError):
            return "another process"
