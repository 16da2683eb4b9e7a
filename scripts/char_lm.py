r"""Trains a character-level language model, evaluates it on held-out text, and generates text.

    python scripts/char_lm.py                      on the source of Python's standard library
    python scripts/char_lm.py --text FILE...       on your own text; the last tenth is held out
    python scripts/char_lm.py --run DIR            resumes a run that was stopped
    python scripts/char_lm.py generate --run DIR --prompt "def " --temperature 0.7 --top-k 40

Install: pip install -e ".[train]". Cost: the default takes under four minutes on two CPU cores.
Result: 1.87 bits per character on held-out files; gzip -9 needs 2.09 and xz -9 2.00 file by file
(1.96 and 1.70 as one archive, which lets them use the preceding files).

Two LSTM layers with the recipe of char-rnn on its data set, tinyshakespeare, reach 1.57 nats on the
last tenth in half an hour:

    python scripts/char_lm.py --text FILE --cell lstm --layers 2 --features 128 --embedding 65 \
        --batch-size 50 --k1 50 --optimizer rmsprop --learning-rate 2e-3 --schedule char-rnn \
        --clip 5 --steps 12060
"""

from __future__ import annotations

import interrupts

if __name__ == "__main__":
    interrupts.end_at_once()

import contextlib
import dataclasses
import gzip
import lzma
import math
import pathlib
import sys
import time
from collections.abc import Callable
from typing import Any, Literal, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
import optax
import running
from claims import claimed
from display import command_line
from flax import linen as nn
from saving import read_json, read_metrics, write_json, write_picture, write_text
from tqdm import tqdm

import recur
from recur.decode import argmax, categorical, generate, temperature, top_k, top_p
from recur.diagnose import curves
from recur.sequences import Streams
from recur.text import BOUNDARY, UNKNOWN, Characters, python_sources, read_text, split_by_hash
from recur.train import (
    Checkpoints,
    JsonLines,
    Report,
    Restored,
    TrainState,
    bits,
    by_path,
    clip_by_average_norm,
    cross_entropy,
    every,
    fit,
    init_state,
    make_step,
    masked_mean,
)

CELLS = {"elman": recur.elman, "gru": recur.gru, "lstm": recur.lstm, "ugrnn": recur.ugrnn}
HELD_OUT_ONE_IN = 20  # files of the standard library
RARE = 50  # characters with a lower count in the training text are unknown
SPELLED_OUT = math.log(0x110000)  # nats of an unknown character, uniform over all code points


@dataclasses.dataclass(frozen=True)
class Options:
    """Train a recurrent character model with truncated backpropagation through time.

    Without --text it trains on the source of Python's standard library. The final table compares
    it with gzip and xz on held-out files. To generate text: `char_lm.py generate --help`.
    """

    text: tuple[pathlib.Path, ...] = ()
    """Files of UTF-8 text to train on; the last tenth of each is held out."""
    run: pathlib.Path | None = None
    """The folder of the run. A new folder starts a run; an existing one resumes its run with the
    same options. Default: runs/char_lm-1, -2 ..."""

    cell: Literal["elman", "gru", "lstm", "ugrnn"] = "gru"
    """The recurrent cell."""
    layers: int = 1
    """The number of recurrent layers."""
    features: int = 384
    """Units of each layer."""
    embedding: int = 64
    """Size of the character embedding."""
    dropout: float = 0.0
    """Dropout rate of the outputs of each layer."""
    dtype: Literal["float32", "bfloat16"] = "float32"
    """Dtype of computation; weights are stored in float32."""

    steps: int = 3600
    """Total number of updates. Resume a finished run with more to continue it."""
    batch_size: int = 16
    """Number of text streams that are read in parallel."""
    k1: int = 64
    """New characters of each stream per update."""
    k2: int | None = None
    """Characters to backpropagate through, at least k1. Default: k1."""

    optimizer: Literal["adam", "rmsprop"] = "adam"
    """RMSProp has a decay of 0.95, as in char-rnn."""
    learning_rate: float = 2.5e-3
    """Maximum learning rate."""
    schedule: Literal["cosine", "constant", "char-rnn"] = "cosine"
    """Learning rate schedule: cosine decay to 0, constant, or times 0.97 per epoch from the tenth
    epoch."""
    clip: float | Literal["average", "none"] = 1.0
    """Maximum gradient norm: a number, or the running mean of recent norms."""
    weight_decay: float = 0.0
    """Weight decay of all kernels, per unit of learning rate."""

    seed: int = 0
    """Seed of weights, order of files, dropout and samples."""
    report_every: int = 10
    """Updates between two log entries."""
    checkpoint_every: int = 500
    """Updates between two checkpoints; the last 3 and the best are kept."""
    sample_length: int = 300
    """Characters of each sample during training."""


