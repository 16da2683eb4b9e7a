r"""Load test of serve.py: latency and throughput, and every text against the session alone.

    python scripts/serve_load.py --run runs/char_lm-1
    python scripts/serve_load.py --run DIR --clients 1 64 512 --seconds 60 240 300

It starts a server, and runs some sessions alone first: one or two requests with a prompt, a seed
and a temperature. Then many clients at once repeat these sessions, in random order. Some read
slowly, some leave in the middle and continue over another connection, some stop early. Meanwhile
others send garbage, vanish, or never read. Each text must equal that of the session alone.

Install: pip install -e ".[train,serve]". Cost: a minute and a half by default. Results are in
results/serving-*.md.
"""

from __future__ import annotations

import interrupts

if __name__ == "__main__":
    interrupts.end_at_once()

import array
import asyncio
import contextlib
import dataclasses
import json
import os
import pathlib
import random
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from typing import Annotated, Any, NamedTuple

import aiohttp
import numpy as np
from tqdm import tqdm

from recur import runs

LONG = 2000  # characters of a long prompt
SERVER = pathlib.Path(__file__).with_name("serve.py")


@dataclasses.dataclass(frozen=True)
class Options:
    """Start a server, put it under load, and compare every text with the session alone."""

    run: pathlib.Path | None = None
    """The folder of a run of char_lm.py. Default: that of serve.py."""
    clients: tuple[Annotated[int, runs.between(1, 10_000)], ...] = (1, 64, 512)
    """Clients at once, for each phase."""
    seconds: tuple[runs.Positive, ...] = (10.0, 20.0, 20.0)
    """Duration of each phase."""
    stories: Annotated[int, runs.between(1, 1000)] = 24
    """Different sessions."""
    rows: runs.Size = 64
    """As of serve.py."""
    weights: str = "float32"
    """As of serve.py."""
    seed: runs.Seed = 0
    """Seed of the stories and of the clients."""
    table: pathlib.Path | None = None
    """A file for the table."""


class Story(NamedTuple):
    """The requests of a session, and the text of all of them."""

    requests: list[dict[str, Any]]
    text: str = ""


@dataclasses.dataclass
class Measured:
    """What was measured in a phase, in seconds."""

    first: array.array = dataclasses.field(default_factory=lambda: array.array("d"))
    first_long: array.array = dataclasses.field(default_factory=lambda: array.array("d"))
    between: array.array = dataclasses.field(default_factory=lambda: array.array("d"))
    characters: int = 0
    sessions: int = 0
    continued: int = 0
    refused: int = 0
    differing: int = 0


def make_stories(count: int, letters: str, rng: random.Random) -> list[Story]:
    """Draws stories with prompts of random letters; every eighth has a long prompt."""

    def prompt(size):
        return "".join(rng.choices(letters, k=size))

    def request(size):
        heat = rng.choice([0, 0.5, 0.7, 1.0])
        seed = rng.randrange(2**32)
        given = {"prompt": prompt(size), "temperature": heat, "seed": seed}
        return {"generate": rng.randrange(50, 400), **given}

    sizes = [LONG if number % 8 == 7 else rng.randrange(0, 60) for number in range(count)]
    return [Story([request(size) for size in (size, 20)[: rng.choice([1, 2])]]) for size in sizes]


