r"""Writes by hand: a recurrent network with a mixture density output, Graves 2013.

    python scripts/handwrite.py                             made-up handwriting, with a text
    python scripts/handwrite.py --no-conditioned            without a text
    python scripts/handwrite.py --data TRAIN VALID TEST     strokes of XML or CSV files
    python scripts/handwrite.py --run DIR                   resumes a run that was stopped
    python scripts/handwrite.py write --run DIR --texts "hello world" --output hello.svg

Install: pip install -e ".[train,data,text]". Cost: the default takes 7.5 minutes of CPU time on two
cores of an AMD EPYC. Result, seed 0:

    negative log-likelihood, test set       -2.53 nats per step for moves, 0.019 for the pen
    wrong characters, test set               2.7%
    wrong characters, written with bias 0    5.9%
    wrong characters, written with bias 1    2.0%

The wrong characters are those that a network sees in 100 texts of the test set, of which about half
are random letters; it was trained by CTC to read the made strokes. After 10 epochs, in two parts,
they were 41.8% and 25.8%. "hello world" is longer than any text of training, and legible. Moves are
in units of their standard deviation, 0.37 heights of an x. Unlike in the paper, the Gaussians have
no correlation, the end is a state of the pen, and there are 2 layers of 128 units in place of 3 of
400. Without a text, and from files, it was tried on small data only.
"""

from __future__ import annotations

import interrupts

if __name__ == "__main__":
    interrupts.end_at_once()

import dataclasses
import pathlib
from collections.abc import Callable, Sequence
from functools import partial, reduce
from typing import Annotated, Any

import handwrite_data as data
import handwrite_models as models
import jax
import jax.numpy as jnp
import numpy as np
import optax
import strokes

import recur
from recur import diagnose, runs, train
from recur.combine import Memory
from recur.decode import ctc_greedy, generate
from recur.sequences import (
    Example,
    Layout,
    Padded,
    batches,
    bucket,
    find_boundaries,
    make_batches,
    pad,
)
from recur.text import BOUNDARY

BIASES = (0.0, 0.5, 1.0, 2.0)  # of the picture
MOST_STEPS = 40  # of a character
READ = 100  # texts of the test set that are written and read


@dataclasses.dataclass(frozen=True)
class Options:
    """Train a network to write by hand, and write texts.

    Without --data it learns from strokes that it makes, of words by made-up writers. To write with
    a trained model: `handwrite.py write --help`.
    """

    data: tuple[pathlib.Path, ...] = ()
    """Three TSV files: training, validation and test set. On each line a file, relative to it, a
    tab and its text; the file is XML as in IAM-OnDB, or CSV with dx,dy,pen_up."""
    texts: tuple[str, ...] = ("hello world", "the quick fox")
    """Texts to write."""
    bias: runs.NonNegative = 1.0
    """How neatly to write: 0 samples from the model, larger numbers are closer to the means."""
    run: pathlib.Path | None = None
    """The folder of the run. A new folder starts a run; an existing one resumes its run with the
    same options, except for other texts or more epochs. Default: runs/handwrite-1, -2 ..."""
    quick: bool = False
    """Whether to make a few updates on little data, to try the script."""

    conditioned: bool = True
    """Whether the network reads the text that it writes."""
    examples: runs.Size = 3000
    """The number of training texts to make; validation and test set have a tenth of it."""
    longest: Annotated[int, runs.between(2, 100)] = 8
    """The number of characters of a made text, at most."""
    features: runs.Size = 128
    """Units of each layer."""
    layers: Annotated[int, runs.between(1, 100)] = 2
    """The number of layers."""
    components: runs.Size = 10
    """Gaussians of the next move."""
    window: runs.Size = 5
    """Gaussians of the window over the text."""

    epochs: runs.Count = 20
    """Number of epochs."""
    batch_size: runs.Size = 32
    """Texts per update."""
    learning_rate: runs.Positive = 5e-3
    """Maximum learning rate of Adam, with a cosine decay to 0."""
    clip: runs.Positive = 1.0
    """Maximum gradient norm."""
    buckets: runs.Size = 2
    """The number of lengths to which batches are padded; each is compiled once."""
    reader_epochs: runs.Count = 4
    """Number of epochs of the network that reads what was written."""
    seed: runs.Seed = 0
    """Seed of weights, order, made data and samples."""
    report_every: runs.Count = 10
    """Updates between two log entries."""


