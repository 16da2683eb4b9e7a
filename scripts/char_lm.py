r"""Trains a character-level language model, evaluates it on held-out text, and generates text.

    python scripts/char_lm.py                      on the source of Python's standard library
    python scripts/char_lm.py --text FILE...       on your own text; the last tenth is held out
    python scripts/char_lm.py --run DIR            resumes a run that was stopped
    python scripts/char_lm.py generate --run DIR --prompt "def " --temperature 0.7 --top-k 40
    python -m recur.diagnose DIR                   a report of the run, as an HTML page

Install: pip install -e ".[train]". Cost: the default takes two and a half minutes on two idle CPU
cores. Result, seed 0, on held-out files of CPython 3.11: 1.863 bits per character; gzip -9 needs
2.092 and xz -9 2.005 file by file (1.961 and 1.698 as one archive, which lets them use the
preceding files).

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

import dataclasses
import functools
import gzip
import lzma
import math
import pathlib
from collections.abc import Callable
from typing import Annotated, Any, Literal, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
import optax
from flax import linen as nn
from tqdm import tqdm

import recur
from recur import diagnose, runs, train
from recur.decode import argmax, categorical, generate, temperature, top_k, top_p
from recur.sequences import Streams
from recur.text import BOUNDARY, UNKNOWN, Characters, python_sources, read_text, split_by_hash

CELLS = {"elman": recur.elman, "gru": recur.gru, "lstm": recur.lstm, "ugrnn": recur.ugrnn}
HELD_OUT_ONE_IN = 20  # files of the standard library
RARE = 50  # characters with a lower count in the training text are unknown
EXAMPLE = 200  # characters of the held-out example in the report
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
    layers: Annotated[int, runs.between(1, 1000)] = 1
    """The number of recurrent layers."""
    features: runs.Size = 384
    """Units of each layer."""
    embedding: runs.Size = 64
    """Size of the character embedding."""
    dropout: runs.Rate = 0.0
    """Dropout rate of the outputs of each layer."""
    dtype: Literal["float32", "bfloat16"] = "float32"
    """Dtype of computation; weights are stored in float32."""

    steps: runs.Count = 3600
    """Total number of updates. Resume a finished run with more to continue it."""
    batch_size: runs.Size = 16
    """Number of text streams that are read in parallel."""
    k1: runs.Size = 64
    """New characters of each stream per update."""
    k2: runs.Size | None = None
    """Characters to backpropagate through, at least k1. Default: k1."""

    optimizer: Literal["adam", "rmsprop"] = "adam"
    """RMSProp has a decay of 0.95, as in char-rnn."""
    learning_rate: runs.Positive = 2.5e-3
    """Maximum learning rate."""
    schedule: Literal["cosine", "constant", "char-rnn"] = "cosine"
    """Learning rate schedule: cosine decay to 0, constant, or times 0.97 per epoch from the tenth
    epoch."""
    clip: runs.Positive | Literal["average", "none"] = 1.0
    """Maximum gradient norm: a number, or the running mean of recent norms."""
    weight_decay: runs.NonNegative = 0.0
    """Weight decay of all kernels, per unit of learning rate."""

    seed: runs.Seed = 0
    """Seed of weights, order of files, dropout and samples."""
    report_every: runs.Count = 10
    """Updates between two log entries."""
    checkpoint_every: runs.Count = 500
    """Updates between two checkpoints; the last 3 and the best are kept."""
    sample_length: Annotated[int, runs.between(0, 10**6)] = 300
    """Characters of each sample during training."""


@dataclasses.dataclass(frozen=True)
class GenerateOptions:
    """Generate text with a model trained by `char_lm.py`."""

    run: pathlib.Path
    """The folder of the run."""
    prompt: str = ""
    """Text to continue. Default: the start of a file."""
    max_tokens: runs.Size = 500
    """Maximum number of characters."""
    temperature: runs.NonNegative = 0.7
    """Below 1 sharpens the distribution, above 1 flattens it; 0 always takes the most likely
    character."""
    top_k: runs.Size | None = None
    """Sample from this many of the most likely characters."""
    top_p: float | None = None
    """Sample from the most likely characters with this total probability (nucleus sampling)."""
    min_tokens: Annotated[int, runs.between(0, 10**6)] = 0
    """Minimum number of characters."""
    seed: runs.Seed = 0
    """Seed of the samples."""


class Corpus(NamedTuple):
    """Texts by name."""

    training: dict[str, str]
    held_out: dict[str, str]


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
    """Gradient clipping, then the optimizer with its schedule; norms of each layer are logged."""
    rate = options.learning_rate
    schedules = {
        "constant": lambda: rate,
        "cosine": lambda: optax.warmup_cosine_decay_schedule(0.0, rate, 20, options.steps + 20),
        "char-rnn": lambda: optax.exponential_decay(
            rate, steps_per_epoch, 0.97, transition_begin=9 * steps_per_epoch, staircase=True
        ),
    }
    clips = {"average": train.clip_by_average_norm, "none": optax.identity}
    clip = clips.get(options.clip, lambda: optax.clip_by_global_norm(options.clip))
    scale = {"adam": optax.scale_by_adam, "rmsprop": lambda: optax.scale_by_rms(decay=0.95)}
    optimizer = optax.chain(
        scale[options.optimizer](),
        optax.add_decayed_weights(options.weight_decay, mask=train.by_path("*kernel")),
        optax.scale_by_learning_rate(schedules[options.schedule]()),
    )
    return train.record_norms(optimizer, clip())


def first_state(
    options: Options, model: recur.Layer, optimizer: optax.GradientTransformation
) -> train.TrainState:
    """The state before the first update."""
    params_key, run_key = jax.random.split(jax.random.key(options.seed))
    tokens = jax.ShapeDtypeStruct((options.batch_size, options.k1), jnp.int32)
    params = model.init(params_key, tokens)
    carry = model.init_carry(params, tokens)
    return train.init_state(params, optimizer, run_key, carry)


def make_loss(model: recur.Layer, k1: int):
    """Makes the loss, the mean nats per new character of a window."""

    def loss(params, carry, window, key):
        carry, logits = recur.lift.run_window(
            model, params, carry, window.inputs, k1, reset=window.reset, key=key
        )
        targets, mask = window.targets[:, -k1:], window.mask[:, -k1:]
        nats = train.masked_mean(train.cross_entropy(logits, targets, mask), mask)
        return nats, (carry, {"bits": train.bits(nats)})

    return loss


# --- Evaluation ----------------------------------------------------------------------------------


def make_evaluate(model: recur.Layer, documents: list[np.ndarray], width: int = 256):
    """`evaluate(params)` -> nats of all documents, each read from its start."""

    def losses(_, logits, window):
        spelled = jnp.where(window.targets == UNKNOWN, SPELLED_OUT, 0.0)
        return train.cross_entropy(logits, window.targets, window.mask) + spelled

    return train.make_document_loss(model, losses, documents, width=width)


def make_validate(model: recur.Layer, vocabulary: Characters, held_out: dict[str, str]):
    """Makes a callback that computes the bits per character of the held-out texts."""
    evaluate = make_evaluate(model, encode(vocabulary, held_out))
    characters = sum(map(len, held_out.values()))
    return lambda report: {
        "held_out_bits": float(train.bits(evaluate(report.state.params))) / characters
    }


def compare(held_out: dict[str, str], found: float) -> list[dict[str, Any]]:
    """Bits per character of the held-out texts, of the model and of two compressors."""
    texts = [text.encode() for text in held_out.values()]
    characters = sum(map(len, held_out.values()))

    def row(name, file_by_file, as_one_archive):
        found = {"file by file": file_by_file, "as one archive": as_one_archive}
        return {"bits per character, held out": name, **found}

    def row_of(name, compress):
        sizes = (sum(len(compress(text)) for text in texts), len(compress(b"".join(texts))))
        return row(name, *(8 * size / characters for size in sizes))

    return [
        row("this model", found, found),  # each file starts from the initial carry
        row_of("gzip -9", lambda data: gzip.compress(data, 9)),
        row_of("xz -9", lambda data: lzma.compress(data, preset=9)),
    ]


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
    run = runs.Run(options.run, best="held_out_bits")
    begun = run.options(Options)
    vocabulary = Characters(runs.read_json(run.folder / "vocabulary.json", str))
    run.check_data(vocabulary=vocabulary.characters)
    model = build_model(begun, vocabulary)
    params = run.best_params(jax.eval_shape(model.init, jax.random.key(0), jnp.zeros((1, 1), int)))
    choose = categorical
    for limit, value in ((top_p, options.top_p), (top_k, options.top_k)):
        choose = choose if value is None else limit(value, choose)
    choose = temperature(options.temperature, choose) if options.temperature else argmax
    write = make_writer(model, vocabulary, choose, options.max_tokens, options.min_tokens)
    print(write(params, options.prompt, jax.random.key(options.seed)))


# --- Training ------------------------------------------------------------------------------------


def make_sample(options: Options, model: recur.Layer, vocabulary: Characters, folder: pathlib.Path):
    """Makes a callback that generates, prints and saves a text."""
    length = options.sample_length
    write = make_writer(model, vocabulary, temperature(0.7), length, length)

    def sample(report):
        key = jax.random.fold_in(jax.random.key(options.seed), report.step)
        text = write(report.state.params, "", key)
        folder.mkdir(exist_ok=True)
        runs.write_text(folder / f"{report.step:06}.txt", text)
        tqdm.write(f"--- a sample after {report.step} updates ---\n{text}\n")

    return sample


def learn(options: Options, run: runs.Run) -> None:
    """Trains a model, in the folder of the run."""
    corpus = read_corpus(options)
    texts = corpus.training.values()
    vocabulary = Characters.of(texts, min_count=min(RARE, 1 + sum(map(len, texts)) // 100_000))
    run.check_data(text=corpus, vocabulary=vocabulary.characters)
    runs.write_json(run.folder / "vocabulary.json", vocabulary.characters)
    documents = encode(vocabulary, corpus.training)
    streams = Streams(documents, options.batch_size, options.k1, options.k2, options.seed)
    model = build_model(options, vocabulary)
    optimizer = build_optimizer(options, len(streams))
    state = run.restore(first_state(options, model, optimizer), streams)
    print(
        f"{run.status(state)}; "
        f"{options.layers} x {options.cell} of {options.features} units, "
        f"{optax.tree.size(state.params):,} weights; "
        f"{sum(map(len, texts)):,} characters in {len(texts)} training texts, "
        f"{len(vocabulary)} distinct ones."
    )
    sample = make_sample(options, model, vocabulary, run.folder / "samples")
    if not state.step:
        sample(train.Report(0, 0, state, {}))
    validate = make_validate(model, vocabulary, corpus.held_out)
    quarter, half = (max(1, options.steps // parts) for parts in (4, 2))
    characters = options.batch_size * options.k1
    loss = make_loss(model, options.k1)
    state = run.fit(
        jax.jit(train.make_step(loss, optimizer), donate_argnums=0),
        state,
        streams,
        steps=options.steps,
        callbacks=[train.every(quarter, sample), train.every(half, validate)],
        report_every=options.report_every,
        checkpoint_every=options.checkpoint_every,
        explain=diagnose.explain_non_finite(loss),
        progress=runs.Progress("char", characters, lambda found: f"{found['bits']:.3f} bits/char"),
        curves=runs.Curves("bits per character", {"training": "bits", "held out": "held_out_bits"}),
    )
    *text, target = next(iter(corpus.held_out.values()))[:EXAMPLE]
    tokens, [after] = vocabulary.encode("".join(text)), vocabulary.encode(target)
    surprise = functools.partial(train.cross_entropy, targets=after)
    run.save_diagnosis(model, state.params, tokens, surprise, labels=text)
    table = run.save_results(compare(corpus.held_out, run.last("held_out_bits")))
    write = runs.command_line("generate", "--run", run, "--prompt", "def ")
    print(f"\n{table}\n\nResults are in {run}. To generate text:\n  {write}")


def main(arguments: list[str]) -> None:
    """Runs a subcommand."""
    if arguments[:1] == ["generate"]:
        generate_text(runs.parse_options(GenerateOptions, arguments[1:], "char_lm.py generate"))
        return
    options = runs.parse_options(Options, arguments, "char_lm.py", resume=True)
    resuming = {"may_change": ["steps"], "best": "held_out_bits"}
    with runs.start_run(options.run, options, name="runs/char_lm", **resuming) as run:
        learn(options, run)


if __name__ == "__main__":
    runs.run_command("char_lm", main)
