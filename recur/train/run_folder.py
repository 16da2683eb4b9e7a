"""A folder that belongs to one run: marked as ours, and written by one process at a time."""

from __future__ import annotations

import datetime
import json
import os
import pathlib
import socket
from typing import Any

from recur.files import replacing

MARKER = ".recur-checkpoints"  # a file in each folder that we made
_OWNER = ".recur-writer"  # who writes


class RunFolder:
    """A folder of ours: new, empty, or with our marker in it.

    Args:
      path: of the folder; it is made when it is not there.

    Raises:
      ValueError: when it holds something else.
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
        """Makes this process the one that writes here.

        Raises:
          OSError: when another one does; it names it.
        """
        from filelock import FileLock, Timeout  # here, for only training needs it

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
        """Lets another process write here."""
        if self._lock is not None:
            self._lock.release()
            self._lock = None

    def set_aside(self, names: list[str]) -> None:
        """Moves entries into a new folder in this one, out of the way."""
        number = sum(1 for _ in self.path.glob("set-aside-*")) + 1
        aside = self.path / f"set-aside-{number}"
        aside.mkdir()
        for name in names:
            (self.path / name).rename(aside / name)

    def _writer(self) -> str:
        try:
            writer = json.loads((self.path / _OWNER).read_text("utf-8"))
            return f"process {writer['pid']} on {writer['host']}, begun {writer['since']},"
        except (OSError, ValueError, KeyError):
            return "another process"
