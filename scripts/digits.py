r"""Classifies digits, read by rows, by pixels or at once, by recurrent cells and a TCN.

    python scripts/digits.py                                 digits that it draws, by rows
    python scripts/digits.py --data FOLDER                   MNIST, by rows
    python scripts/digits.py --data FOLDER --by pixels       sequential MNIST, 784 steps
    python scripts/digits.py --data FOLDER --by pixels --permuted
    python scripts/digits.py --by image                      one step: no recurrence, to compare
    python scripts/digits.py --run DIR                       resumes a run that was stopped

FOLDER has the four files of MNIST, such as train-images-idx3-ubyte.gz. The checkpoint with the best
validation accuracy is tested.

Install: pip install -e ".[train,data]". Cost: 2,500 updates of all six by rows take 2.7
minutes of CPU time for drawn digits and 4 for MNIST; 4 and 8 minutes passed on a busy machine, two
cores of an AMD EPYC. Test accuracy, seed 0, in percent; published numbers are those by pixels:

               by rows, measured    by pixels, published
               drawn    MNIST       plain                      permuted
    irnn       98.90    97.81       97.0 (a)                   82.0 (a)
    lstm       99.25    97.83       98.9 (b), 87.2 (c)         90.2 (b), 85.7 (c)
    gru        99.35    98.85       96.2 (c)                   87.3 (c)
    lru        99.50    98.87
    min_gru    99.45    98.40
    tcn        99.00    98.45      99.0 (c)                   97.2 (c)
    mlp        98.60    98.05      (with --by image)

    (a) Le et al. 2015, https://arxiv.org/abs/1504.00941
    (b) Cooijmans et al. 2017, https://arxiv.org/abs/1603.09025
    (c) Bai et al. 2018, https://arxiv.org/abs/1803.01271; their tanh RNN has 21.5 and 25.3

By pixels nothing was run to the end, so there is no accuracy. Its 8,000 updates, 9 epochs, would
take about 18 (irnn), 63 (lstm), 45 (gru), 130 (lru) and 92 (min_gru) minutes of CPU time, from 8
updates of each; papers train longer. A run that is stopped resumes.
"""

from __future__ import annotations

import interrupts

if __name__ == "__main__":
    interrupts.end_at_once()

import dataclasses
import math
import pathlib
import time
from typing import Any, Literal

import jax
import jax.numpy as jnp
import numpy as np
import optax
from digits_data import Digits, Sequences, Split, make_digits, read_mnist
from flax import linen as nn
from jax.nn.initializers import normal

import recur
from recur import diagnose, runs, train
from recur.cells import scaled_identity
from recur.classic import tcn, tcn_levels
from recur.sequences import batches, make_batches, pad, pool

CELLS = ("irnn", "lstm", "gru", "lru", "min_gru", "tcn")
STEPS = {"rows": 2500, "pixels": 8000, "image": 2500}
RATES = {"irnn": {"rows": 1e-3, "pixels": 1e-4}}  # the maximum learning rate
RATE = 3e-3  # of other cells
TCN_KERNEL = 7
PUBLISHED = {  # test accuracies of MNIST by pixels, in percent: plain and permuted
    "irnn": ("97.0 (Le et al. 2015)", "82.0 (Le et al. 2015)"),
    "lstm": ("98.9 (Cooijmans et al. 2017), 87.2 (Bai et al. 2018)", "90.2, 85.7 (the same)"),
    "gru": ("96.2 (Bai et al. 2018)", "87.3 (Bai et al. 2018)"),
    "tcn": ("99.0 (Bai et al. 2018)", "97.2 (Bai et al. 2018)"),
}
SHOWN = 24  # pictures in digits.png, up to half of them with wrong answers
FORMATS = {"test accuracy": ".2%", "updates per second": ".1f"}


@dataclasses.dataclass(frozen=True)
class Options:
    """Train recurrent cells to classify digits, and compare them.

    Without --data it draws digits from strokes, 16 x 16 pixels, turned, sheared and with noise.
    """

    data: pathlib.Path | None = None
    """A folder with the four files of MNIST, such as train-images-idx3-ubyte.gz. The last 5,000
    training digits are the validation set."""
    by: Literal["rows", "pixels", "image"] = "rows"
    """What a step of the sequence is; the image is a single step, for a feed-forward network."""
    permuted: bool = False
    """Whether pixels are read in a random order, the same for all pictures (by pixels only)."""
    run: pathlib.Path | None = None
    """The folder of the run. A new folder starts a run; an existing one resumes its run with the
    same options, except for other cells. Default: runs/digits-1, -2 ..."""
    quick: bool = False
    """Whether to make a few updates on little data, to try the script."""

    cells: tuple[Literal["irnn", "lstm", "gru", "lru", "min_gru", "tcn", "mlp"], ...] = ()
    """The cells: the identity-start ReLU network (IRNN), LSTM and GRU in one layer; the LRU and the
    minGRU in two; the temporal convolutional network (TCN), with a quarter of the units. Default:
    all, or with --by image a feed-forward network of two layers (mlp)."""
    features: runs.Size = 100
    """Units of each layer."""
    steps: runs.Count | None = None
    """Number of updates of each cell. Default: 2,500 by rows and 8,000 by pixels."""
    batch_size: runs.Size = 64
    """Digits per update."""
    learning_rate: runs.Positive | None = None
    """Maximum learning rate of Adam, with warm-up and a cosine decay to 0. Default: 3e-3, and less
    for the IRNN."""
    clip: runs.Positive = 1.0
    """Maximum gradient norm."""
    seed: runs.Seed = 0
    """Seed of weights, order of digits and pixels, and drawings."""
    report_every: runs.Count = 10
    """Updates between two log entries."""
    checkpoint_every: runs.Count = 500
    """Updates between two checkpoints; the last 3 and the best are kept."""


