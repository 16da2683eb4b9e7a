"""Sessions of a character server: those in memory, and files of those that were away longest.

A session is the carry of the model, the requests that are left, and the characters that its client
has not acknowledged. Both the sessions in memory and the files have a maximum number.
"""

from __future__ import annotations

import asyncio
import collections
import dataclasses
import json
import pathlib
import re
import secrets
import sys
from concurrent.futures import ThreadPoolExecutor
from typing import Any, Literal

from serve_step import Carry

from recur.text import BOUNDARY
from recur.train import load_params, read_metadata, save_params

_SAVED = ("unread", "seed", "temperature", "drawn", "left", "received", "text")


class FullError(Exception):
    """There is no room for another session."""


class UnknownSessionError(Exception):
    """There is no such session, or its file cannot be used; the message says why."""


@dataclasses.dataclass(eq=False)
class Session:
    """One text, which may be generated in several requests over several connections.

    Attributes:
      id: the name by which a client continues the session; it cannot be guessed.
      unread: tokens that the model has not read; the last one is read by the step that draws.
      carry: after the tokens that were read, while the session has no row; None initially.
      seed: of the draws.
      temperature: of the draws.
      drawn: the number of draws.
      left: characters to generate for the present request.
      received: the number of characters that the client has acknowledged.
      text: the characters after those.
      sent: the number of characters that were sent to the present connection, or acknowledged.
      row: its row of the program that generates.
      queue: where it waits.
      turn: characters since it got its row.
      is_computing: whether the programs are at work on it.
      is_stopping: whether it ends after the character that is computed.
      end: why the last request ended, until that is sent.
      connection: the WebSocket, if there is one.
      changed: set when there is something to send.
    """

    id: str = dataclasses.field(default_factory=lambda: secrets.token_hex(16))
    unread: list[int] = dataclasses.field(default_factory=lambda: [BOUNDARY])
    carry: Carry = None
    seed: int = 0
    temperature: float = 0.7
    drawn: int = 0
    left: int = 0
    received: int = 0
    text: str = ""
    sent: int = 0
    row: int | None = None
    queue: Literal["read", "row"] | None = None
    turn: int = 0
    is_computing: bool = False
    is_stopping: bool = False
    end: str | None = None
    connection: Any = None
    changed: asyncio.Event = dataclasses.field(default_factory=asyncio.Event)

    @property
    def position(self) -> int:
        """The number of characters that were generated."""
        return self.received + len(self.text)

    def acknowledge(self, received: int) -> None:
        """Forgets the text that the client has."""
        self.text = self.text[received - self.received :]
        self.received = received

    def is_away(self) -> bool:
        """Whether nobody uses it, so that it may leave the memory."""
        return not (self.connection or self.is_computing or self.queue) and self.row is None


class SessionStore:
    """All sessions.

    Args:
      folder: of the files; None to forget the sessions that leave the memory.
      most: sessions in memory; besides, at most as many wait to be written.
      most_files: saved sessions; then the oldest file is removed.
      model: the digest of the model, whose carries the files hold.
      first_carry: an example of a carry.
    """

    def __init__(
        self,
        folder: pathlib.Path | None,
        most: int,
        most_files: int,
        model: str,
        first_carry: Carry,
    ):
        self._folder, self._most, self._most_files = folder, most, most_files
        self._model, self._first_carry = model, first_carry
        self._sessions: collections.OrderedDict[str, Session] = collections.OrderedDict()
        self._writing: dict[str, Session] = {}
        self._writers = ThreadPoolExecutor(4)
        self._files: collections.OrderedDict[str, None] = collections.OrderedDict()
        if folder:
            folder.mkdir(parents=True, exist_ok=True)
            paths = sorted(folder.glob("*.safetensors"), key=lambda path: path.stat().st_mtime)
            self._files.update(dict.fromkeys(path.stem for path in paths))
            self._remove_old_files()

    def __len__(self) -> int:
        return len(self._sessions)

    def __iter__(self):
        return iter(list(self._sessions.values()))

    def new(self) -> Session:
        """Makes a session; raises a FullError if all sessions in memory are used."""
        self.make_room()
        session = Session()
        self._sessions[session.id] = session
        return session

    def find(self, name: str) -> Session:
        """Finds a session in memory or in its file.

        Raises:
          UnknownSessionError: if there is none, or its file is damaged or of another model.
          FullError: if it is in a file, and all sessions in memory are used.
        """
        if not re.fullmatch("[0-9a-f]{32}", name):
            raise UnknownSessionError("session: expected 32 hexadecimal digits.")
        if name not in self._sessions:
            self.make_room()
            self._sessions[name] = self._writing.get(name) or self._load(name)
        return self._sessions[name]

    def leave(self, session: Session) -> None:
        """Notes that a client has left: who left first is the first to leave the memory."""
        self._sessions.move_to_end(session.id)

    def make_room(self) -> None:
        """Moves a session to its file if the memory is full."""
        if len(self._sessions) < self._most:
            return
        unused = (session for session in self._sessions.values() if session.is_away())
        # A session that came back while it was written waits for that file: the newest is the last.
        away = next((session for session in unused if session.id not in self._writing), None)
        if away is None or len(self._writing) >= self._most:
            raise FullError
        del self._sessions[away.id]
        if self._folder:
            self._writing[away.id] = away
            written = asyncio.get_running_loop().run_in_executor(self._writers, self._save, away)
            written.add_done_callback(lambda done: self._note_file(away, done.exception()))

    async def save_all(self) -> None:
        """Writes all sessions to files; their carries are on the host."""
        if self._folder:
            while self._writing:
                await asyncio.sleep(0.01)
            loop, everyone = asyncio.get_running_loop(), [*self._sessions.values()]
            writes = [loop.run_in_executor(self._writers, self._save, each) for each in everyone]
            for session, error in zip(
                everyone, await asyncio.gather(*writes, return_exceptions=True), strict=True
            ):
                self._note_file(session, error)
        self._writers.shutdown()

    def _save(self, session: Session) -> None:
        saved = {name: getattr(session, name) for name in _SAVED}
        carry = self._first_carry if session.carry is None else session.carry
        metadata = {"model": self._model, "session": json.dumps(saved)}
        save_params(self._path(session.id), {"carry": carry}, metadata)

    def _load(self, name: str) -> Session:
        path = self._path(name) if self._folder else None
        if path is None or not path.exists():
            raise UnknownSessionError("session: expected a session that is known, got another.")
        try:
            metadata = read_metadata(path)
            if metadata["model"] != self._model:
                raise UnknownSessionError(
                    "session: expected a session with this model, got one with another."
                )
            saved = json.loads(metadata["session"])
            carry = load_params(path, like={"carry": self._first_carry})["carry"]
            return Session(name, carry=carry, **{field: saved[field] for field in _SAVED})
        except (KeyError, TypeError, ValueError, OSError) as error:
            raise UnknownSessionError("session: its file is damaged.") from error

    def _note_file(self, session: Session, error: BaseException | None) -> None:
        self._writing.pop(session.id, None)
        if error is not None:
            print(f"serve: a session could not be saved: {error}", file=sys.stderr)
            return
        self._files[session.id] = None
        self._files.move_to_end(session.id)
        self._remove_old_files()

    def _remove_old_files(self) -> None:
        while len(self._files) > self._most_files:
            self._path(self._files.popitem(last=False)[0]).unlink(missing_ok=True)

    def _path(self, name: str) -> pathlib.Path:
        return self._folder / f"{name}.safetensors"
