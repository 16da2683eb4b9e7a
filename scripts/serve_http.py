"""The HTTP side of a character server: a WebSocket for each session, limits, and draining.

    GET /                              the page
    GET /health                        what the server does, as JSON; 503 while it stops
    GET /stream                        a WebSocket with a new session
    GET /stream?session=ID             ... with a session that continues
    GET /stream?session=ID&received=N  ... whose client has the first N characters

Messages are texts of JSON. The client sends

    {"generate": 100, "prompt": "To be", "temperature": 0.7, "seed": 1}   all but the first optional
    {"received": N}                                                       acknowledges characters
    {"stop": true}

and the server, where N counts the characters that the session has generated up to there,

    {"session": ID, "position": N, "generating": false}   first
    {"text": "...", "position": N}
    {"end": "characters", "position": N}                  or "stop", or "text": its end was drawn
    {"error": WHAT}                                       for a message that it cannot read

At most a window of characters is sent that the client has not acknowledged.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
import pathlib
from concurrent.futures import ThreadPoolExecutor
from typing import Any, NamedTuple

from aiohttp import WSCloseCode, WSMsgType, web
from serve_scheduler import Scheduler
from serve_sessions import FullError, Session, SessionStore, UnknownSessionError

from recur.text import Characters

MOST_ERRORS = 10  # bad messages of a connection, which is then closed
PAGE = pathlib.Path(__file__).with_name("serve_page.html")
_INLINE = "style-src 'unsafe-inline'; script-src 'unsafe-inline'; img-src data:"
_POLICY = f"default-src 'none'; connect-src 'self'; {_INLINE}"
_FIELDS = {"generate", "prompt", "temperature", "seed"}
_GONE = (ConnectionError, RuntimeError)  # what aiohttp raises for a connection that is closed


class Limits(NamedTuple):
    """The largest requests.

    Attributes:
      prompt: characters of a prompt.
      characters: of one request.
    """

    prompt: int
    characters: int


class Server:
    """Serves sessions over HTTP.

    Args:
      scheduler: of the compiled programs.
      store: of the sessions.
      vocabulary: of the model.
      limits: of requests.
    """

    def __init__(
        self, scheduler: Scheduler, store: SessionStore, vocabulary: Characters, limits: Limits
    ):
        self._scheduler, self._store = scheduler, store
        self._vocabulary, self._limits = vocabulary, limits
        self._work = asyncio.Event()
        self._tasks: set[asyncio.Task] = set()
        self._is_draining = False
        self._characters = 0
        self.app = web.Application()
        self.app.add_routes(
            [
                web.get("/", self._page),
                web.get("/health", self._health),
                web.get("/stream", self._stream),
            ]
        )

    async def generate(self) -> None:
        """Runs the compiled programs as long as there is something to compute."""
        loop = asyncio.get_running_loop()
        with ThreadPoolExecutor(1) as thread:
            while True:
                self._work.clear()
                plan = self._scheduler.plan()
                if not any(plan):
                    await self._work.wait()
                    continue
                computing = loop.run_in_executor(thread, self._scheduler.run, plan)
                try:
                    results = await asyncio.shield(computing)
                except asyncio.CancelledError:  # what was begun is delivered
                    self._scheduler.deliver(plan, await computing)
                    raise
                self._scheduler.deliver(plan, results)
                self._characters += len(results.tokens)

    async def drain(self, seconds: float) -> None:
        """Refuses new requests, and waits until the running ones have ended, or a deadline."""
        self._is_draining = True
        deadline = asyncio.get_running_loop().time() + seconds
        while any(each.connection and (each.left or each.end) for each in self._store):
            if asyncio.get_running_loop().time() >= deadline:
                return
            await asyncio.sleep(0.02)

    async def close(self) -> None:
        """Saves all sessions and closes all connections; `generate` has ended."""
        self._scheduler.leave_rows(self._store)
        await self._store.save_all()
        reason = b"the server stops; continue the session later"
        connections = [session.connection for session in self._store if session.connection]
        closing = [each.close(code=WSCloseCode.GOING_AWAY, message=reason) for each in connections]
        await asyncio.gather(*closing, return_exceptions=True)

    async def _page(self, request: web.Request) -> web.StreamResponse:
        headers = {"Content-Security-Policy": _POLICY, "Cache-Control": "no-cache"}
        return web.Response(
            body=PAGE.read_bytes(), content_type="text/html", charset="utf-8", headers=headers
        )

    async def _health(self, request: web.Request) -> web.StreamResponse:
        found = {
            "status": "draining" if self._is_draining else "serving",
            "sessions": len(self._store),
            "connected": sum(session.connection is not None for session in self._store),
            **self._scheduler.counts(),
            "characters": self._characters,
            "limits": self._limits._asdict(),
            "vocabulary": self._vocabulary.characters,
        }
        return web.json_response(found, status=503 if self._is_draining else 200)

    async def _stream(self, request: web.Request) -> web.StreamResponse:
        session = self._session_of(request)
        connection = web.WebSocketResponse(
            heartbeat=30,
            timeout=1,
            compress=False,  # it needs about 300 kB a connection
            max_msg_size=1000 + 12 * self._limits.prompt,  # a character is \ud83d\ude00 at most
        )
        before, session.connection = session.connection, connection
        session.sent = session.received
        session.changed.set()
        sender = None
        try:
            if before is not None:
                taking_over = asyncio.create_task(_take_over(before))
                self._tasks.add(taking_over)
                taking_over.add_done_callback(self._tasks.discard)
            try:
                await connection.prepare(request)
            except _GONE:
                return web.Response()
            sender = asyncio.create_task(self._send(session, connection))
            await self._receive(session, connection)
        finally:
            if sender:
                sender.cancel()
            if session.connection is connection:
                session.connection = None
                self._store.leave(session)
            self._work.set()
        return connection

    def _session_of(self, request: web.Request) -> Session:
        """The session that a request names, or a new one; refuses what cannot be served."""
        if self._is_draining:
            raise web.HTTPServiceUnavailable(
                text="The server stops. Try again in a few seconds.", headers={"Retry-After": "5"}
            )
        is_websocket = web.WebSocketResponse().can_prepare(request).ok
        name, received = request.query.get("session"), request.query.get("received")
        try:
            if name is None:
                self._store.make_room()
            session = None if name is None else self._store.find(name)
            if not is_websocket:
                raise web.HTTPUpgradeRequired(text="/stream: expected a WebSocket.")
            session = session or self._store.new()
        except FullError:
            raise web.HTTPServiceUnavailable(
                text="All sessions are in use. Try again in a few seconds.",
                headers={"Retry-After": "2"},
            ) from None
        except UnknownSessionError as error:
            raise web.HTTPNotFound(text=str(error)) from error
        if received is not None:
            least, most = session.received, session.position
            known = received.isascii() and received.isdigit() and len(received) < 20
            if not (known and least <= int(received) <= most):
                expected = f"received: expected a number from {least} to {most}, got"
                raise web.HTTPBadRequest(text=f"{expected} {received!r:.50}.")
            session.acknowledge(int(received))
            self._scheduler.schedule(session)
            self._work.set()
        return session

    async def _send(self, session: Session, connection: web.WebSocketResponse) -> None:
        """Sends what is generated; while the client does not read, it waits here."""
        begin = {"session": session.id, "position": session.sent, "generating": session.left > 0}
        try:
            await connection.send_str(json.dumps(begin))
            while True:
                await session.changed.wait()
                if session.connection is not connection:  # the new one sends from now on
                    session.changed.set()
                    return
                session.changed.clear()
                if text := session.text[session.sent - session.received :]:
                    session.sent += len(text)
                    await connection.send_str(json.dumps({"text": text, "position": session.sent}))
                is_sent = session.connection is connection and session.sent == session.position
                if session.end and is_sent:
                    end, session.end = session.end, None
                    await connection.send_str(json.dumps({"end": end, "position": session.sent}))
        except _GONE:
            return

    async def _receive(self, session: Session, connection: web.WebSocketResponse) -> None:
        """Reads the messages of a client; bad ones are answered, too many end the connection."""
        errors = 0
        async for message in connection:
            try:
                self._handle(session, message)
            except (ValueError, RecursionError) as error:
                errors += 1
                try:
                    await connection.send_str(json.dumps({"error": str(error)}))
                except _GONE:
                    return
                if errors == MOST_ERRORS:
                    reason = b"too many bad messages"
                    await connection.close(code=WSCloseCode.POLICY_VIOLATION, message=reason)
            self._work.set()

    def _handle(self, session: Session, message: Any) -> None:
        """Does what a message says; raises a ValueError if it cannot be read."""
        if message.type is not WSMsgType.TEXT:
            raise ValueError("message: expected a text of JSON, got binary data.")
        try:
            request = json.loads(message.data)
        except (ValueError, RecursionError):
            raise ValueError(f"message: expected JSON, got {message.data!r:.50}.") from None
        if not isinstance(request, dict):
            raise ValueError(f"message: expected an object, got {message.data!r:.50}.")
        if set(request) == {"received"}:
            least, most = session.received, session.sent
            session.acknowledge(_whole("received", request["received"], least, most))
            self._scheduler.schedule(session)
        elif request == {"stop": True}:
            self._scheduler.stop(session)
        elif "generate" in request and set(request) <= _FIELDS:
            self._begin(session, request)
        else:
            names = ", ".join(map(repr, request)) or "nothing"
            raise ValueError(f"message: expected generate, stop or received, got {names:.100}.")

    def _begin(self, session: Session, request: dict[str, Any]) -> None:
        """Begins to generate."""
        prompt, most = request.get("prompt", ""), self._limits.prompt
        if not isinstance(prompt, str):
            raise ValueError(f"prompt: expected a text, got {prompt!r:.50}.")
        waiting = len(session.unread) - 1  # of requests that were stopped
        if (length := len(prompt) + waiting) > most:
            rest = f" with {waiting:,} that wait to be read" if waiting else ""
            raise ValueError(f"prompt: expected at most {most:,} characters, got {length:,}{rest}.")
        if unknown := self._vocabulary.unknown_in(prompt):
            raise ValueError(f"prompt: expected characters of the model, got {unknown[:20]!r}.")
        count = _whole("generate", request["generate"], 1, self._limits.characters)
        seed = _whole("seed", request.get("seed", session.seed), 0, 2**32 - 1)
        heat = request.get("temperature", session.temperature)
        is_number = isinstance(heat, int | float) and not isinstance(heat, bool)
        if not (is_number and (heat == 0 or 0.01 <= heat <= 100)):
            raise ValueError(f"temperature: expected 0, or from 0.01 to 100, got {heat!r:.50}.")
        if session.left:
            raise ValueError("generate: expected one request at a time. Stop the present one.")
        if self._is_draining:
            raise ValueError("generate: the server stops; continue the session later.")
        session.unread += self._vocabulary.encode(prompt).tolist()
        session.seed, session.temperature = seed, float(heat)
        session.left, session.end = count, None
        self._scheduler.schedule(session)


async def _take_over(connection: web.WebSocketResponse) -> None:
    """Closes a connection whose session has another one, perhaps since its network was lost."""
    with contextlib.suppress(*_GONE):
        await connection.close(code=4001, message=b"another connection took the session over")


def _whole(name: str, value: Any, least: int, most: int) -> int:
    """Returns a value if it is a whole number in a range; raises a ValueError otherwise."""
    if type(value) is not int or not least <= value <= most:
        raise ValueError(f"{name}: expected from {least:,} to {most:,}, got {value!r:.50}.")
    return value
