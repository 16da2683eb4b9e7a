"""Benchmark of text generation: characters per second of a language model."""

from __future__ import annotations

import dataclasses
import itertools
import statistics
from collections.abc import Callable
from functools import partial
from typing import Any

import jax
import jax.numpy as jnp
from benchmarks import pictures, report
from flax import linen as nn

import recur
from recur.decode import generate

VOCABULARY = 96
UNITS, STREAMS = (64, 256), (1, 64)
STEPS, ROUNDS = {False: 1_000, True: 100}, {False: 7, True: 3}
LOOP, TORCH = "Flax, a compiled step called from Python", "PyTorch, eager"
HEADING = f"""Characters per second of all streams together, on {{device}}: an embedding, an LSTM
of the same size and a Dense, with {VOCABULARY} characters, sampled from the softmax; {{steps:,}}
characters per stream, after a prompt of one. All rows ran in every round, in random order; "times"
is the median over rounds of how many times faster a row is."""


@dataclasses.dataclass(frozen=True)
class Options(report.Options):
    """Characters per second of text generation, for one stream and for 64."""


def main(options: Options) -> None:
    """Measures all numbers of units and of streams."""
    texts = [HEADING.format(device=report.device(), steps=STEPS[options.quick])]
    print(texts[0], end="\n\n", flush=True)
    measured = {}
    for units, streams in itertools.product(UNITS, STREAMS):
        found = measure(units, streams, options)
        measured[describe(units, streams)] = found
        texts.append(f"{describe(units, streams)}:\n\n{as_table(found)}")
        print(texts[-1], end="\n\n", flush=True)
    result = {"steps": STEPS[options.quick], "data": measured}
    report.publish(options, result, "\n\n".join(texts), draw)


def describe(units: int, streams: int) -> str:
    """The name of a setting."""
    return f"{units} units, " + ("one stream" if streams == 1 else f"{streams} streams")


# The rows: each returns a function that generates `steps` characters for each stream.


def of_recur(units: int, streams: int, steps: int, seed: int) -> Callable[[], Any]:
    """`recur.decode.generate`, one compiled loop."""
    model = recur.chain(
        nn.Embed(VOCABULARY, units), recur.scan(recur.lstm(units)), nn.Dense(VOCABULARY)
    )
    prompt = jnp.zeros(1, jnp.int32)
    if streams > 1:
        model, prompt = recur.batch(model), jnp.zeros((streams, 1), jnp.int32)
    key = jax.random.key(seed)
    go = jax.jit(
        lambda params, prompt, key: generate(model, params, prompt, max_tokens=steps, key=key)
    )
    return report.run_of(go, model.init(key, prompt), prompt, key)


class Generator(nn.Module):
    """One step of the model in Flax."""

    units: int

    @nn.compact
    def __call__(self, carry, token):
        """Returns the carry and the logits `[B, V]`."""
        carry, h = nn.OptimizedLSTMCell(self.units)(carry, nn.Embed(VOCABULARY, self.units)(token))
        return carry, nn.Dense(VOCABULARY)(h)


def of_flax(units: int, streams: int, steps: int, seed: int, in_python: bool) -> Callable[[], Any]:
    """A step that samples the next character, in a loop of Python or of `lax.scan`."""
    model = Generator(units)
    key = jax.random.key(seed)
    zeros = jnp.zeros((streams, units))
    token = jnp.zeros(streams, jnp.int32)
    params = model.init(key, (zeros, zeros), token)

    def step(params, carry, token, key):
        key, draw_key = jax.random.split(key)
        carry, logits = model.apply(params, carry, token)
        return carry, jax.random.categorical(draw_key, logits), key

    def in_scan(params, carry, token, key):
        def turn(state, _):
            state = step(params, *state)
            return state, state[1]

        return jax.lax.scan(turn, (carry, token, key), length=steps)[1]

    def by_hand(params, carry, token, key):
        tokens = []
        for _ in range(steps):
            carry, token, key = compiled_step(params, carry, token, key)
            tokens.append(token)
        return tokens

    compiled_step = jax.jit(step)
    go = by_hand if in_python else jax.jit(in_scan)
    return report.run_of(go, params, (zeros, zeros), token, key)


def of_torch(units: int, streams: int, steps: int, seed: int) -> Callable[[], Any]:
    """A loop over `LSTMCell` in eager mode."""
    import torch

    cuda = jax.default_backend() == "gpu" and torch.cuda.is_available()
    device = torch.device("cuda" if cuda else "cpu")
    torch.manual_seed(seed)
    embed = torch.nn.Embedding(VOCABULARY, units).to(device)
    cell = torch.nn.LSTMCell(units, units).to(device)
    dense = torch.nn.Linear(units, VOCABULARY).to(device)

    @torch.no_grad()
    def run():
        token = torch.zeros(streams, dtype=torch.long, device=device)
        state = None
        tokens = []
        for _ in range(steps):
            state = cell(embed(token), state)
            token = torch.multinomial(torch.softmax(dense(state[0]), -1), 1)[:, 0]
            tokens.append(token)
        return torch.stack(tokens).cpu()

    return run


ROWS: dict[str, Callable[..., Callable[[], Any]]] = {
    "recur.decode.generate": of_recur,
    LOOP: partial(of_flax, in_python=True),
    "Flax, lax.scan": partial(of_flax, in_python=False),
    TORCH: of_torch,
}


# The measurement.


def measure(units: int, streams: int, options: Options) -> dict[str, Any]:
    """Measures the characters per second of each row."""
    steps = STEPS[options.quick]
    rows = {name: partial(row, units, streams, steps, options.seed) for name, row in ROWS.items()}
    runs, skipped = report.prepare(rows)
    seconds = report.time_rounds(runs, ROUNDS[options.quick])
    found = {
        name: {
            "characters_per_second": round(streams * steps / statistics.median(seconds[name])),
            "times": report.times(seconds, name, (LOOP, TORCH)),
            "seconds": [round(s, 6) for s in seconds[name]],
        }
        for name in runs
    }
    return {"rows": found, "skipped": skipped}


def as_table(found: dict[str, Any]) -> str:
    """The rows as a Markdown table."""
    header = ["", "characters per second", f"times {LOOP}", f"times {TORCH}"]
    lines = [
        [
            name,
            f"{row['characters_per_second']:,}",
            *(report.number(row["times"].get(rival)) for rival in (LOOP, TORCH)),
        ]
        for name, row in found["rows"].items()
    ]
    lines += [[name, f"skipped: {why}", "", ""] for name, why in found["skipped"].items()]
    return report.table(header, lines)


def draw(result: dict[str, Any]) -> Any:
    """Draws characters per second, with a panel for each setting."""
    panels = {
        title: {name: row["characters_per_second"] for name, row in found["rows"].items()}
        for title, found in result["data"].items()
    }
    return pictures.bars(panels, x="characters per second")