@dataclasses.dataclass(frozen=True)
class GenerateOptions:
    """Generate text with a model trained by `char_lm.py`."""

    run: pathlib.Path
    """The folder of the run."""
    prompt: str = ""
    """Text to continue. Default: the start of a file."""
    max_tokens: int = 500
    """Maximum number of characters."""
    temperature: float = 0.7
    """Below 1 sharpens the distribution, above 1 flattens it; 0 always takes the most likely
    character."""
    top_k: int | None = None
    """Sample from this many of the most likely characters."""
    top_p: float | None = None
    """Sample from the most likely characters with this total probability (nucleus sampling)."""
    min_tokens: int = 0
    """Minimum number of characters."""
    seed: int = 0
    """Seed of the samples."""


class Corpus(NamedTuple):
    """Texts by name."""

    training: dict[str, str]
    held_out: dict[str, str]


class Run(NamedTuple):
    """The parts of a run."""

    options: Options
    corpus: Corpus
    vocabulary: Characters
    streams: Streams
    model: recur.Layer
    optimizer: optax.GradientTransformation


# --- Text ----------------------------------------------------------------------------------------


def read_corpus(options: Options) -> Corpus:
    """Reads the given files, the last tenth held out, or Python's library, whole files held out."""
    if not options.text:
        return Corpus(*split_by_hash(python_sources(), HELD_OUT_ONE_IN))
    training, held_out = {}, {}
    for path in options.text:
        text = read_text(path)
        cut = len(text) - len(text) // 10
        if cut == len(text):
            raise ValueError(f"{path}: expected a text of at least 10 characters, got {len(text)}.")
        training[str(path)], held_out[str(path)] = text[:cut], text[cut:]
    return Corpus(training, held_out)


def encode(vocabulary: Characters, texts: dict[str, str]) -> list[np.ndarray]:
    """Encodes texts between boundary tokens, so that their starts and ends are learned too."""
    return [np.pad(vocabulary.encode(text), 1, constant_values=BOUNDARY) for text in texts.values()]


# --- Model and optimizer -------------------------------------------------------------------------


def build_model(options: Options, vocabulary: Characters) -> recur.Layer:
    """Embedding, recurrent layers and logits, for a batch of streams."""
    dtype = jnp.dtype(options.dtype)
    parts: list[Any] = [nn.Embed(len(vocabulary), options.embedding, dtype=dtype)]
    for _ in range(options.layers):
        parts.append(recur.scan(CELLS[options.cell](options.features, dtype=dtype)))
        if options.dropout:
            parts.append(nn.Dropout(options.dropout))
    return recur.batch(recur.chain(*parts, nn.Dense(len(vocabulary), dtype=dtype)))


