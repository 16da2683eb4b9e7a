"""serve.py: sessions over WebSockets against generation alone, bad clients, limits and restarts."""

import asyncio
import contextlib
import functools
import json
import shutil
import socket
import subprocess
import threading

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from flax import linen as nn

import recur
from recur.decode import argmax, generate, temperature
from recur.text import BOUNDARY, UNKNOWN, Characters
from recur.train import dequantize_params

aiohttp = pytest.importorskip("aiohttp", reason="the extra serve is not installed")

SCRIPT = "serve"
BROWSERS = ("chromium", "chromium-browser", "google-chrome")


@pytest.fixture(scope="module")
def model(scripts):
    import char_lm
    import serve_step

    vocabulary = Characters("etaoin shrdlu\nETAOIN")
    options = char_lm.Options(cell="lstm", features=16, embedding=8)
    layer = char_lm.build_model(options, vocabulary)
    params = layer.init(jax.random.key(0), jnp.zeros((1, 1), jnp.int32))
    params = jax.tree.map(lambda leaf: 2 * leaf, params)  # far from uniform
    return with_end_bias(serve_step.Model(layer, params, vocabulary), -3.0)  # few texts end


def with_end_bias(model, bias):
    embed, scan, head = model.params
    head = head | {"bias": head["bias"].at[BOUNDARY].set(bias)}
    return model._replace(params=(embed, scan, head))


@pytest.fixture(scope="module")
def compiled():
    return {}


@pytest.fixture
def serve(compiled, monkeypatch, scripts):
    """The script; servers of one model and size share their compiled programs."""
    import serve

    def steps_of(model, *sizes, new=serve.Steps):
        key = id(model), sizes
        if key not in compiled:
            compiled[key] = model, new(model, *sizes)
        return compiled[key][1]

    monkeypatch.setattr(serve, "Steps", steps_of)
    return serve


SIZES = {"port": 0, "rows": 4, "read_rows": 2, "chunk": 8, "turn": 7, "window": 50, "drain": 0.0}


@contextlib.asynccontextmanager
async def serving(serve, model, **options):
    """A server, and a client's HTTP session."""
    async with (
        serve.running(serve.Options(**{**SIZES, **options}), model) as running,
        aiohttp.ClientSession() as http,
    ):
        yield running.url, http


async def until_there_is_room(ask):
    """The status or the connection that `ask` returns; a full server refuses at first."""
    for _ in range(1000):
        try:
            answer = await ask()
        except aiohttp.WSServerHandshakeError as error:
            answer = error.status
        if answer != 503:
            return answer
        await asyncio.sleep(0.01)
    raise AssertionError("there is no room")


class Client:
    """Reads the text of a session."""

    def __init__(self, http, url, session=None):
        self.http, self.url, self.session, self.text = http, url, session, ""

    @contextlib.asynccontextmanager
    async def connected(self, **params):
        if self.session:
            params = {"session": self.session, "received": len(self.text), **params}
        connect = functools.partial(self.http.ws_connect, f"{self.url}/stream", params=params)
        async with await until_there_is_room(connect) as self.socket:
            self.begin = await self.message()
            self.session = self.begin["session"]
            assert self.begin["position"] == len(self.text)
            yield self

    async def message(self):
        message = await asyncio.wait_for(self.socket.receive(), 30)
        assert message.type is aiohttp.WSMsgType.TEXT, message
        return json.loads(message.data)

    async def send(self, **request):
        await self.socket.send_str(json.dumps(request))

    async def read(self, until=None):
        """Reads to the end of the request, or to a number of characters; returns why it ended."""
        while until is None or len(self.text) < until:
            message = await self.message()
            if "end" in message:
                assert message["position"] == len(self.text)
                return message["end"]
            self.text += message["text"]
            assert message["position"] == len(self.text)
            await self.send(received=len(self.text))
        return None

    async def tell(self, **request):
        async with self.connected():
            await self.send(**request)
            return await self.read()


