r"""Compares LSTM, GRU, tanh network and TCN on the tasks of Bai et al. 2018, at their sizes.

    python scripts/tcn_table.py                                     adding and copy memory
    python scripts/tcn_table.py --jsb FILE.mat --nottingham FILE.mat --mnist FOLDER
    python scripts/tcn_table.py --quick                             to try the script
    python scripts/tcn_table.py --run DIR                           resumes a run that was stopped

The models of a task have about as many weights as those of the paper, except that its TCN has half
as many as the others on JSB Chorales. All are trained by Adam with warm-up and cosine decay, and
clipped gradients; the paper searches the settings of each model, and trains longer.

Bai, Kolter & Koltun 2018, An Empirical Evaluation of Generic Convolutional and Recurrent Networks
for Sequence Modeling, https://arxiv.org/abs/1803.01271

Install: pip install -e ".[train,data,music]". Test error, seed 0, measured / published (Table 1):

                                    lstm           gru            tanh           tcn
    adding, 600 steps, MSE       0.165/0.164   0.00044/0.00005  0.165/0.177   0.00009/0.00006
    copy, 1,000 blanks, nats    0.0219/0.0204  0.0206/0.0197  0.0206/0.0202  0.00011/0.000035
    JSB Chorales, nats            8.95/8.45      8.52/8.43      8.94/8.91      8.32/8.10
    Nottingham, nats              4.27/3.29      4.17/3.46      4.36/4.05      3.57/3.07
    MNIST, share of errors       0.583/0.128    0.030/0.038       -/0.785    0.014/0.010
    the same, permuted               -/0.143    0.167/0.127       -/0.747    0.033/0.028

Adding: without memory the error is 0.167. The recurrent networks made one epoch of 50,000
sequences; the GRU needs 350 updates of it, the LSTM and the tanh network learn nothing. The TCN
made five (--models tcn --steps 7815), since it needs about 2,100 updates, more than one epoch has.

Copy: without memory the loss is 0.0204; the TCN alone solves it.

Music: what is far from the published numbers has not converged: Nottingham is 15 epochs, JSB
Chorales 60, after which the LSTM and the tanh network still improve; the GRU is best after 22.

MNIST: 3 epochs, too few for the LSTM, and for the GRU on permuted pixels. Not run, for lack of
time: the tanh networks, and the LSTM on permuted pixels.

Cost: on two cores of an AMD EPYC, an update of adding takes 0.2 to 0.4 seconds of CPU time, of copy
0.1 to 0.3, of JSB Chorales 0.02 to 0.04, of Nottingham 0.3 and of MNIST 0.3 (tcn 0.4). So the table
above took about 4.5 hours of it. Numbers of updates and weights:
results/tcn_table-amd-epyc-2-cores.md.
"""

from __future__ import annotations

import interrupts

if __name__ == "__main__":
    interrupts.end_at_once()

import dataclasses
import functools
import pathlib
import time
from typing import Any, Literal, NamedTuple

import jax
import jax.numpy as jnp
import optax
from flax import linen as nn
from tcn_table_tasks import Task, read_adding, read_copy, read_digits, read_music

import recur
from recur import runs, train
from recur.classic import tcn
from recur.diagnose import panels
from recur.sequences import (
    Example,
    Layout,
    batches,
    bucket,
    find_boundaries,
    make_batches,
    pad,
    pool,
)


class Sizes(NamedTuple):
    """The models of a task and their training.

    Attributes:
      units: of each recurrent layer, so that all models have about as many weights.
      layers: the number of recurrent layers.
      tcn: channels, levels and kernel size of the TCN.
      dropout: dropout rates, of the recurrent networks after each layer, and of the TCN.
      forget_bias: initial bias of the LSTM's forget gate.
      clip: the maximum gradient norm.
      rate: the maximum learning rate of Adam.
      batch_size: sequences per update.
      epochs: the number of epochs.
      published: the test errors of Table 1, in the order of MODELS.
    """

    units: tuple[int, int, int]
    layers: int
    tcn: tuple[int, int, int]
    dropout: tuple[float, float]
    forget_bias: float
    clip: float
    rate: float
    batch_size: int
    epochs: int
    published: tuple[float, float, float, float]


