"""Benchmark of training on sequences of different lengths: padded, bucketed and packed."""

from __future__ import annotations

import dataclasses
import functools
import itertools
import pathlib
from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
import optax
from benchmarks import pictures, report
from flax import linen as nn

import recur
from recur.sequences import Batch, Layout, batches, bucket, pack, pad
from recur.text import read_lines
from recur.train import cross_entropy, masked_mean

FEATURES, WIDTH, CLASSES, ROWS = 256, 256, 17, 32
LEARNING_RATE = 1e-3
BUCKETS = 6
FULL, QUICK = (25_000, 7), (2_500, 3)  # the least number of real tokens, and rounds
RIVAL = "Flax, padded to the batch's longest"
HEADING = f"""A training step (forward, backward, Adam) of an LSTM of {FEATURES} units on inputs of
size {WIDTH}, with {CLASSES} classes, {ROWS} rows per batch, on {{device}}. Real tokens exclude
padding. All rows ran in every round, on the first batches of an epoch; "times Flax" is the median
over rounds. Compilation is not counted."""


@dataclasses.dataclass(frozen=True)
class Options(report.Options):
    """Real tokens per second of a training step of an LSTM, by the layout of sequences."""

    tokens: tuple[pathlib.Path, ...] = ()
    """Files with one token per line and blank lines between sentences; lines that begin with "# "
    are comments."""
    text: tuple[pathlib.Path, ...] = ()
    """Files with one sentence per line, and spaces between tokens."""


class Row(NamedTuple):
    """A layout of sequences, and a library that trains on them."""

    layout: Layout
    prepare: Callable[[list[Batch]], Callable[[], None]]


def main(options: Options) -> None:
    """Measures all given data sets."""
    data = {str(path): token_lengths(path) for path in options.tokens}
    data |= {str(path): text_lengths(path) for path in options.text}
    for name, lengths in data.items():
        if not lengths.any():
            raise ValueError(f"{name}: expected sentences, got comments only.")
    data = data or {STATED: stated_lengths(options.seed)}
    results, texts = {}, [HEADING.format(device=report.device())]
    print(texts[0], end="\n\n")
    for name, lengths in data.items():
        results[name] = measure(lengths, options)
        texts.append(f"{describe(name, lengths)}\n\n{as_table(results[name])}")
        print(texts[-1], end="\n\n", flush=True)
    report.publish(options, {"data": results}, "\n\n".join(texts), draw)


# The data: only lengths matter, so inputs and targets are random.

STATED = "1 + a geometric distribution of mean 15, at most 128"


def stated_lengths(seed: int) -> np.ndarray:
    """Draws lengths like those of English sentences, many short and few long."""
    return np.minimum(np.random.default_rng(seed).geometric(1 / 16, 8192), 128)


def token_lengths(path: pathlib.Path) -> np.ndarray:
    """The number of lines in each paragraph, without comments."""
    paragraphs = itertools.groupby(read_lines(path), key=lambda line: bool(line.strip()))
    found = [list(lines) for has_text, lines in paragraphs if has_text]
    return np.array([sum(not line.startswith("# ") for line in lines) for lines in found])


def text_lengths(path: pathlib.Path) -> np.ndarray:
    """The number of words in each line."""
    return np.array([len(line.split()) for line in read_lines(path)])


class Source:
    """Examples of the given lengths, with random inputs and targets."""

    def __init__(self, lengths: np.ndarray, seed: int):
        draw = np.random.default_rng(seed)
        longest = int(lengths.max())
        self._lengths = lengths
        self._inputs = draw.standard_normal((2 * longest, WIDTH)).astype(np.float32)
        self._targets = draw.integers(CLASSES, size=2 * longest, dtype=np.int32)

    def __len__(self) -> int:
        return len(self._lengths)

    def __getitem__(self, number: int) -> dict[str, np.ndarray]:
        length = self._lengths[number]
        begin = number % (len(self._targets) - length + 1)
        steps = slice(begin, begin + length)
        return {"inputs": self._inputs[steps], "targets": self._targets[steps]}


# A training step of each library on the same batches: forward, backward, Adam.