@pytest.fixture(scope="module")
def alone(model):
    """`alone(prompt, count, heat, seed)`: the text by `recur.decode.generate`, without a batch."""
    size = len(model.vocabulary)
    layer = recur.chain(nn.Embed(size, 8), recur.scan(recur.lstm(16)), nn.Dense(size))

    @functools.cache
    def text(prompt, count, heat, seed):
        tokens = np.zeros(64, np.int32)
        tokens[1 : 1 + len(prompt)] = model.vocabulary.encode(prompt)
        found = generate(
            layer,
            model.params,
            jnp.asarray(tokens),
            length=1 + len(prompt),
            max_tokens=60,
            eos=BOUNDARY,
            forbidden=[UNKNOWN],
            choose=temperature(heat) if heat else argmax,
            key=jax.random.key(seed),
        )
        return model.vocabulary.decode(found.tokens[: int(found.length)].tolist())[:count]

    return text


def requests(vocabulary, count):
    rng = np.random.default_rng(0)
    letters = [*vocabulary.characters]
    for number in range(count):
        prompt = "".join(rng.choice(letters, rng.integers(0, 40)))
        heat = [0.0, 0.7, 1.0, 1.5][number % 4]
        yield {"prompt": prompt, "generate": 60, "temperature": heat, "seed": int(number)}


def test_no_text_differs_from_the_session_alone(serve, model, alone):
    """Eleven sessions on four rows, that come and go, against `generate` without a batch."""
    given = [*requests(model.vocabulary, 11)]

    async def run():
        async with serving(serve, model) as (url, http):

            async def visit(number, request):
                await asyncio.sleep(0.01 * number)
                client = Client(http, url)
                return await client.tell(**request), client.text

            found = await asyncio.gather(*map(visit, range(11), given))
            return found, [(await visit(0, request)) for request in given[:4]]

    found, one_by_one = asyncio.run(run())
    assert found[:4] == one_by_one
    for request, (end, text) in zip(given, found, strict=True):
        expected = alone(*(request[k] for k in ("prompt", "generate", "temperature", "seed")))
        assert text == expected
        assert end == ("characters" if len(text) == 60 else "text")
    assert {end for end, _ in found} == {"characters", "text"}
    assert len({text for _, text in found}) > 8


def test_a_session_goes_on_over_requests_connections_and_restarts(serve, model, tmp_path):
    first = {"prompt": "to the sea", "generate": 40, "temperature": 0.8, "seed": 5}
    then = {"prompt": " and then it is", "generate": 30}

    async def whole():
        async with serving(serve, model) as (url, http):
            client = Client(http, url)
            async with client.connected():
                for request in (first, then):
                    await client.send(**request)
                    assert await client.read() == "characters"
            return client.text

    async def interrupted():
        async with serving(serve, model, window=15, store=tmp_path) as (url, http):
            client = Client(http, url)
            async with client.connected():
                await client.send(**first)
                await client.read(until=9)
            async with client.connected():
                assert client.begin["position"] == len(client.text)
                await client.read(until=20)
            held = client.text
            async with client.connected():  # its last characters were lost on the way
                await client.read(until=25)
        client.text = held + client.text[len(held) : len(held) + 5]
        async with serving(serve, model, store=tmp_path) as (url, http):
            client.url, client.http = url, http
            async with client.connected():
                assert client.begin["generating"]
                assert await client.read() == "characters"
                await client.send(**then)
                assert await client.read() == "characters"
        return client.text

    expected = asyncio.run(whole())
    assert len(expected) == 70 and asyncio.run(interrupted()) == expected