@dataclasses.dataclass(frozen=True)
class WriteOptions:
    """Write texts with a model trained by `handwrite.py`."""

    run: pathlib.Path
    """The folder of the run."""
    texts: tuple[str, ...]
    """What to write; of a run without a text, only their number counts."""
    output: pathlib.Path = pathlib.Path("handwriting.svg")
    """The file to write, SVG."""
    bias: runs.NonNegative = 1.0
    """How neatly to write."""
    seed: runs.Seed = 0
    """Seed of the samples."""


# --- Training ------------------------------------------------------------------------------------


def fit(
    name: str,
    part: runs.Run,
    options: Options,
    examples: Sequence[Sequence[Example]],
    epochs: int,
    task: models.Task,
) -> Any:
    """Trains the writer or the reader in its part of the run; returns the best params.

    Args:
      name: what the progress bar shows.
      part: the part of the run.
      options: the options.
      examples: the training set, the validation set.
      epochs: the number of epochs.
      task: the model and its loss.
    """
    training, validation = examples[:2]
    layout = make_layout(examples, options.buckets)
    stream = batches(training, layout, options.batch_size, seed=options.seed)
    held_out = list(make_batches(validation, layout, options.batch_size))
    rate = optax.cosine_decay_schedule(options.learning_rate, epochs * len(stream))
    optimizer = optax.chain(optax.clip_by_global_norm(options.clip), optax.adam(rate))
    params_key, run_key = jax.random.split(jax.random.key(options.seed))
    params = task.init(params_key, held_out[0])
    state = part.restore(train.init_state(params, optimizer, run_key), stream)
    print(f"{part.status(state)}; {optax.tree.size(params):,} weights, {len(training):,} texts.")
    loss_of = jax.jit(lambda params, batch: task.losses(params, batch, None))

    def loss(params, carry, batch, key):
        return task.losses(params, batch, key).value(), (carry, {})

    def validate(report):
        found = [loss_of(report.state.params, batch) for batch in held_out]
        return {"valid_loss": reduce(train.Average.merge, found).value().item()}

    with stream:
        part.fit(
            jax.jit(train.make_step(loss, optimizer), donate_argnums=0),
            state,
            stream,
            epochs=epochs,
            callbacks=[train.every_epoch(validate)],
            report_every=options.report_every,
            progress=runs.Progress("text", options.batch_size, show_progress(name)),
            curves=runs.Curves("nats", {"training": "loss", "validation": "valid_loss"}),
        )
    return part.best_params(jax.eval_shape(task.init, params_key, held_out[0]))


def show_progress(name: str) -> Callable[[Any], str]:
    """What the progress bar shows."""
    return lambda metrics: f"{name}: loss {metrics['loss']:.3f}"


# --- Writing and reading -------------------------------------------------------------------------


