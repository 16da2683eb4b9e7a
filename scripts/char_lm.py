r"""Trains a character model on real text, shows that it learns, and writes text with it.

    python scripts/char_lm.py                      on the source of Python's standard library
    python scripts/char_lm.py --text FILE...       on your own text; its last tenth is held out
    python scripts/char_lm.py --run DIR            goes on with a run that was stopped
    python scripts/char_lm.py generate --run DIR --prompt "def " --temperature 0.7 --top-k 40

Install: pip install -e ".[train]". Cost: the default takes under four minutes on two CPU cores. To
expect: 1.87 bits per character on held-out files, where gzip -9 needs 2.09 and xz -9 2.00 file by
file (as one archive, in which they have seen the files before, 1.96 and 1.70).

Two layers of LSTM with char-rnn's recipe on the text it is known by, tinyshakespeare, take half an
hour to 1.57 nats on the last tenth:

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
RARE = 50  # characters that come less often in the training text are unknown
SPELLED_OUT = math.log(0x110000)  # nats to spell an unknown character, all code points alike


@dataclasses.dataclass(frozen=True)
class Options:
    """Train a recurrent character model with truncated backpropagation through time.

    Without --text it learns the source of Python's own standard library, and its closing table
    compares it with gzip and xz on files that it has not seen. To write text with what it has
    learned: `char_lm.py generate --help`.
    """

    text: tuple[pathlib.Path, ...] = ()
    """Files of UTF-8 text to learn; the last tenth of each is held out."""
    run: pathlib.Path | None = None
    """The run's folder: a new one starts, an existing one resumes with the options it was begun
    with. runs/char_lm-1, -2 ... when not given."""

    cell: Literal["elman", "gru", "lstm", "ugrnn"] = "gru"
    """The recurrence."""
    layers: int = 1
    """How many of them, one above the other."""
    features: int = 384
    """Units of each layer."""
    embedding: int = 64
    """Width of the vector that stands for a character."""
    dropout: float = 0.0
    """Share of each layer's outputs that is dropped while training."""
    dtype: Literal["float32", "bfloat16"] = "float32"
    """What the layers compute in; weights are kept in float32."""

    steps: int = 3600
    """Updates in all. A finished run goes on when resumed with more."""
    batch_size: int = 16
    """Streams of text that are read in parallel."""
    k1: int = 64
    """New characters of each stream in an update."""
    k2: int | None = None
    """Characters that errors flow back through, at least k1; k1 when not given."""

    optimizer: Literal["adam", "rmsprop"] = "adam"
    """RMSProp forgets with 0.95, as char-rnn's."""
    learning_rate: float = 2.5e-3
    """At its highest."""
    schedule: Literal["cosine", "constant", "char-rnn"] = "cosine"
    """Of the learning rate: down to 0 along a cosine, constant, or times 0.97 an epoch from the
    tenth on."""
    clip: float | Literal["average", "none"] = 1.0
    """The highest norm of a gradient: a number, or the running mean of recent norms."""
    weight_decay: float = 0.0
    """Of all kernels, per unit of learning rate."""

    seed: int = 0
    """Of weights, order of files, dropout and samples."""
    report_every: int = 10
    """Updates between two lines of metrics."""
    checkpoint_every: int = 500
    """Updates between two checkpoints; the last 3 and the best are kept."""
    sample_length: int = 300
    """Characters of the samples on the way."""


@dataclasses.dataclass(frozen=True)
class GenerateOptions:
    """Write text with a model that `char_lm.py` has trained."""

    run: pathlib.Path
    """The run's folder."""
    prompt: str = ""
    """What the text begins with; as a file begins, when empty."""
    max_tokens: int = 500
    """Characters to write at most."""
    temperature: float = 0.7
    """Below 1 sharpens the distribution, above 1 flattens it; 0 always takes the most likely
    character."""
    top_k: int | None = None
    """Sample among this many of the most likely characters only."""
    top_p: float | None = None
    """Sample among the most likely characters whose probabilities add up to this (nucleus)."""
    min_tokens: int = 0
    """Characters to write before the text may end."""
    seed: int = 0
    """Another seed, another text."""


class Corpus(NamedTuple):
    """Texts by name."""

    training: dict[str, str]
    held_out: dict[str, str]


class Run(NamedTuple):
    """What a run is made of."""

    options: Options
    corpus: Corpus
    vocabulary: Characters
    streams: Streams
    model: recur.Layer
    optimizer: optax.GradientTransformation


# --- Text ----------------------------------------------------------------------------------------