def test_saved_sessions_that_cannot_be_used_are_named(serve, model, tmp_path):
    async def save():
        async with serving(serve, model, store=tmp_path) as (url, http):
            clients = [Client(http, url) for _ in range(2)]
            for client in clients:
                await client.tell(generate=3, prompt="sea", seed=1)
            return [client.session for client in clients]

    async def refused(served, names):
        async with serving(serve, served, store=tmp_path) as (url, http):
            answers = []
            for name in names:
                async with http.get(f"{url}/stream", params={"session": name}) as answer:
                    answers.append((answer.status, await answer.text()))
            await Client(http, url).tell(generate=3)
            return answers

    damaged, kept = asyncio.run(save())
    path = tmp_path / f"{damaged}.safetensors"
    path.write_bytes(path.read_bytes()[:-7])
    assert asyncio.run(refused(model, [damaged, "f" * 32, "../etc/passwd"])) == [
        (404, "session: its file is damaged."),
        (404, "session: expected a session that is known, got another."),
        (404, "session: expected 32 hexadecimal digits."),
    ]
    other = model._replace(params=jax.tree.map(lambda leaf: leaf + 1, model.params))
    assert asyncio.run(refused(other, [kept])) == [
        (404, "session: expected a session with this model, got one with another.")
    ]


def test_a_client_that_never_reads_pauses_and_hurts_nobody(serve, model, alone):
    async def run():
        async with serving(serve, model, rows=4, window=20) as (url, http):
            idle = [Client(http, url) for _ in range(6)]
            async with contextlib.AsyncExitStack() as stack:
                for number, client in enumerate(idle):
                    await stack.enter_async_context(client.connected())
                    await client.send(generate=10_000, temperature=0, prompt="t" * number)
                reader = Client(http, url)
                end = await reader.tell(generate=60, temperature=0.7, seed=5, prompt="sea")
                for _ in range(500):
                    async with http.get(f"{url}/health") as answer:
                        health = await answer.json()
                    if health["generating"] == health["waiting"] == 0:
                        break
                    await asyncio.sleep(0.01)
            return end, reader.text, health

    end, text, health = asyncio.run(run())
    assert (end, text) == ("characters", alone("sea", 60, 0.7, 5))
    assert health["generating"] == health["waiting"] == 0
    assert health["characters"] <= 60 + 6 * 20 and health["connected"] == 6


BAD = {
    "x": "message: expected JSON, got 'x'.",
    "[" * 1500: "message: expected JSON, got '[[",
    "[1]": "message: expected an object, got '[1]'.",
    "{}": "message: expected generate, stop or received, got nothing.",
    '{"stop": 1, "go": 2}': "expected generate, stop or received, got 'stop', 'go'.",
    '{"generate": -1}': "generate: expected from 1 to 10,000, got -1.",
    '{"generate": true}': "generate: expected from 1 to 10,000, got True.",
    '{"generate": 10001}': "generate: expected from 1 to 10,000, got 10001.",
    '{"generate": 9, "prompt": 3}': "prompt: expected a text, got 3.",
    '{"generate": 9, "prompt": "été\\ud800"}': "expected characters of the model, got 'é\\ud800'.",
    '{"generate": 9, "seed": 4294967296}': "seed: expected from 0 to 4,294,967,295, got 42949",
    '{"generate": 9, "temperature": NaN}': "expected 0, or from 0.01 to 100, got nan.",
    '{"generate": 9, "temperature": "hot"}': "expected 0, or from 0.01 to 100, got 'hot'.",
    '{"generate": 9, "temperature": 1e-9}': "expected 0, or from 0.01 to 100, got 1e-09.",
    '{"received": 1}': "received: expected from 0 to 0, got 1.",
    '{"generate": 9, "prompt": "' + "s" * 101 + '"}': "expected at most 100 characters, got 101.",
    b"\x00\xff": "message: expected a text of JSON, got binary data.",
}