def in_jax(init: Callable, apply: Callable, laid_out: list[Batch]) -> Callable[[], None]:
    """A pass over the batches with a JAX model `apply(params, batch) -> logits`."""
    optimizer = optax.adam(LEARNING_RATE)

    def loss(params, batch):
        losses = cross_entropy(apply(params, batch), batch.steps["targets"], batch.mask)
        return masked_mean(losses, batch.mask)

    @functools.partial(jax.jit, donate_argnums=0)
    def step(state, batch):
        params, moments = state
        updates, moments = optimizer.update(jax.grad(loss)(params, batch), moments)
        return optax.apply_updates(params, updates), moments

    params = init(jax.random.key(0), laid_out[0].steps["inputs"])
    state = (params, optimizer.init(params))
    laid_out = jax.device_put(laid_out)

    def run():
        nonlocal state
        for batch in laid_out:
            state = step(state, batch)
        jax.block_until_ready(state)

    return run


def of_recur(laid_out: list[Batch]) -> Callable[[], None]:
    """A model in recur, the same for all layouts."""
    model = recur.batch(recur.chain(recur.scan(recur.lstm(FEATURES)), nn.Dense(CLASSES)))

    def apply(params, batch):
        return model(params, batch.steps["inputs"], **batch.layer_kwargs)

    return in_jax(model.init, apply, laid_out)


def of_flax(laid_out: list[Batch]) -> Callable[[], None]:
    """`RNN` of Flax Linen with lengths."""

    class Tagger(nn.Module):
        @nn.compact
        def __call__(self, xs, lengths=None):
            ys = nn.RNN(nn.OptimizedLSTMCell(FEATURES))(xs, seq_lengths=lengths)
            return nn.Dense(CLASSES)(ys)

    def apply(params, batch):
        return Tagger().apply(params, batch.steps["inputs"], batch.length[:, 0])

    return in_jax(Tagger().init, apply, laid_out)


def of_haiku(laid_out: list[Batch]) -> Callable[[], None]:
    """`dynamic_unroll` of Haiku, with a hand-written mask."""
    import haiku as hk

    class Masked(hk.RNNCore):
        """Keeps the state of the core at masked steps."""

        def __init__(self, core):
            super().__init__()
            self.core = core

        def initial_state(self, batch_size):
            return self.core.initial_state(batch_size)

        def __call__(self, step, state):
            x, valid = step
            y, new = self.core(x, state)
            return y, jax.tree.map(lambda a, b: jnp.where(valid[:, None], a, b), new, state)

    def tagger(xs, valid):
        core = Masked(hk.LSTM(FEATURES))
        start = core.initial_state(xs.shape[0])
        ys, _ = hk.dynamic_unroll(core, (xs, valid), start, time_major=False)
        return hk.Linear(CLASSES)(ys)

    model = hk.without_apply_rng(hk.transform(tagger))

    def init(key, xs):
        return model.init(key, xs, np.ones(xs.shape[:2], bool))

    def apply(params, batch):
        return model.apply(params, batch.steps["inputs"], batch.mask)

    return in_jax(init, apply, laid_out)


def of_torch(laid_out: list[Batch], packs: bool) -> Callable[[], None]:
    """`nn.LSTM`, on a `PackedSequence` or on padded rows."""
    import torch

    lstm = torch.nn.LSTM(WIDTH, FEATURES, batch_first=True)
    dense = torch.nn.Linear(FEATURES, CLASSES)
    optimizer = torch.optim.Adam([*lstm.parameters(), *dense.parameters()], LEARNING_RATE)
    pack_rows = functools.partial(
        torch.nn.utils.rnn.pack_padded_sequence, batch_first=True, enforce_sorted=False
    )
    tensors = [
        (
            torch.tensor(batch.steps["inputs"]),
            torch.tensor(np.where(batch.mask, batch.steps["targets"], -100), dtype=torch.long),
            torch.tensor(batch.length[:, 0], dtype=torch.long),
        )
        for batch in laid_out
    ]

    def run():
        for inputs, targets, lengths in tensors:
            if packs:
                ys = lstm(pack_rows(inputs, lengths))[0].data
                targets = pack_rows(targets, lengths).data
            else:
                ys = lstm(inputs)[0]
            logits = dense(ys)
            optimizer.zero_grad()
            torch.nn.functional.cross_entropy(
                logits.reshape(-1, CLASSES), targets.reshape(-1)
            ).backward()
            optimizer.step()

    return run