def write(
    model: recur.Layer,
    params: Any,
    encoder: data.Encoder,
    texts: Sequence[str],
    bias: float,
    seed: int,
) -> list[tuple[np.ndarray, np.ndarray]]:
    """Writes texts; returns the strokes `[T, 3]` of each, and the window weights `[T, U]`."""
    ids = [encoder.text(text, "--texts") for text in texts]
    longest, context = max(map(len, ids)), None
    if encoder.conditioned:
        padded = np.stack([np.pad(row, (0, longest - len(row))) for row in ids])
        mask = np.arange(longest) < np.array([[len(row)] for row in ids])
        context = {"text": Memory(jax.nn.one_hot(padded, len(encoder.vocabulary)), mask)}
    begin = jnp.tile(jnp.array(models.BEGIN), (len(texts), 1, 1))
    steps = generate(
        model,
        params,
        begin,
        next_input=jax.tree_util.Partial(models.next_step, jnp.float32(bias)),
        steps=MOST_STEPS * longest,
        context=context,
        key=jax.random.key(seed),
    )
    ys = model(params, jnp.concatenate([begin, steps[:, :-1]], axis=1), context=context)
    found = []
    for row, size, pen, weights in zip(
        *map(np.asarray, (steps, [len(row) for row in ids], ys.pen, ys.weights)), strict=True
    ):
        weights = weights[:, :size]
        kept = row[: models.find_end(pen, weights)] if encoder.conditioned else row
        points = encoder.strokes(kept)
        found.append((points, weights[: len(points) - 1]))
    return found


def make_read(model: recur.Layer, params: Any, encoder: data.Encoder):
    """Makes `read(written)` -> the texts that the reader sees in strokes `[T, 3]`."""

    @jax.jit
    def run(batch):
        logits = model(params, batch.steps, mask=batch.mask)
        return ctc_greedy(logits, batch.mask, blank=BOUNDARY)

    def read(written):
        found = {}
        for batch in make_batches(encoder.for_reader(written), pad(), 32):
            paths = run(batch)
            for row, number in enumerate(batch.number[:, 0].tolist()):
                ids = paths.tokens[row][: paths.length[row]]
                found[number] = encoder.vocabulary.decode(np.asarray(ids))
        return [found[number] for number in range(len(written))]

    return read


def draw(run: runs.Run, options: Options, encoder: data.Encoder, writes: Callable) -> None:
    """Writes the texts with several biases, and the window over the first of them."""
    rows = {bias: writes(options.texts, bias) for bias in dict.fromkeys((*BIASES, options.bias))}
    samples = [(f"bias {bias:g}", row[0]) for bias in BIASES for row in rows[bias]]
    runs.write_figure(run.folder / "samples.png", diagnose.pen_strokes(samples))
    chosen = rows[options.bias]
    runs.write_text(run.folder / "samples.svg", data.to_svg([points for points, _ in chosen]))
    points, weights = chosen[0]
    if weights.size:
        figure = diagnose.pen_strokes(
            [(f"bias {options.bias:g}", points, [*options.texts[0], "end"], weights)]
        )
        runs.write_figure(run.folder / "window.png", figure)


# --- Commands ------------------------------------------------------------------------------------


def learn(options: Options, run: runs.Run) -> None:
    """Trains the writer and the reader, writes, and reads what was written."""
    parts = data.read_parts(options)
    run.check_data(strokes=[[(item.steps, item.text) for item in part] for part in parts])
    letters = "" if options.data else strokes.ALPHABET  # of all texts that it makes
    encoder = data.make_encoder(parts[0], options.conditioned, letters)
    for text in options.texts:
        encoder.text(text, "--texts")
    about = {"characters": encoder.vocabulary.characters, "scale": encoder.scale}
    about["initial step"] = sum(len(i.text) for i in parts[0]) / sum(len(i.steps) for i in parts[0])
    runs.write_json(run.folder / "encoder.json", about)

    examples = [encoder(part) for part in parts]
    task = models.make_writer(options, len(encoder.vocabulary), about["initial step"])
    with run.part("writer", best="valid_loss") as part:
        params = fit("writer", part, options, examples, options.epochs, task)
    step_nll = jax.jit(partial(models.nll_of, task.model, size=len(encoder.vocabulary)))
    totals = {"moves": 0.0, "pen": 0.0}
    for batch in make_batches(examples[2], make_layout(examples, 1), options.batch_size):
        for name, nll in step_nll(params, batch).items():
            totals[name] += float(nll.sum())
    steps = sum(len(example.steps["pen"]) for example in examples[2])
    row = {f"{name}, nats per step": total / steps for name, total in totals.items()}

    def writes(texts, bias):
        return write(task.model, params, encoder, texts, bias, options.seed)

    draw(run, options, encoder, writes)
    if options.conditioned:
        row |= read_all(options, run, encoder, parts, writes)
    table = run.save_results([row], {name: ".3f" if "nats" in name else ".1%" for name in row})
    print(f"\n{table}\n\nResults and pictures are in {run}.")