def test_bad_messages_are_named_and_the_session_goes_on(serve, model, alone):
    async def run():
        errors, texts = {}, []
        async with serving(serve, model, prompt=100) as (url, http):
            other = Client(http, url)
            async with other.connected():
                await other.send(generate=60, temperature=0.7, seed=5, prompt="sea")
                for bad in BAD:
                    client = Client(http, url)
                    async with client.connected():
                        send = client.socket.send_bytes if bad is BINARY else client.socket.send_str
                        await send(bad)
                        errors[bad] = (await client.message())["error"]
                        await client.send(generate=5, temperature=0, prompt="sea")
                        await client.read()
                        texts.append(client.text)
                await other.read()
            async with client.connected():
                await client.send(generate=10_000, temperature=0, prompt="")
                await client.send(generate=5)
                while "error" not in (message := await client.message()):
                    pass
                errors["busy"] = message["error"]
            return errors, texts, other.text

    [BINARY] = [bad for bad in BAD if isinstance(bad, bytes)]
    errors, texts, text = asyncio.run(run())
    assert "expected one request at a time" in errors.pop("busy")
    for bad, expected in BAD.items():
        assert expected in errors[bad], bad
    assert text == alone("sea", 60, 0.7, 5)
    assert set(texts) == {alone("sea", 5, 0, 0)}


def test_prompts_that_nobody_lets_be_read_do_not_pile_up(serve, model):
    async def run():
        async with serving(serve, model, window=20, prompt=50) as (url, http):
            client = Client(http, url)
            async with client.connected():
                await client.send(generate=100, temperature=0)
                while len(client.text) < 20:  # without an acknowledgement, so the session pauses
                    client.text += (await client.message())["text"]
                await client.send(stop=True)
                ends = [await client.message()]
                for _ in range(2):
                    await client.send(generate=5, prompt="s" * 25)
                    await client.send(stop=True)
                    ends.append(await client.message())
                await client.send(generate=5, prompt="s")
                error = (await client.message())["error"]
                await client.send(received=20)
                await client.send(generate=5)
                await client.read()
                await client.send(generate=5, prompt="s" * 50)
                return ends, error, await client.read()

    ends, error, end = asyncio.run(run())
    assert ends == [{"end": "stop", "position": 20}] * 3
    assert error == "prompt: expected at most 50 characters, got 51 with 50 that wait to be read."
    assert end == "characters"


def test_what_ends_a_connection(serve, model, alone):
    async def run():
        async with serving(serve, model, prompt=100) as (url, http):
            codes = []
            for sent, times in (("x", 10), ("x" * 3000, 1)):
                async with http.ws_connect(f"{url}/stream") as socket:
                    for _ in range(times):
                        await socket.send_str(sent)
                    async for _ in socket:
                        pass
                    codes.append(socket.close_code)
            client = Client(http, url)
            async with client.connected():
                first = client.socket
                await client.send(generate=60, temperature=0.7, seed=5, prompt="sea")
                await client.read(until=9)
                async with client.connected():  # as if the first had lost its network
                    async for _ in first:
                        pass
                    codes.append(first.close_code)
                    await client.read()
            return codes, client.text

    codes, text = asyncio.run(run())
    assert codes == [1008, 1009, 4001] and text == alone("sea", 60, 0.7, 5)


def test_stop_ends_a_request_and_the_next_one_goes_on(serve, model, alone):
    async def run():
        async with serving(serve, model) as (url, http):
            client = Client(http, url)
            async with client.connected():
                await client.send(generate=10_000, temperature=0.7, seed=5, prompt="sea")
                await client.read(until=5)
                await client.send(stop=True)
                assert await client.read() == "stop"
                stopped = len(client.text)
                await client.send(generate=60 - stopped)
                assert await client.read() == "characters"
                return client.text

    assert asyncio.run(run()) == alone("sea", 60, 0.7, 5)