class Client:
    """One session over one or more connections."""

    def __init__(self, http: aiohttp.ClientSession, url: str, measured: Measured):
        self._http, self._url, self._measured = http, f"{url}/stream", measured
        self.text, self._session = "", None

    @contextlib.asynccontextmanager
    async def connection(self):
        """Connects, or continues the session."""
        known = {"session": self._session, "received": len(self.text)} if self._session else {}
        async with await self._connect(known) as connection:
            begin = await connection.receive_json(timeout=60)
            assert begin["position"] == len(self.text), begin
            self._session = begin["session"]
            yield connection

    async def _connect(self, known: dict[str, Any]):
        """Connects; after a refusal, since the server is full, it tries again."""
        while True:
            try:
                return await self._http.ws_connect(self._url, params=known)
            except aiohttp.WSServerHandshakeError as error:
                if error.status != 503:
                    raise
                self._measured.refused += 1
                await asyncio.sleep(float(error.headers["Retry-After"]))

    async def read(self, connection, until: int | None, pause: float = 0.0) -> bool:
        """Reads characters until a number of them; returns whether the request has ended."""
        last = None
        while until is None or len(self.text) < until:
            message = await connection.receive_json(timeout=120)
            now = time.perf_counter()
            if "end" in message:
                return True
            if "text" not in message:
                raise ValueError(f"expected text, got {message}.")
            self.text += message["text"]
            assert message["position"] == len(self.text), message
            self._measured.characters += len(message["text"])
            if last is None and self._asked:
                of = self._measured.first_long if self._is_long else self._measured.first
                of.append(now - self._asked)
            elif last and not pause:
                self._measured.between.append(now - last)
            last, self._asked = now, None
            if pause:
                await asyncio.sleep(pause)
            if pause or len(self.text) % 32 == 0 or len(message["text"]) > 8:
                await connection.send_str(json.dumps({"received": len(self.text)}))
        return False

    async def tell(self, story: Story, rng: random.Random, whole: bool) -> bool:
        """Tells a story, with or without mishaps; returns whether it was told to its end."""
        mishap = None if whole else rng.choice([None, None, "leave", "leave", "stop", "slow"])
        for number, request in enumerate(story.requests):
            is_last = number == len(story.requests) - 1
            part = rng.randrange(request["generate"])
            async with self.connection() as connection:
                self._asked = time.perf_counter()
                self._is_long = len(request["prompt"]) == LONG
                await connection.send_str(json.dumps(request))
                begun, pause = len(self.text), 0.03 * rng.random() if mishap == "slow" else 0.0
                is_partial = mishap == "leave" or (mishap == "stop" and is_last)
                until = begun + part if is_partial else None
                if await self.read(connection, until, pause):
                    continue
                if mishap == "stop":
                    await connection.send_str('{"stop": true}')
                    await self.read(connection, None)
                    return False
            await asyncio.sleep(rng.random())
            async with self.connection() as connection:
                self._measured.continued += 1
                await self.read(connection, begun + request["generate"])
        return True

    _asked: float | None = None
    _is_long = False


async def visit(http, url, stories, measured, rng, deadline) -> None:
    """One client: tells stories until a deadline, each in a new session."""
    await asyncio.sleep(rng.random())  # clients do not come in one moment
    while True:
        story, client = rng.choice(stories), Client(http, url, measured)
        is_whole = await client.tell(story, rng, whole=False)
        measured.sessions += 1
        expected = story.text if is_whole else story.text[: len(client.text)]
        measured.differing += client.text != expected
        if time.perf_counter() >= deadline:
            return


async def disturb(url: str, rng: random.Random) -> None:
    """A client that sends garbage, vanishes, or never reads, again and again."""
    host, port = url.removeprefix("http://").split(":")
    hello = (
        f"GET /stream HTTP/1.1\r\nHost: {host}\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
        "Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: AAAAAAAAAAAAAAAAAAAAAA==\r\n\r\n"
    ).encode()

    def frame(data: bytes, code: int = 1) -> bytes:
        return bytes([0x80 | code, 0x80 | 126, *len(data).to_bytes(2, "big"), 0, 0, 0, 0]) + data

    generate = frame(b'{"generate": 10000, "temperature": 1}')
    while True:
        frames = [rng.randbytes(100), frame(rng.randbytes(50), 2), frame(b"[" * 9000)]
        frames += [frame(b"x" * 60000), frame(b"{}") * 50]
        garbage = rng.choice([rng.randbytes(200), hello + rng.choice(frames)])
        sent, seconds = rng.choice([(hello + generate, 0.2), (hello + generate, 10), (garbage, 1)])
        with contextlib.suppress(OSError):
            _, writer = await asyncio.open_connection(host, int(port))
            try:
                writer.transport.pause_reading()
                writer.write(sent)
                await asyncio.sleep(seconds)
            finally:
                writer.transport.abort()


@contextlib.contextmanager
def server(options: Options) -> Iterator[tuple[str, int]]:
    """Starts a server; yields its address and its process."""
    with tempfile.TemporaryDirectory() as folder:
        command = [sys.executable, SERVER, "--port", "0", "--store", folder, "--drain", "1"]
        command += ["--rows", str(options.rows), "--weights", options.weights]
        command += ["--run", options.run] if options.run else []
        with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as process:
            try:
                line = next((line for line in process.stdout if line.startswith("Serving ")), None)
                if line is None:
                    raise ValueError("expected a server, got one that has ended; see above.")
                yield line.split()[-1], process.pid
            finally:
                process.terminate()