Model = Literal["lstm", "gru", "tanh", "tcn"]
MODELS: tuple[Model, ...] = ("lstm", "gru", "tanh", "tcn")
SIZES = {
    "adding": Sizes(
        (130, 150, 262), 1, (24, 8, 8), (0, 0), 1, 1, 4e-3, 32, 1, (0.164, 5.3e-5, 0.177, 5.8e-5)
    ),
    "copy": Sizes(
        (50, 58, 105), 1, (10, 8, 8), (0, 0), 1, 1, 2e-3, 32, 6, (0.0204, 0.0197, 0.0202, 3.5e-5)
    ),
    "jsb": Sizes(
        (200, 235, 425), 2, (150, 2, 3), (0.2, 0.5), 1, 1, 2e-3, 8, 60, (8.45, 8.43, 8.91, 8.10)
    ),
    "nottingham": Sizes(
        (500, 590, 1045), 1, (150, 4, 6), (0.1, 0.2), 1, 0.5, 2e-3, 8, 15, (3.29, 3.46, 4.05, 3.07)
    ),
    "mnist": Sizes(
        (130, 150, 262), 1, (25, 8, 7), (0, 0), 1, 1, 2e-3, 32, 3, (0.128, 0.038, 0.785, 0.010)
    ),
    "permuted": Sizes(
        (130, 150, 262), 1, (25, 8, 7), (0, 0), 1, 1, 2e-3, 32, 3, (0.143, 0.127, 0.747, 0.028)
    ),
}
ADDED, BLANKS = 600, 1000  # steps of adding, and blanks of copy
DRAWN = {"adding": 50_000, "copy": 10_000}  # training sequences
QUICK = 40  # the number of examples of each set, and of their steps, with --quick
LENGTHS = 3  # of batches of music; each is compiled
EVALUATED = 50  # rows of a batch in evaluation
EVALUATIONS = 20  # of the validation set, over a training run
FORMATS = {"test error": ".3g", "published": ".3g", "seconds": ".0f"}


@dataclasses.dataclass(frozen=True)
class Options:
    """Compare recurrent networks and a temporal convolutional network (TCN)."""

    jsb: pathlib.Path | None = None
    """JSB_Chorales.mat, in the format of Boulanger-Lewandowski."""
    nottingham: pathlib.Path | None = None
    """Nottingham.mat, in the same format."""
    mnist: pathlib.Path | None = None
    """A folder with the four files of MNIST."""
    tasks: (
        tuple[Literal["adding", "copy", "jsb", "nottingham", "mnist", "permuted"], ...] | None
    ) = None
    """The tasks. Default: adding and copy, and those whose data are given."""
    models: tuple[Model, ...] = MODELS
    """The models."""
    steps: runs.Count | None = None
    """Number of updates. Default: some epochs, by task."""
    seed: runs.Seed = 0
    """Seed of weights, drawn sequences, noise and order."""
    report_every: runs.Count = 50
    """Updates between two log entries."""
    run: pathlib.Path | None = None
    """The folder of the run. A new folder starts a run; an existing one resumes its run with the
    same options, except for other tasks and models. Default: runs/tcn_table-1, -2 ..."""
    quick: bool = False
    """Whether to make a few updates on little data, to try the script."""


# --- Data ----------------------------------------------------------------------------------------


def read_task(name: str, options: Options) -> Task:
    """Draws or reads the examples of a task."""
    counts = dict.fromkeys(DRAWN, QUICK) if options.quick else DRAWN
    match name:
        case "adding":
            task = read_adding(20 if options.quick else ADDED, counts[name], options.seed)
        case "copy":
            task = read_copy(20 if options.quick else BLANKS, counts[name], options.seed)
        case "mnist" | "permuted":
            task = read_digits(options.mnist, name == "permuted", options.seed)
        case _:
            task = read_music(getattr(options, name))
    if options.quick:
        parts = [[shorten(each) for each in part[:QUICK]] for part in task[:3]]
        return Task(*parts, *task[3:])
    return task


def shorten(example: Example) -> Example:
    """The first steps of an example."""
    return example._replace(steps=jax.tree.map(lambda leaf: leaf[:QUICK], example.steps))


def layout_of(task: Task) -> Layout:
    """The layout of batches: one length, or a few for sequences of many lengths."""
    lengths = [len(x.steps.x) for part in task[:3] for x in part]
    return bucket(find_boundaries(lengths, LENGTHS)) if len(set(lengths)) > 1 else pad()


# --- Model ---------------------------------------------------------------------------------------


def build_model(model: str, sizes: Sizes, task: Task) -> recur.Layer:
    """The model of a batch of sequences, with answers at each step or one at the end."""
    parts: list[Any] = [task.prepare]
    if model == "tcn":
        channels, levels, kernel_size = sizes.tcn
        parts.append(tcn(channels, levels, kernel_size, dropout=sizes.dropout[1]))
    else:
        units = dict(zip(MODELS, sizes.units, strict=False))[model]
        cell = {
            "lstm": functools.partial(recur.lstm, forget_bias=sizes.forget_bias),
            "gru": recur.gru,
            "tanh": recur.elman,
        }[model]
        for _ in range(sizes.layers):
            parts += [recur.scan(cell(units)), nn.Dropout(sizes.dropout[0])]
    head = nn.Dense(task.outputs)
    if task.has_one_answer:
        return recur.batch(recur.pooled(recur.chain(*parts), pool.last, head))
    return recur.batch(recur.chain(*parts, head))


# --- Training ------------------------------------------------------------------------------------


def make_evaluate(model: recur.Layer, task: Task, layout: Layout):
    """Makes `evaluate(params, examples)` -> the mean error."""

    @jax.jit
    def step(params, batch):
        return {"error": task.error(model(params, batch.steps.x, **batch.layer_kwargs), batch)}

    def evaluate(params, examples) -> float:
        data = make_batches(examples, layout, min(EVALUATED, len(examples)))
        return train.evaluate(functools.partial(step, params), data)["error"]

    return evaluate