def test_sessions_and_files_have_a_maximum(serve, model, alone, tmp_path):
    async def run():
        limits = {"sessions": 2, "files": 3, "store": tmp_path}
        async with serving(serve, model, **limits) as (url, http):
            one, two = Client(http, url), Client(http, url)
            async with one.connected(), two.connected():
                async with http.get(f"{url}/stream") as answer:
                    refused = answer.status, answer.headers["Retry-After"], await answer.text()
                await one.send(generate=5, temperature=0, prompt="sea")
                await one.read()
            for _ in range(2):  # both leave the memory
                await Client(http, url).tell(generate=5, temperature=0)
            async with one.connected():
                await one.send(generate=5)
                await one.read()
            for _ in range(6):
                await Client(http, url).tell(generate=1)

            async def status(**params):
                async with http.get(f"{url}/stream", params=params) as answer:
                    return answer.status

            gone = await until_there_is_room(functools.partial(status, session=two.session))
            no_websocket = await until_there_is_room(status)
            async with http.get(f"{url}/health") as answer:
                count = (await answer.json())["sessions"]
            client = Client(http, url)
            await client.tell(generate=1)
            params = {"session": client.session, "received": "2"}
            with pytest.raises(aiohttp.WSServerHandshakeError) as bad:
                await http.ws_connect(f"{url}/stream", params=params)
            return refused, gone, no_websocket, count, bad.value.status, one.text

    refused, gone, no_websocket, count, bad, text = asyncio.run(run())
    assert refused == (503, "2", "All sessions are in use. Try again in a few seconds.")
    assert (gone, no_websocket, bad) == (404, 426, 400) and count <= 2
    assert text == alone("sea", 10, 0, 0)
    assert len([*tmp_path.glob("*.safetensors")]) <= 3


def test_the_last_file_of_a_session_is_the_newest(scripts, tmp_path, monkeypatch):
    import serve_sessions

    written, save = threading.Event(), serve_sessions.save_params

    def slow_save(*arguments):
        written.wait(30)
        save(*arguments)

    async def run():
        store = serve_sessions.SessionStore(tmp_path, 1, 9, "model", np.zeros(2))
        first = store.new()
        monkeypatch.setattr(serve_sessions, "save_params", slow_save)
        store.make_room()
        again = store.find(first.id)
        with pytest.raises(serve_sessions.FullError):  # its older file is still being written
            store.make_room()
        again.drawn = 5
        written.set()
        await store.save_all()
        return serve_sessions.SessionStore(tmp_path, 1, 9, "model", np.zeros(2)).find(first.id)

    assert asyncio.run(run()).drawn == 5


def test_drains(serve, model, alone):
    """Running requests end, new ones are refused, and clients are told."""

    async def run():
        started, ending = asyncio.Event(), asyncio.Event()
        address = []

        async def server():
            async with serving(serve, model, drain=20.0) as (url, _):
                address.append(url)
                started.set()
                await ending.wait()

        serving_task = asyncio.create_task(server())
        await started.wait()
        async with aiohttp.ClientSession() as http:
            client, idle = Client(http, address[0]), Client(http, address[0])
            async with idle.connected(), client.connected():
                await client.send(generate=60, temperature=0.7, seed=5, prompt="sea")
                await client.read(until=3)
                ending.set()
                answers = []
                while not answers:  # until the server has seen it
                    async with http.get(f"{address[0]}/health") as answer:
                        if answer.status == 503:
                            answers.append((await answer.json())["status"])
                async with http.get(f"{address[0]}/stream") as answer:
                    answers += [answer.status, answer.headers["Retry-After"]]
                await idle.send(generate=5)
                answers.append((await idle.message())["error"])
                answers.append(await client.read())
                answers += [(await each.socket.receive()).data for each in (client, idle)]
            await serving_task
            return answers, client.text

    answers, text = asyncio.run(run())
    expected = ["draining", 503, "5", "generate: the server stops; continue the session later."]
    assert answers == [*expected, "characters", 1001, 1001]
    assert text == alone("sea", 60, 0.7, 5)