def read_corpus(options: Options) -> Corpus:
    """Python's library with whole files held out, or the files named, cut behind nine tenths."""
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
    """Each text between two boundaries, so that its first character and its end are learned too."""
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
    """Clipping, then the optimizer with its schedule."""
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
    """The mean nats per new character of a window."""

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
    """`evaluate(params)` -> nats of all documents, each read from the start, as in generation."""

    def losses(_, logits, window):
        spelled = jnp.where(window.targets == UNKNOWN, SPELLED_OUT, 0.0)
        return cross_entropy(logits, window.targets, window.mask) + spelled

    evaluate = running.make_evaluate(model, losses, documents, width)
    return lambda params: evaluate(params, None)


def compare(held_out: dict[str, str], last: dict[str, float]) -> dict[str, dict[str, float]]:
    """Bits per character of the held-out texts: the last validation, and two compressors."""
    texts = [text.encode() for text in held_out.values()]
    characters = sum(map(len, held_out.values()))
    found = last["held_out_bits"]  # each file starts from the initial carry, in an archive too
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
    """As Markdown, so that it can be quoted as it stands."""
    ways = list(table["this model"])
    print(f"| bits per character, held out | {' | '.join(ways)} |")
    print(f"|---|{'---|' * len(ways)}")
    for name, values in table.items():
        print(f"| {name} | {' | '.join(f'{values[way]:.3f}' for way in ways)} |")


# --- Writing text --------------------------------------------------------------------------------


def make_writer(
    model: recur.Layer,
    vocabulary: Characters,
    choose: recur.decode.sample.Chooser,
    max_tokens: int,
    min_tokens: int,
) -> Callable[[Any, str, jax.Array], str]:
    """`write(params, prompt, key)` -> the prompt, and how the model goes on."""

    @jax.jit
    def write_tokens(params, tokens, key):
        counts = {"max_tokens": max_tokens, "min_tokens": min_tokens}
        rules = {"eos": BOUNDARY, "forbidden": [UNKNOWN], **counts}
        return generate(model, params, tokens, **rules, choose=choose, key=key)

    def write(params, prompt, key):
        unknown = vocabulary.unknown_in(prompt)
        if unknown:
            raise ValueError(
                f"--prompt: expected characters of the training text, got {unknown!r}, which it "
                "has not, or too seldom. Leave them out."
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
    """Reads the text, and builds what is to learn it; writes nothing."""
    corpus = read_corpus(options)
    texts = corpus.training.values()
    rare = min(RARE, 1 + sum(map(len, texts)) // 100_000)
    vocabulary = Characters.of(texts, at_least=rare)
    documents = encode(vocabulary, corpus.training)
    streams = Streams(documents, options.batch_size, options.k1, options.k2, options.seed)
    model = build_model(options, vocabulary)
    optimizer = build_optimizer(options, streams.windows_per_epoch)
    return Run(options, corpus, vocabulary, streams, model, optimizer)


def make_validate(run: Run) -> Callable[[Report], dict[str, float]]:
    """A callback that finds the bits per character of the held-out texts."""
    evaluate = make_evaluate(run.model, encode(run.vocabulary, run.corpus.held_out))
    characters = sum(map(len, run.corpus.held_out.values()))
    return lambda report: {"held_out_bits": float(bits(evaluate(report.state.params))) / characters}


def make_sample(run: Run) -> Callable[[Report], None]:
    """A callback that shows and keeps a text."""
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
    """The loop, with everything that is to be seen of it."""
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
    """The main job."""
    with claimed(options.run, "runs/char_lm", goes_on=True) as folder:
        train_in_folder(dataclasses.replace(options, run=folder))


def train_in_folder(options: Options) -> None:
    """The main job, in the folder of the run."""
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
        f"{characters:,} characters in {seconds:.0f} s, all samples and validations included: "
        f"{characters / seconds:,.0f} a second. On the {len(run.corpus.held_out)} texts held out:\n"
    )
    print_table(table)
    print(f"\nAll of it is in {options.run}. To write text:")
    print("  " + command_line("char_lm.py", "generate", "--run", options.run, "--prompt", "def "))


def last_validation(run: Run, state: TrainState) -> dict[str, float]:
    """The metrics of the last update, with a validation: logged, or made where the log has none."""
    records = read_metrics(run.options.run / "metrics.jsonl")
    if records and records[-1]["step"] == state.step and "held_out_bits" in records[-1]:
        return records[-1]
    return make_validate(run)(Report(int(state.step), int(state.step), state, {}))


def describe(run: Run, state: TrainState) -> None:
    """Says what is about to happen."""
    options, texts = run.options, run.corpus.training.values()
    weights = sum(leaf.size for leaf in jax.tree.leaves(state.params))
    print(
        f"{options.run}: {f'resumes after update {state.step}' if state.step else 'a new run'}; "
        f"{options.layers} x {options.cell} of {options.features} units, {weights:,} weights; "
        f"{sum(map(len, texts)):,} characters in {len(texts)} texts to learn, "
        f"{len(run.vocabulary)} different ones."
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
