"""Characters a second: a recurrence that is fed what was drawn of its own outputs."""

from __future__ import annotations

import dataclasses
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

VOCABULARY, WIDTH, UNITS = 96, 256, 256
STREAMS = (1, 64)
STEPS, ROUNDS = {False: 1_000, True: 100}, {False: 7, True: 3}
LOOP = "Flax, a compiled step called from Python"
HEADING = f"""Characters a second, of all streams together, on {{device}}: an embedding of width
{WIDTH}, an LSTM of {UNITS} units, a Dense, {VOCABULARY} characters, each drawn from the softmax;
{{steps:,}} characters a stream, after a prompt of one. All rows ran in every round, in random
order; "times Flax" is the median over rounds, beside "{LOOP}"."""


@dataclasses.dataclass(frozen=True)
class Options(report.Options):
    """Characters a second that a language model generates, for one stream and for 64."""


def main(options: Options) -> None:
    """Measures every number of streams."""
    texts = [HEADING.format(device=report.device(), steps=STEPS[options.quick])]
    print(texts[0], end="\n\n", flush=True)
    measured = {}
    for streams in STREAMS:
        measured[streams] = measure(streams, options)
        texts.append(f"{describe(streams)}:\n\n{as_table(measured[streams])}")
        print(texts[-1], end="\n\n", flush=True)
    result = {"steps": STEPS[options.quick], "data": measured}
    report.publish(options, result, "\n\n".join(texts), draw)


def describe(streams: int) -> str:
    """How many there are."""
    return "one stream" if streams == 1 else f"{streams} streams"


# The rows: each gives a run of `steps` characters for each stream.


def of_recur(streams: int, steps: int, seed: int) -> Callable[[], Any]:
    """`recur.decode.generate`, which is one compiled loop."""
    model = recur.chain(
        nn.Embed(VOCABULARY, WIDTH), recur.scan(recur.lstm(UNITS)), nn.Dense(VOCABULARY)
    )
    prompt = jnp.zeros(1, jnp.int32)
    if streams > 1:
        model, prompt = recur.batch(model), jnp.zeros((streams, 1), jnp.int32)
    key = jax.random.key(seed)
    go = jax.jit(lambda params, prompt, key: generate(model, params, prompt, steps=steps, key=key))
    return report.run_of(go, model.init(key, prompt), prompt, key)


class Generator(nn.Module):
    """One step of the model, in Flax."""

    @nn.compact
    def __call__(self, carry, token):
        """The carry, and logits `[B, V]`."""
        carry, h = nn.OptimizedLSTMCell(UNITS)(carry, nn.Embed(VOCABULARY, WIDTH)(token))
        return carry, nn.Dense(VOCABULARY)(h)


def of_flax(streams: int, steps: int, seed: int, in_python: bool) -> Callable[[], Any]:
    """A step that draws the next character, looped over by Python or by `lax.scan`."""
    model = Generator()
    key = jax.random.key(seed)
    zeros = jnp.zeros((streams, UNITS))
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


def of_torch(streams: int, steps: int, seed: int) -> Callable[[], Any]:
    """A loop over `LSTMCell`, in eager mode."""
    import torch

    cuda = jax.default_backend() == "gpu" and torch.cuda.is_available()
    device = torch.device("cuda" if cuda else "cpu")
    torch.manual_seed(seed)
    embed = torch.nn.Embedding(VOCABULARY, WIDTH).to(device)
    cell = torch.nn.LSTMCell(WIDTH, UNITS).to(device)
    dense = torch.nn.Linear(UNITS, VOCABULARY).to(device)

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
    "PyTorch, eager": of_torch,
}


# The measurement.


def measure(streams: int, options: Options) -> dict[str, Any]:
    """Each row's characters a second."""
    steps = STEPS[options.quick]
    rows = {name: partial(row, streams, steps, options.seed) for name, row in ROWS.items()}
    runs, skipped = report.prepare(rows)
    seconds = report.time_rounds(runs, ROUNDS[options.quick])
    found = {
        name: {
            "characters_per_second": round(streams * steps / statistics.median(seconds[name])),
            "times_flax": round(report.ratio(seconds[name], seconds[LOOP]), 3),
            "seconds": [round(s, 6) for s in seconds[name]],
        }
        for name in runs
    }
    return {"rows": found, "skipped": skipped}


def as_table(found: dict[str, Any]) -> str:
    """The rows as Markdown."""
    header = ["", "characters a second", "times Flax"]
    lines = [
        [name, f"{row['characters_per_second']:,}", f"{row['times_flax']:.2f}"]
        for name, row in found["rows"].items()
    ]
    lines += [[name, f"skipped: {why}", ""] for name, why in found["skipped"].items()]
    return report.table(header, lines)


def draw(result: dict[str, Any]) -> Any:
    """Characters a second, a panel for each number of streams."""
    panels = {
        describe(streams): {
            name: row["characters_per_second"] for name, row in found["rows"].items()
        }
        for streams, found in result["data"].items()
    }
    return pictures.bars(panels, x="characters a second")