def test_rows_that_round_differently_are_refused(model, scripts):
    import serve_step

    steps = serve_step.Steps(model, 4, 2, 8)
    generate_all = steps._generate

    def one_row_differs(*given):
        carry, tokens = generate_all(*given)
        return jax.tree.map(lambda leaf: leaf.at[2].multiply(1 + 1e-6), carry), tokens

    steps._generate = one_row_differs
    with pytest.raises(ValueError, match="--rows: expected rows that round alike.*row 2 of 4"):
        steps.check_rows()


# --- The commands ---------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def small_run(tmp_path_factory, scripts):
    """What serve.py trains if it is given no model, with few weights."""
    import serve

    folder = tmp_path_factory.mktemp("serve")
    (folder / "text.py").write_text("the sea is in the sand and the hat\n" * 60)
    small = {"features": 8, "embedding": 4, "steps": 2, "sample_length": 1, "batch_size": 2}
    with pytest.MonkeyPatch.context() as patch, jax.enable_x64(False):
        patch.setattr(serve, "HERE", folder)
        patch.setattr(serve, "SMALL_RUN", folder / "run")
        patch.setattr(serve, "SMALL_MODEL", {**small, "k1": 8})
        assert serve.small_run() == folder / "run"
        patch.setattr("char_lm.learn", None)  # the second time there is one
        assert serve.small_run() == folder / "run"
    return folder / "run"


def test_the_load_test_starts_a_server_and_compares_texts(small_run, scripts, tmp_path, capsys):
    import serve_load

    options = ["--run", small_run, "--rows", 4, "--stories", 3, "--table", tmp_path / "table.md"]
    options += ["--clients", 1, 9, "--seconds", 0.2, 0.5]
    serve_load.main(list(map(str, options)))
    table = (tmp_path / "table.md").read_text()
    assert table in capsys.readouterr().out
    columns, _, *rows = [line.strip("|").split("|") for line in table.splitlines()]
    found = [dict(zip(columns, row, strict=True)) for row in rows]
    assert [row[" clients "] for row in found] == [" 1 ", " 9 "]
    assert all(row[" differing texts "] == " 0 " for row in found)
    assert int(found[1][" sessions "]) >= 9


def test_the_weights_are_compared(small_run, scripts, capsys):
    import serve_weights

    serve_weights.main(["--run", str(small_run), "--rows", "2", "--rounds", "1"])
    table = capsys.readouterr().out
    assert [line.split("|")[1].strip() for line in table.splitlines()[2:]] == [
        *("float32", "bfloat16", "int8")
    ]


def test_int8_serves_the_text_of_the_rounded_weights(serve, small_run):
    quantized = serve.load_model(small_run, "int8")
    rounded = quantized._replace(params=dequantize_params(quantized.params))
    assert serve.load_model(small_run, "bfloat16").params[0]["embedding"].dtype == jnp.bfloat16

    async def text(served):
        async with serving(serve, served) as (url, http):
            client = Client(http, url)
            for seed in range(9):
                await client.tell(generate=50, temperature=1, seed=seed, prompt="the sea ")
            return client.text

    found = [asyncio.run(text(served)) for served in (quantized, rounded)]
    assert found[0] == found[1] and len(found[0]) > 20


def test_mistakes_on_the_command_line(small_run, complaint, tmp_path):
    assert "expected the folder of a run" in complaint("--run", tmp_path)
    assert "--rows: expected from 1 to 65,536, got 0" in complaint("--rows", 0)
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        assert "address already in use" in complaint("--run", small_run, "--port", port)


# --- The page, in a browser -----------------------------------------------------------------------


