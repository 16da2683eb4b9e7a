"""Continuous batching: which sessions read and generate in the next step of a character server.

Between two steps sessions get rows and leave them. A session first reads its prompt, in pieces and
in another program, while others generate. Then it generates in a row. It pauses while its client
has not acknowledged a window of characters. If others wait, they get the rows of sessions that
pause, and then of those that had their turn.
"""

from __future__ import annotations

import collections
from collections.abc import Iterable
from typing import NamedTuple

from serve_sessions import Session
from serve_step import Carry, Draw, Steps

from recur.text import BOUNDARY, Characters


class Plan(NamedTuple):
    """What the programs compute next: pieces of prompts, and a draw for each row that generates."""

    reading: list[tuple[Session, list[int]]]
    drawing: dict[int, Session]


class Results(NamedTuple):
    """What they computed: a carry for each piece that was read, and the token of each row."""

    carries: list[Carry]
    tokens: dict[int, int]


class Scheduler:
    """Shares the rows of the compiled programs between sessions.

    `plan` and `deliver` are called in turn, and `run` between them, in another thread.

    Args:
      steps: the compiled programs.
      vocabulary: of the model.
      window: characters that may be unacknowledged.
      turn: characters after which a session leaves its row if others wait.
    """

    def __init__(self, steps: Steps, vocabulary: Characters, window: int, turn: int):
        self._steps, self._window, self._turn = steps, window, turn
        self._text_of = ["", *" ", *vocabulary.characters]
        self._rows: list[Session | None] = [None] * steps.rows
        self._readers: collections.deque[Session] = collections.deque()
        self._waiting: collections.deque[Session] = collections.deque()

    def counts(self) -> dict[str, int]:
        """The numbers of sessions that generate and that wait."""
        running = sum(self.can_run(session) for session in self._rows if session)
        return {"generating": running, "waiting": len(self._readers) + len(self._waiting)}

    def can_run(self, session: Session) -> bool:
        """Whether a session has characters to generate, and its client has read enough."""
        return session.left > 0 and len(session.text) < self._window

    def schedule(self, session: Session) -> None:
        """Puts a session into the queue where it belongs, if it is in none and can run."""
        if session.queue or session.is_computing or not self.can_run(session):
            return
        if len(session.unread) > 1:
            session.queue = "read"
            self._readers.append(session)
        elif session.row is None:
            session.queue = "row"
            self._waiting.append(session)

    def stop(self, session: Session) -> None:
        """Ends the request of a session, at once or after the character that is computed."""
        if session.is_computing:
            session.is_stopping = True
        elif session.left:
            _end(session, "stop")

    def plan(self) -> Plan:
        """Gives rows to sessions, and returns what to compute; nothing if both parts are empty."""
        self._move_sessions()
        reading = []
        while self._readers and len(reading) < self._steps.read_rows:
            session = self._readers.popleft()
            session.queue = None
            if self.can_run(session):
                reading.append((session, session.unread[:-1][: self._steps.chunk]))
        drawing = {
            row: session
            for row, session in enumerate(self._rows)
            if session and self.can_run(session) and len(session.unread) == 1
        }
        for session in (*(session for session, _ in reading), *drawing.values()):
            session.is_computing = True
        return Plan(reading, drawing)

    def run(self, plan: Plan) -> Results:
        """Runs the compiled programs; it changes no session."""
        carries, tokens = [], {}
        if plan.reading:
            sessions, pieces = zip(*plan.reading, strict=True)
            carries = self._steps.read_prompts([session.carry for session in sessions], pieces)
        if plan.drawing:
            draws = {
                row: Draw(session.unread[0], session.seed, session.drawn, session.temperature)
                for row, session in plan.drawing.items()
            }
            tokens = self._steps.generate(draws)
        return Results(carries, tokens)

    def deliver(self, plan: Plan, results: Results) -> None:
        """Hands what was computed to the sessions."""
        for (session, piece), carry in zip(plan.reading, results.carries, strict=True):
            session.carry, session.is_computing = carry, False
            del session.unread[: len(piece)]
            if session.is_stopping:
                _end(session, "stop")
            self.schedule(session)
        for row, session in plan.drawing.items():
            session.is_computing = False
            self._add_token(session, results.tokens[row])

    def leave_rows(self, sessions: Iterable[Session]) -> None:
        """Takes sessions out of their rows, with their carries."""
        leaving = [session for session in sessions if session.row is not None]
        if leaving:
            carries = self._steps.take([session.row for session in leaving])
            for session, session.carry in zip(leaving, carries, strict=True):
                self._rows[session.row], session.row = None, None

    def _add_token(self, session: Session, token: int) -> None:
        session.unread = [token]
        session.drawn += 1
        session.turn += 1
        session.left -= 1
        if token == BOUNDARY:  # the next text starts from the initial carry
            self._rows[session.row] = None
            session.row = None
            _end(session, "text")
            return
        session.text += self._text_of[token]
        session.changed.set()
        if session.is_stopping or not session.left:
            _end(session, "stop" if session.is_stopping else "characters")

    def _move_sessions(self) -> None:
        """Empties rows that others need, and fills them from the queue."""
        seated = [session for session in self._rows if session]
        leaving = [each for each in seated if each.queue or self._is_forgotten(each)]
        waiting = []
        for session in self._waiting:
            session.queue = None
            if self.can_run(session):
                waiting.append(session)
        missing = len(waiting) - (len(self._rows) - len(seated) + len(leaving))
        others = [session for session in seated if session not in leaving]
        idle = [session for session in others if not self.can_run(session)]
        had_turn = [each for each in others if self.can_run(each) and each.turn >= self._turn]
        evicted = (idle + sorted(had_turn, key=lambda each: -each.turn))[: max(0, missing)]
        self.leave_rows([*leaving, *evicted])
        free = [row for row, session in enumerate(self._rows) if session is None]
        arriving = dict(zip(free, waiting, strict=False))
        if arriving:
            self._steps.put({row: session.carry for row, session in arriving.items()})
        for row, session in arriving.items():
            self._rows[row], session.row, session.carry, session.turn = session, row, None, 0
        self._waiting.clear()
        for session in (*waiting[len(arriving) :], *evicted):
            self.schedule(session)

    def _is_forgotten(self, session: Session) -> bool:
        """Whether a session in a row has nothing to do, and no client."""
        return session.connection is None and not self.can_run(session)


def _end(session: Session, why: str) -> None:
    session.left, session.is_stopping, session.end = 0, False, why
    session.changed.set()