# --- Data ----------------------------------------------------------------------------------------


def read_digits(options: Options) -> Split:
    """Reads MNIST, or draws digits."""
    if options.permuted and options.by != "pixels":
        raise ValueError(f"--permuted: expected it with --by pixels, got {options.by}.")
    if options.data is not None:
        found = read_mnist(options.data)
        return Split(*(part.first(200) for part in found)) if options.quick else found
    counts = (400, 100, 100) if options.quick else (8000, 1000, 2000)
    seeds = np.random.SeedSequence(options.seed).spawn(3)
    return Split(*map(make_digits, counts, seeds))


def as_sequences(digits: Digits, options: Options) -> Sequences:
    """Returns digits as examples, read as the options say."""
    pixels = math.prod(digits.images.shape[1:])
    order = np.random.default_rng(options.seed).permutation(pixels) if options.permuted else None
    return Sequences(digits, options.by, order)


# --- Model ---------------------------------------------------------------------------------------


def build_layers(cell: str, features: int, steps: int) -> list[Any]:
    """The layers of a cell, for sequences of about so many steps; the input is uint8."""
    parts: list[Any] = [lambda x: x.astype(jnp.float32) / 128 - 0.25]
    if cell == "mlp":
        return [*parts, nn.Dense(features), nn.relu, nn.Dense(features), nn.relu]
    if cell == "tcn":
        levels = tcn_levels(steps, TCN_KERNEL)  # to read the whole sequence
        return [*parts, tcn(max(1, features // 4), levels, TCN_KERNEL)]
    identity = {"recurrent_kernel_init": scaled_identity()}
    radius = (1 - 5 / steps, 1 - 0.5 / steps)  # of the LRU: it remembers over the sequence
    layers = {
        "irnn": [recur.elman(features, activation="relu", kernel_init=normal(0.03), **identity)],
        "lstm": [recur.lstm(features, **identity)],
        "gru": [recur.gru(features)],
        "lru": [recur.lru(features, radius=radius) for _ in range(2)],
        "min_gru": [recur.min_gru(features) for _ in range(2)],
    }[cell]
    for layer in layers:
        mixed = [nn.Dense(features), "relu"] if len(layers) > 1 else []
        parts += [*mixed, recur.scan(layer)]
    return parts


# --- Training and evaluation ---------------------------------------------------------------------


def make_classify(model: recur.Layer):
    """Makes `classify(params, sequences)` -> the most likely digits, int `[N]`."""

    @jax.jit
    def classify_batch(params, steps):
        return model(params, steps).argmax(-1)

    def classify(params, sequences: Sequences) -> np.ndarray:
        data = make_batches(sequences, pad(), min(500, len(sequences)))
        found = [np.asarray(classify_batch(params, batch.steps)) for batch in data]
        return np.concatenate(found)[: len(sequences)]

    return classify


def learn(cell: str, split: Split, options: Options, part: runs.Run) -> dict[str, Any]:
    """Trains a cell, tests its best checkpoint and draws pictures; returns a row of the table."""
    training, valid, test = (as_sequences(digits, options) for digits in split)
    layers, head = build_layers(cell, options.features, int(training.lengths[0])), nn.Dense(10)
    model = recur.batch(recur.pooled(recur.chain(*layers), pool.last, head))
    steps = options.steps or (20 if options.quick else STEPS[options.by])
    highest = options.learning_rate or RATES.get(cell, {}).get(options.by, RATE)
    rate = optax.warmup_cosine_decay_schedule(0.0, highest, steps // 20, steps)
    optimizer = train.record_norms(
        optax.adam(rate), optax.clip_by_global_norm(options.clip), depth=2
    )
    params_key, run_key = jax.random.split(jax.random.key(options.seed))
    params = model.init(params_key, training[0].steps[None])
    given = {"seed": options.seed, "lengths": training.lengths}
    stream = batches(training, pad(), options.batch_size, **given)
    state = part.restore(train.init_state(params, optimizer, run_key), stream)
    classify = make_classify(model)

    def loss(params, carry, batch, key):
        labels, is_there = batch.label[:, 0], batch.present[:, 0]
        losses = train.cross_entropy(model(params, batch.steps), labels, is_there)
        return train.masked_mean(losses, is_there), (carry, {})

    paused = [0.0]  # seconds

    def validate(report):
        start = time.monotonic()
        wrong = classify(report.state.params, valid) != split.valid.labels
        paused.append(time.monotonic() - start)
        return {"valid_error": float(np.mean(wrong))}

    began, done, failure = time.monotonic(), int(state.step), {}
    try:
        with stream:
            part.fit(
                jax.jit(train.make_step(loss, optimizer), donate_argnums=0),
                state,
                stream,
                steps=steps,
                callbacks=[train.every(max(1, steps // 10), validate)],
                report_every=options.report_every,
                checkpoint_every=options.checkpoint_every,
                progress=runs.Progress(text=lambda found: f"{cell}: loss {found['loss']:.3f}"),
            )
    except FloatingPointError as error:
        failure = {"stopped": str(error).split(". ")[0]}
    seconds = time.monotonic() - began - sum(paused)
    row = {"cell": cell, "weights": optax.tree.size(params), **failure}
    if failure and not part.points("valid_error")[0]:
        return row
    params = part.best_params(params)
    answers = classify(params, test)
    row["test accuracy"] = float(np.mean(answers == split.test.labels))
    if options.data:
        row["published, by pixels"] = PUBLISHED.get(cell, ("", ""))[options.permuted]
    draw_answers(answers, split.test, part.folder / "answers.png")
    draw_beliefs(layers, head, params, split.test, test, part.folder / "beliefs.png")
    if cell not in ("tcn", "mlp"):
        reader = recur.chain(*layers, head)
        part.save_diagnosis(reader, (*params.layer, params.head), test[0].steps)
    row["updates"] = part.records()[-1]["step"]
    return row if done or failure else row | {"updates per second": steps / seconds}


# --- Pictures ------------------------------------------------------------------------------------


def draw_answers(answers: np.ndarray, digits: Digits, path: pathlib.Path) -> None:
    """Draws test digits with their answers: wrong ones first, up to half, and right ones."""
    right = answers == digits.labels
    wrong = np.flatnonzero(~right)[: SHOWN // 2]
    shown = [*wrong, *np.flatnonzero(right)[: SHOWN - len(wrong)]]
    titles = [
        str(answers[i]) if right[i] else f"{answers[i]}, not {digits.labels[i]}" for i in shown
    ]
    images = digits.images[shown]
    runs.write_figure(path, diagnose.image_grid(images, titles, right=right[shown], columns=8))


def draw_beliefs(layers, head, params, digits: Digits, test: Sequences, path: pathlib.Path) -> None:
    """Draws the probabilities of all digits after each step of the first test digit."""
    reader = recur.chain(*layers, head)  # the head after every step
    logits = reader((*params.layer, params.head), test[0].steps)
    beliefs = np.asarray(jax.nn.softmax(logits)).T
    places = np.unique(np.linspace(0, beliefs.shape[1] - 1, 28).astype(int))
    columns = [str(place + 1) for place in places]
    title = f"a {digits.labels[0]} of the test set"
    labels = {"x": "steps read", "y": "digit", "title": title}
    figure = diagnose.heatmap(beliefs[:, places], [str(i) for i in range(10)], columns, **labels)
    runs.write_figure(path, figure)


# --- Commands ------------------------------------------------------------------------------------


def learn_all(options: Options, run: runs.Run) -> None:
    """Trains every cell, each in its part of the run, and compares them."""
    split = read_digits(options)
    run.check_data(digits=split)
    counts = ", ".join(f"{len(it.labels):,} {name}" for name, it in split._asdict().items())
    length = as_sequences(split.test, options).lengths[0]
    print(f"{run}: sequences of length {length}; {counts} digits.")
    rows = []
    cells = options.cells or (("mlp",) if options.by == "image" else CELLS)
    for cell in cells:
        with run.part(cell, best="valid_error") as part:
            [row] = part.results() or [learn(cell, split, options, part)]
            part.save_results([row], FORMATS)
        rows.append(row)
    lines = {cell: runs.Run(run.folder / cell).points("valid_error") for cell in cells}
    figure = diagnose.curves(lines, y="share of wrong answers, validation")
    runs.write_figure(run.folder / "curves.png", figure)
    print(f"\n{run.save_results(rows, FORMATS)}\n\nResults and pictures are in {run}.")


def main(arguments: list[str]) -> None:
    """Runs the script."""
    options = runs.parse_options(Options, arguments, "digits.py", resume=True)
    wrong = [cell for cell in options.cells if (cell == "mlp") != (options.by == "image")]
    if wrong:
        raise ValueError(
            "--cells: expected mlp with --by image, and recurrent cells otherwise, got "
            f"{', '.join(wrong)} with --by {options.by}."
        )
    with runs.start_run(options.run, options, name="runs/digits", may_change=["cells"]) as run:
        learn_all(options, run)


if __name__ == "__main__":
    runs.run_command("digits", main)