@contextlib.asynccontextmanager
async def browser(profile, width=1280, height=900):
    """A page of a headless browser: `send(method, **params)` of the DevTools protocol."""
    path = next(filter(None, map(shutil.which, BROWSERS)), None)
    if path is None:
        pytest.skip("no Chromium is installed")
    options = ["--headless", "--no-sandbox", "--disable-gpu", "--no-first-run", "--disable-sync"]
    options += ["--disable-background-networking", "--disable-component-update", "--disable-quic"]
    options += ["--remote-debugging-port=0", f"--window-size={width},{height}", "--hide-scrollbars"]
    command = [path, *options, f"--user-data-dir={profile}", "about:blank"]
    process = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    try:
        port = profile / "DevToolsActivePort"
        for _ in range(600):
            if port.exists() and "\n" in port.read_text():
                break
            await asyncio.sleep(0.05)
        address = f"http://127.0.0.1:{port.read_text().split()[0]}"
        async with aiohttp.ClientSession() as http:
            async with http.get(f"{address}/json") as answer:
                [page] = [each for each in await answer.json() if each["type"] == "page"]
            socket = page["webSocketDebuggerUrl"]
            async with http.ws_connect(socket, max_msg_size=0) as devtools:
                yield Page(devtools)
    finally:
        process.terminate()
        process.wait()


class Page:
    """Runs JavaScript in a page, and collects what its console says."""

    def __init__(self, devtools):
        self._devtools, self._number, self.console = devtools, 0, []

    async def send(self, method, **params):
        self._number += 1
        await self._devtools.send_json({"id": self._number, "method": method, "params": params})
        while True:
            message = await self._devtools.receive_json(timeout=30)
            if message.get("id") == self._number:
                assert "error" not in message, message
                return message["result"]
            if message["method"] in ("Runtime.exceptionThrown", "Log.entryAdded"):
                self.console.append(message["params"])

    async def run(self, script):
        found = await self.send("Runtime.evaluate", expression=script, returnByValue=True)
        assert "exceptionDetails" not in found, found
        return found["result"].get("value")

    async def wait_for(self, script):
        for _ in range(300):
            if await self.run(script):
                return
            await asyncio.sleep(0.03)
        raise AssertionError(f"{script}, {await self.run('document.body.innerText')}")

    async def open(self, url):
        for domain in ("Runtime", "Log"):
            await self.send(f"{domain}.enable")
        await self.send("Page.navigate", url=url)
        await self.wait_for("document.readyState === 'complete' && typeof generate === 'function'")


def test_the_page_shows_continues_and_stops_a_text(serve, model, alone, tmp_path):
    endless = with_end_bias(model, -1e9)  # nothing but the click on Stop ends it

    async def run():
        async with serving(serve, endless) as (url, _), browser(tmp_path / "profile") as page:
            await page.open(f"{url}/")
            await page.run("$('prompt').value = 'sea'; $('characters').value = 20")
            await page.run("$('seed').value = 5; $('go').click()")
            await page.wait_for("$('status').textContent === 'Done: 20 characters.'")
            texts = [await page.run("$('text').textContent")]
            assert await page.run("$('go').textContent") == "Continue"
            await page.run("socket.close()")  # the network is lost
            await page.wait_for("socket === null")
            await page.run("$('characters').value = 40; $('go').click()")
            await page.wait_for("$('status').textContent === 'Done: 40 characters.'")
            texts.append(await page.run("$('text').textContent"))
            await page.run("$('characters').value = 10000; $('go').click()")
            await page.wait_for("position > 65")
            assert await page.run("$('go').disabled")
            await page.run("$('stop').click()")
            await page.wait_for("$('status').textContent.startsWith('Stopped')")
            await page.run("$('prompt').value = 'Ж'; $('go').click()")
            await page.wait_for("$('status').className === 'wrong'")
            wrong = await page.run("$('status').textContent")
            assert await page.run("$('prompt').value") == "Ж"
            assert "Ж" not in await page.run("$('text').textContent")
            await page.run("$('new').click()")
            assert await page.run("$('text').textContent") == ""
            return texts, wrong, page.console

    texts, wrong, console = asyncio.run(run())
    whole = alone("sea", 60, 0.7, 5)
    assert texts == ["sea" + whole[:20], "sea" + whole]
    assert wrong == "prompt: expected characters of the model, got 'Ж'." and console == []