def build_optimizer(options: Options, steps_per_epoch: int) -> optax.GradientTransformation:
    """Gradient clipping, then the optimizer with its schedule."""
    rate = options.learning_rate
    schedules = {
        "constant": lambda: rate,
        "cosine": lambda: optax.warmup_cosine_decay_schedule(0.0, rate, 20, options.steps + 20),
        "char-rnn": lambda: optax.exponential_decay(
            rate, steps_per_epoch, 0.97, transition_begin=9 * steps_per_epoch, staircase=True
        ),
    }
    clips = {"average": clip_by_average_norm, "none": optax.identity}
    clip = clips.get(options.clip, lambda: optax.clip_by_global_norm(options.clip))
    scale = {"adam": optax.scale_by_adam, "rmsprop": lambda: optax.scale_by_rms(decay=0.95)}
    return optax.chain(
        clip(),
        scale[options.optimizer](),
        optax.add_decayed_weights(options.weight_decay, mask=by_path("*kernel")),
        optax.scale_by_learning_rate(schedules[options.schedule]()),
    )


def first_state(
    options: Options, model: recur.Layer, optimizer: optax.GradientTransformation
) -> TrainState:
    """The state before the first update."""
    params_key, run_key = jax.random.split(jax.random.key(options.seed))
    tokens = jax.ShapeDtypeStruct((options.batch_size, options.k1), jnp.int32)
    params = model.init(params_key, tokens)
    carry = model.init_carry(params, tokens)
    return init_state(params, optimizer, run_key, carry)


def make_loss(options: Options, model: recur.Layer):
    """Makes the loss, the mean nats per new character of a window."""

    def loss(params, carry, window, key):
        carry, logits = recur.lift.run_window(
            model,
            params,
            carry,
            window.inputs,
            options.k1,
            reset=window.reset,
            key=key if options.dropout else None,
        )
        targets, mask = window.targets[:, -options.k1 :], window.mask[:, -options.k1 :]
        return masked_mean(cross_entropy(logits, targets, mask), mask), (carry, {})

    return loss


# --- Evaluation ----------------------------------------------------------------------------------


def make_evaluate(model: recur.Layer, documents: list[np.ndarray], width: int = 256):
    """`evaluate(params)` -> nats of all documents, each read from its start."""

    def losses(_, logits, window):
        spelled = jnp.where(window.targets == UNKNOWN, SPELLED_OUT, 0.0)
        return cross_entropy(logits, window.targets, window.mask) + spelled

    evaluate = running.make_evaluate(model, losses, documents, width)
    return lambda params: evaluate(params, None)


def compare(held_out: dict[str, str], last: dict[str, float]) -> dict[str, dict[str, float]]:
    """Bits per character of the held-out texts, of the model and of two compressors."""
    texts = [text.encode() for text in held_out.values()]
    characters = sum(map(len, held_out.values()))
    found = last["held_out_bits"]  # each file starts from the initial carry, also in an archive
    table = {"this model": {"file by file": found, "as one archive": found}}
    compressors = {
        "gzip -9": lambda data: gzip.compress(data, 9),
        "xz -9": lambda data: lzma.compress(data, preset=9),
    }
    for name, compress in compressors.items():
        sizes = {
            "file by file": sum(len(compress(text)) for text in texts),
            "as one archive": len(compress(b"".join(texts))),
        }
        table[name] = {way: 8 * size / characters for way, size in sizes.items()}
    return table


def print_table(table: dict[str, dict[str, float]]) -> None:
    """Prints a table in Markdown."""
    ways = list(table["this model"])
    print(f"| bits per character, held out | {' | '.join(ways)} |")
    print(f"|---|{'---|' * len(ways)}")
    for name, values in table.items():
        print(f"| {name} | {' | '.join(f'{values[way]:.3f}' for way in ways)} |")


# --- Generation ----------------------------------------------------------------------------------