def read_all(options, run, encoder, parts, writes) -> dict[str, float]:
    """Trains the reader; the share of wrong characters that it reads in real and own writing."""
    examples = []
    for part in parts[:2]:
        frames = encoder.for_reader([item.steps for item in part])
        labels = [Padded(encoder.vocabulary.encode(item.text)) for item in part]
        examples.append([Example(*pair) for pair in zip(frames, labels, strict=True)])
    task = models.make_reader(options, len(encoder.vocabulary))
    with run.part("reader", best="valid_loss") as part:
        params = fit("reader", part, options, examples, options.reader_epochs, task)
    read = make_read(task.model, params, encoder)
    items = parts[2][:READ]
    texts = [item.text for item in items]
    seen = {"errors, test set": read([item.steps for item in items])}
    for bias in sorted({0.0, options.bias}):
        seen[f"errors, written with bias {bias:g}"] = read([it[0] for it in writes(texts, bias)])
    lines = ["\t".join(["text", *seen]), *map("\t".join, zip(texts, *seen.values(), strict=True))]
    runs.write_text(run.folder / "read.tsv", "\n".join(lines) + "\n")
    rate = train.character_error_rate
    return {name: rate(found, texts).value().item() for name, found in seen.items()}


def make_layout(examples: Sequence[Sequence[Example]], buckets: int) -> Layout:
    """Pads examples to a few lengths."""
    counts = [len(jax.tree.leaves(e.steps)[0]) for part in examples for e in part]
    return bucket(find_boundaries(counts, buckets))


def write_texts(options: WriteOptions) -> None:
    """The subcommand `write`."""
    run = runs.Run(options.run)
    begun, about = run.options(Options), runs.read_json(run.folder / "encoder.json")
    vocabulary = data.Characters(about["characters"])
    encoder = data.Encoder(vocabulary, about["scale"], begun.conditioned)
    items = [data.Item(np.zeros((2, 3), np.float32), text, "--texts") for text in options.texts]
    [batch] = make_batches(encoder(items), pad())
    task = models.make_writer(begun, len(vocabulary), about["initial step"])
    part = runs.Run(run.folder / "writer", best="valid_loss")
    params = part.best_params(jax.eval_shape(task.init, jax.random.key(0), batch))
    written = write(task.model, params, encoder, options.texts, options.bias, options.seed)
    runs.write_text(options.output, data.to_svg([points for points, _ in written]))
    print(f"{options.output}: {len(written)} texts.")


def check_texts(options: Any) -> Any:
    """Returns the options, or raises an error if there is nothing to write."""
    if not options.texts:
        raise ValueError("--texts: expected at least one text, got none.")
    return options


def main(arguments: list[str]) -> None:
    """Runs a subcommand."""
    if arguments[:1] == ["write"]:
        write_texts(
            check_texts(runs.parse_options(WriteOptions, arguments[1:], "handwrite.py write"))
        )
        return
    options = check_texts(runs.parse_options(Options, arguments, "handwrite.py", resume=True))
    if options.quick:
        sizes = {"examples": 16, "features": 8, "window": 2, "components": 2, "buckets": 1}
        options = dataclasses.replace(options, **sizes, epochs=2, reader_epochs=1, texts=("ab",))
    resuming = {"may_change": ["texts", "bias", "epochs"]}
    with runs.start_run(options.run, options, name="runs/handwrite", **resuming) as run:
        learn(options, run)


if __name__ == "__main__":
    runs.run_command("handwrite", main)