def usage(pid: int) -> tuple[float, float]:
    """The memory of a process in MB, and its CPU seconds; zeros where there is no /proc."""
    folder = pathlib.Path(f"/proc/{pid}")
    if not folder.exists():
        return 0.0, 0.0
    pages = int((folder / "statm").read_text().split()[1])
    ticks = (folder / "stat").read_text().rpartition(")")[2].split()[11:13]
    return pages * os.sysconf("SC_PAGE_SIZE") / 1e6, sum(map(int, ticks)) / os.sysconf("SC_CLK_TCK")


async def measure(options: Options, url: str, pid: int) -> list[dict[str, Any]]:
    """Runs all phases; returns a row of the table for each."""
    rng, table = random.Random(options.seed), []
    connector = aiohttp.TCPConnector(limit=0)
    async with aiohttp.ClientSession(connector=connector) as http:
        alone = []
        async with http.get(f"{url}/health") as answer:
            letters = (await answer.json())["vocabulary"]
        for story in tqdm(make_stories(options.stories, letters, rng), "alone", disable=None):
            client = Client(http, url, Measured())
            await client.tell(story, rng, whole=True)
            alone.append(Story(story.requests, client.text))
        for clients, seconds in zip(options.clients, options.seconds, strict=True):
            measured, (_, cpu), begun = Measured(), usage(pid), time.perf_counter()
            troubles = [asyncio.create_task(disturb(url, rng)) for _ in range(4)]
            deadline = begun + seconds
            visits = [visit(http, url, alone, measured, rng, deadline) for _ in range(clients)]
            await asyncio.gather(*visits)
            for trouble in troubles:
                trouble.cancel()
            await asyncio.gather(*troubles, return_exceptions=True)
            wall, (memory, cpu_now) = time.perf_counter() - begun, usage(pid)
            table.append(row(clients, wall, measured, memory, cpu_now - cpu))
            print(table[-1], flush=True)
    return table


def row(clients: int, wall: float, measured: Measured, memory: float, cpu: float) -> dict[str, Any]:
    """A row of the table; times in milliseconds."""

    def at(times, percent):
        return 1e3 * float(np.percentile(times, percent)) if len(times) else 0.0

    return {
        "clients": str(clients),
        "seconds": f"{wall:.0f}",
        "sessions": f"{measured.sessions:,}",
        "continued": f"{measured.continued:,}",
        "refused": f"{measured.refused:,}",
        "differing texts": str(measured.differing),
        "characters a second": f"{measured.characters / wall:,.0f}",
        "first character p50": f"{at(measured.first, 50):.1f}",
        "p95": f"{at(measured.first, 95):.1f}",
        "p99": f"{at(measured.first, 99):.1f}",
        "after a long prompt": f"{at(measured.first_long, 50):.0f}",
        "between p50": f"{at(measured.between, 50):.1f}",
        "between p95": f"{at(measured.between, 95):.1f}",
        "between p99": f"{at(measured.between, 99):.1f}",
        "server MB": f"{memory:.0f}",
        "server CPU s": f"{cpu:.0f}",
    }


def main(arguments: list[str]) -> None:
    """Runs the load test."""
    options = runs.parse_options(Options, arguments, "serve_load.py")
    if len(options.clients) != len(options.seconds):
        raise ValueError(
            f"--seconds: expected one for each of {len(options.clients)} phases, got "
            f"{len(options.seconds)}."
        )
    with server(options) as (url, pid):
        found = asyncio.run(measure(options, url, pid))
    table = runs.markdown_table(found)
    print(f"Times in milliseconds.\n\n{table}")
    if options.table:
        runs.write_text(options.table, table + "\n")
    if wrong := [row["clients"] for row in found if row["differing texts"] != "0"]:
        clients = ", ".join(wrong)
        raise ValueError(f"expected the texts of sessions alone, got others at {clients} clients.")


if __name__ == "__main__":
    runs.run_command("serve_load", main, interrupted="Nothing was saved.")