def make_writer(
    model: recur.Layer,
    vocabulary: Characters,
    choose: recur.decode.sample.Chooser,
    max_tokens: int,
    min_tokens: int,
) -> Callable[[Any, str, jax.Array], str]:
    """`write(params, prompt, key)` -> the prompt and its continuation by the model."""

    @jax.jit
    def write_tokens(params, tokens, key):
        counts = {"max_tokens": max_tokens, "min_tokens": min_tokens}
        rules = {"eos": BOUNDARY, "forbidden": [UNKNOWN], **counts}
        return generate(model, params, tokens, **rules, choose=choose, key=key)

    def write(params, prompt, key):
        unknown = vocabulary.unknown_in(prompt)
        if unknown:
            raise ValueError(
                f"--prompt: expected characters of the training text, got {unknown!r}. Leave "
                "them out: they are missing there, or too rare."
            )
        tokens = np.pad(vocabulary.encode(prompt), (1, 0), constant_values=BOUNDARY)
        written = write_tokens(params, tokens[None], key)
        return prompt + vocabulary.decode(written.tokens[0, : int(written.length[0])].tolist())

    return write


def generate_text(options: GenerateOptions) -> None:
    """The subcommand `generate`."""
    begun = running.begun_options(Options, options.run, "char_lm.py")
    vocabulary = Characters(read_json(options.run / "vocabulary.json", str))
    running.check_corpus(options.run, {"vocabulary": vocabulary.characters})
    model = build_model(begun, vocabulary)
    like = first_state(begun, model, build_optimizer(begun, 1))
    params = running.best_checkpoint(options.run, "held_out_bits", like).state.params
    choose = categorical
    if options.top_p is not None:
        choose = top_p(options.top_p, choose)
    if options.top_k is not None:
        choose = top_k(options.top_k, choose)
    choose = temperature(options.temperature, choose) if options.temperature else argmax
    write = make_writer(model, vocabulary, choose, options.max_tokens, options.min_tokens)
    print(write(params, options.prompt, jax.random.key(options.seed)))


# --- The run -------------------------------------------------------------------------------------