def rows_of(lengths: np.ndarray) -> dict[str, Row]:
    """The rows of the table."""
    longest = int(lengths.max())
    to_batch, to_data = pad(), pad(longest)
    return {
        "recur, packed": Row(pack(-(-longest // 4) * 4), of_recur),
        "recur, bucketed": Row(bucket(count=BUCKETS), of_recur),
        "recur, padded to the batch's longest": Row(to_batch, of_recur),
        "recur, padded to the data's longest": Row(to_data, of_recur),
        RIVAL: Row(to_batch, of_flax),
        "Flax, padded to the data's longest": Row(to_data, of_flax),
        "Haiku with a mask, padded to the batch's longest": Row(to_batch, of_haiku),
        "PyTorch, packed": Row(to_batch, functools.partial(of_torch, packs=True)),
        "PyTorch, padded to the batch's longest": Row(
            to_batch, functools.partial(of_torch, packs=False)
        ),
    }


# The measurement.


def measure(lengths: np.ndarray, options: Options) -> dict[str, Any]:
    """Measures real tokens per second, the ratio to the rival, and the share of padding."""
    least, rounds = QUICK if options.quick else FULL
    source = Source(lengths, options.seed)
    rows = rows_of(lengths)
    laid_out = {
        layout: first_batches(source, layout, least, options.seed)
        for layout in {row.layout for row in rows.values()}
    }
    runs, skipped = {}, {}
    for name, row in rows.items():
        try:
            runs[name] = row.prepare(laid_out[row.layout])
        except ImportError as error:
            skipped[name] = str(error)
    seconds = report.time_rounds(runs, rounds)
    real = {name: real_steps(laid_out[rows[name].layout]) for name in runs}
    per_token = {name: [s / real[name] for s in seconds[name]] for name in runs}
    return {
        "rows": {
            name: {
                "real_tokens_per_second": round(1 / float(np.median(per_token[name]))),
                "times_the_rival": round(report.ratio(per_token[name], per_token[RIVAL]), 2),
                "padding": round(1 - real[name] / all_steps(laid_out[rows[name].layout]), 3),
                "shapes": len({b.mask.shape for b in laid_out[rows[name].layout]}),
                "seconds": [round(s, 4) for s in seconds[name]],
            }
            for name in runs
        },
        "skipped": skipped,
    }


def first_batches(source: Source, layout: Layout, least: int, seed: int) -> list[Batch]:
    """The first batches of an epoch with at least `least` real tokens together."""
    stream = batches(source, layout, ROWS, seed=seed, epochs=1, prefetch=0)
    taken: list[Batch] = []
    while real_steps(taken) < least and (batch := next(stream, None)) is not None:
        taken.append(jax.device_get(batch))
    stream.close()
    return taken


def real_steps(laid_out: Sequence[Batch]) -> int:
    """The number of steps without padding."""
    return sum(int(batch.mask.sum()) for batch in laid_out)


def all_steps(laid_out: Sequence[Batch]) -> int:
    """The number of steps with padding."""
    return sum(batch.mask.size for batch in laid_out)


def describe(name: str, lengths: np.ndarray) -> str:
    """Describes a data set in one line."""
    return (
        f"{name}: {len(lengths):,} sequences of {lengths.mean():.1f} steps on average, "
        f"{lengths.max()} at most."
    )


def as_table(result: dict[str, Any]) -> str:
    """The rows as a Markdown table."""
    header = ["", "real tokens per second", "times Flax", "padding", "shapes compiled"]
    lines = [
        [
            name,
            f"{row['real_tokens_per_second']:,}",
            f"{row['times_the_rival']:.2f}",
            f"{row['padding']:.1%}",
            row["shapes"],
        ]
        for name, row in result["rows"].items()
    ]
    lines += [[name, f"skipped: {why}", "", "", ""] for name, why in result["skipped"].items()]
    return report.table(header, lines)


def draw(result: dict[str, Any]) -> Any:
    """Draws real tokens per second, with a panel for each data set."""
    panels = {
        name: {row: numbers["real_tokens_per_second"] for row, numbers in found["rows"].items()}
        for name, found in result["data"].items()
    }
    return pictures.bars(panels, x="real tokens per second")