def learn(name: str, of: str, task: Task, options: Options, part: runs.Run) -> dict[str, Any]:
    """Trains a model on a task, and tests its best checkpoint; returns a row of the table."""
    sizes, layout = SIZES[name], layout_of(task)
    model = build_model(of, sizes, task)
    evaluate = make_evaluate(model, task, layout)
    params_key, run_key = jax.random.split(jax.random.key(options.seed))
    params = model.init(params_key, jnp.asarray(task.training[0].steps.x)[None])

    def loss(params, carry, batch, key):
        answers = model(params, batch.steps.x, **batch.layer_kwargs, key=key)
        return task.loss(answers, batch).value(), (carry, {})

    with batches(task.training, layout, sizes.batch_size, seed=options.seed) as stream:
        steps = options.steps or (4 if options.quick else sizes.epochs * len(stream))
        rate = optax.warmup_cosine_decay_schedule(0.0, sizes.rate, 1 + steps // 20, steps + 1)
        optimizer = optax.chain(optax.clip_by_global_norm(sizes.clip), optax.adam(rate))
        state = part.restore(train.init_state(params, optimizer, run_key), stream)

        def validate(report):
            return {"valid_error": evaluate(report.state.params, task.valid)}

        began, done, failure = time.monotonic(), int(state.step), {}
        try:
            part.fit(
                jax.jit(train.make_step(loss, optimizer), donate_argnums=0),
                state,
                stream,
                steps=steps,
                callbacks=[train.every(max(1, steps // EVALUATIONS), validate)],
                report_every=options.report_every,
                progress=runs.Progress(text=lambda found: f"{name}, {of}: {found['loss']:.4f}"),
            )
        except FloatingPointError as error:
            failure = {"stopped": str(error).split(". ")[0]}
    row = {
        "task": name,
        "model": of,
        "weights": optax.tree.size(params),
        "test error": evaluate(part.best_params(params), task.test),
        "published": dict(zip(MODELS, sizes.published, strict=True))[of],
        "updates": part.records()[-1]["step"],
        **failure,
    }
    return row if done else row | {"seconds": time.monotonic() - began}


# --- All models on all tasks ---------------------------------------------------------------------


def draw(rows: list[dict[str, Any]], without_memory: dict[str, float], run: runs.Run) -> None:
    """Draws the validation error over updates, with a panel for each task."""
    lines: dict[str, dict[str, Any]] = {}
    for row in rows:
        part = runs.Run(run.folder / f"{row['task']}-{row['model']}")
        lines.setdefault(row["task"], {})[row["model"]] = part.points("valid_error")
    levels = {name: {"without memory": level} for name, level in without_memory.items()}
    figure = panels(lines, levels=levels, y="validation error", logarithmic=True)
    runs.write_figure(run.folder / "curves.png", figure)


def learn_all(options: Options, run: runs.Run) -> None:
    """Trains every model on every task, each in its part of the run, and compares them."""
    rows, without_memory = [], {}
    for name in options.tasks:
        task = read_task(name, options)
        counts = " + ".join(f"{len(part):,}" for part in task[:3])
        print(f"{run}: {name}, {counts} sequences for training, validation and test.", flush=True)
        if task.without_memory is not None:
            without_memory[name] = task.without_memory
        for model in options.models:
            with run.part(f"{name}-{model}", best="valid_error") as part:
                [row] = part.results() or [learn(name, model, task, options, part)]
                part.save_results([row], FORMATS)
            rows.append(row)
            print(f"{name}, {model}: test error {row['test error']:.3g}", flush=True)
    draw(rows, without_memory, run)
    print(f"\n{run.save_results(rows, FORMATS)}\n\nResults are in {run}.")


def complete(options: Options) -> Options:
    """Chooses the tasks by the given data, and checks that those of given tasks are there."""
    data = {
        "adding": True,
        "copy": True,
        "jsb": options.jsb,
        "nottingham": options.nottingham,
        "mnist": options.mnist,
        "permuted": options.mnist,
    }
    tasks = options.tasks or tuple(name for name, given in data.items() if given)
    for name in tasks:
        if not data[name]:
            option = "mnist" if name == "permuted" else name
            raise ValueError(f"--tasks {name}: expected its data as --{option}, got none.")
    if not options.models:
        raise ValueError("--models: expected at least one, got none.")
    return dataclasses.replace(options, tasks=tasks)


def main(arguments: list[str]) -> None:
    """Runs the script."""
    options = complete(runs.parse_options(Options, arguments, "tcn_table.py", resume=True))
    may_change = ["tasks", "models"]
    with runs.start_run(options.run, options, name="runs/tcn_table", may_change=may_change) as run:
        learn_all(options, run)


if __name__ == "__main__":
    runs.run_command("tcn_table", main)