def prepare(options: Options) -> Run:
    """Reads the text and builds the model; writes nothing."""
    corpus = read_corpus(options)
    texts = corpus.training.values()
    rare = min(RARE, 1 + sum(map(len, texts)) // 100_000)
    vocabulary = Characters.of(texts, at_least=rare)
    documents = encode(vocabulary, corpus.training)
    streams = Streams(documents, options.batch_size, options.k1, options.k2, options.seed)
    model = build_model(options, vocabulary)
    optimizer = build_optimizer(options, len(streams))
    return Run(options, corpus, vocabulary, streams, model, optimizer)


def make_validate(run: Run) -> Callable[[Report], dict[str, float]]:
    """Makes a callback that computes the bits per character of the held-out texts."""
    evaluate = make_evaluate(run.model, encode(run.vocabulary, run.corpus.held_out))
    characters = sum(map(len, run.corpus.held_out.values()))
    return lambda report: {"held_out_bits": float(bits(evaluate(report.state.params))) / characters}


def make_sample(run: Run) -> Callable[[Report], None]:
    """Makes a callback that generates, prints and saves a text."""
    length, folder = run.options.sample_length, run.options.run / "samples"
    write = make_writer(run.model, run.vocabulary, temperature(0.7), length, length)

    def sample(report):
        key = jax.random.fold_in(jax.random.key(run.options.seed), report.step)
        text = write(report.state.params, "", key)
        folder.mkdir(exist_ok=True)
        write_text(folder / f"{report.step:06}.txt", text)
        tqdm.write(f"--- a sample after {report.step} updates ---\n{text}\n")

    return sample


def learn(run: Run, begun: Restored, checkpoints: Checkpoints) -> TrainState:
    """Runs the training loop, with progress, samples, validation, log and checkpoints."""
    options, done = run.options, int(begun.state.step)
    quarter, half = (max(1, options.steps // parts) for parts in (4, 2))
    sample = make_sample(run)
    if done == 0:
        sample(Report(0, 0, begun.state, {}))
    progress = running.Progress(
        "char",
        options.batch_size * options.k1,
        options.steps,
        done,
        lambda metrics: f"{float(bits(metrics['loss'])):.3f} bits/char",
    )
    callbacks = [
        progress,
        every(quarter, sample),
        every(half, make_validate(run)),
        JsonLines(options.run / "metrics.jsonl", step=done),
        checkpoints.callback(options.checkpoint_every, run.streams),
    ]
    step = jax.jit(make_step(make_loss(options, run.model), run.optimizer), donate_argnums=0)
    with running.at_the_end(lambda: draw_curve(options.run)), contextlib.closing(progress):
        return fit(
            step,
            begun.state,
            run.streams,
            steps=options.steps,
            callbacks=callbacks,
            report_every=options.report_every,
            unread=begun.unread,
        )


def train(options: Options) -> None:
    """Trains a model, in the folder of the run."""
    with claimed(options.run, "runs/char_lm", goes_on=True) as folder:
        train_in_folder(dataclasses.replace(options, run=folder))


def train_in_folder(options: Options) -> None:
    """Trains a model, in a folder that is locked."""
    run = prepare(options)
    running.begin_folder(
        options,
        run.corpus,
        run.vocabulary.characters,
        lambda folder: write_json(folder / "vocabulary.json", run.vocabulary.characters),
    )
    with Checkpoints(options.run / "checkpoints", best="held_out_bits") as checkpoints:
        state = first_state(options, run.model, run.optimizer)
        begun = running.resume(options, checkpoints, state, run.streams, options.steps)
        done = int(begun.state.step)
        describe(run, begun.state)
        began = time.monotonic()
        state = learn(run, begun, checkpoints)
        seconds = time.monotonic() - began
    table = compare(run.corpus.held_out, last_validation(run, state))
    write_json(options.run / "results.json", table)
    characters = (options.steps - done) * options.batch_size * options.k1
    print(
        f"{characters:,} characters in {seconds:.0f} s, including samples and validations: "
        f"{characters / seconds:,.0f} per second. On {len(run.corpus.held_out)} held-out texts:\n"
    )
    print_table(table)
    print(f"\nResults are in {options.run}. To generate text:")
    print("  " + command_line("char_lm.py", "generate", "--run", options.run, "--prompt", "def "))


def last_validation(run: Run, state: TrainState) -> dict[str, float]:
    """The metrics of the last update with a validation, from the log or computed now."""
    records = read_metrics(run.options.run / "metrics.jsonl")
    if records and records[-1]["step"] == state.step and "held_out_bits" in records[-1]:
        return records[-1]
    return make_validate(run)(Report(int(state.step), int(state.step), state, {}))


def describe(run: Run, state: TrainState) -> None:
    """Prints a description of the run."""
    options, texts = run.options, run.corpus.training.values()
    weights = sum(leaf.size for leaf in jax.tree.leaves(state.params))
    print(
        f"{options.run}: {f'resumes after update {state.step}' if state.step else 'a new run'}; "
        f"{options.layers} x {options.cell} of {options.features} units, {weights:,} weights; "
        f"{sum(map(len, texts)):,} characters in {len(texts)} training texts, "
        f"{len(run.vocabulary)} distinct ones."
    )


def draw_curve(folder: pathlib.Path) -> None:
    """Draws the loss over updates."""
    records = read_metrics(folder / "metrics.jsonl", "loss")
    held_out = [(r["step"], r["held_out_bits"]) for r in records if "held_out_bits" in r]
    lines = {"training": ([r["step"] for r in records], [r["loss"] / math.log(2) for r in records])}
    if held_out:
        lines["held out"] = tuple(zip(*held_out, strict=True))
    if records:
        figure = curves(lines, y="bits per character", title=folder.name)
        write_picture(folder / "curve.png", figure)


def main(arguments: list[str]) -> None:
    """Runs a subcommand."""
    if arguments[:1] == ["generate"]:
        generate_text(running.parse(GenerateOptions, arguments[1:], "char_lm.py generate"))
    else:
        train(running.parse_options(Options(), arguments, "char_lm.py", may_change=("steps",)))


if __name__ == "__main__":
    running.run_script("char_lm", main, sys.argv[1:], running.GOES_ON)
