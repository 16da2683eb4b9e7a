r"""Tests the memory of cells on four tasks that need it; prints a table and draws a picture.

    python scripts/memory.py                                   every cell on every task
    python scripts/memory.py --tasks copy --cells lru lstm     some of them
    python scripts/memory.py --steps 10                        a quick check
    python scripts/memory.py --run DIR                         resumes a run that was stopped

Task, and its loss without memory:

adding   the sum of two marked numbers among 200; 1/6
copy     repeat ten symbols out of eight after 100 blanks; 0.173 nats per step
order    the order of two symbols X or Y among 100, four classes; ln 4
halves   whether 4 to 16 digits are two identical halves, with first halves that training lacks;
         ln 2

A task counts as solved if the held-out mean squared error of adding is at most 0.01, the loss of
copy at most a tenth of that without memory, or at most 1 % of the answers to the others are wrong.
Training ends when the result is four times better, or after a number of updates. memory_cells.py
has the settings of each cell, memory_tasks.py the definitions of the tasks and their papers.

Install: pip install -e ".[train]". Cost: 41 minutes on two busy CPU cores. Result, seed 0: the
held-out loss of adding and copy, the accuracy of order and halves, and in brackets the number of
updates if the task counts as solved:

             adding          copy          order             halves
    tanh     0.1646          0.1770        26.2 %            87.2 %
    relu     0.0139          0.1797        26.3 %            93.7 %
    irnn     0.0024 (3,400)  0.1571        100.0 % (300)     97.7 %
    ugrnn    0.0012 (500)    0.1733        100.0 % (400)     99.6 % (5,000)
    lstm     0.0024 (900)    0.1850        100.0 % (300)     99.9 % (3,100)
    gru      0.0014 (700)    0.1778        99.9 % (300)      99.9 % (3,600)
    indrnn   0.0090 (4,000)  0.1693        100.0 % (1,800)   89.3 %
    min_gru  0.0025 (1,100)  0.1417        26.1 %            90.7 %
    lru      0.0020 (1,500)  0.0010 (500)  100.0 % (200)     99.9 % (2,700)
    tcn      0.0025 (1,700)  0.0010 (700)  100.0 % (200)     99.8 % (4,000)

The TCN was run on its own, later, in 4 minutes of CPU time.

All numbers and the losses over updates: results/memory-amd-epyc-2-cores.md and .png.
"""

from __future__ import annotations

import interrupts

if __name__ == "__main__":
    interrupts.end_at_once()

import dataclasses
import itertools
import math
import pathlib
import time
from typing import Any, Literal, NamedTuple

import jax
import jax.numpy as jnp
import optax
from flax import linen as nn
from memory_cells import RECIPES, Recipe
from memory_tasks import Task, adding, copying, temporal_order, two_halves

import recur
from recur import runs, train
from recur.diagnose import panels
from recur.sequences import pool

HELD_OUT = 1000  # test sequences, the same for every cell
ENOUGH = 1 / 4  # of the goal, at which training ends
NEAR = 0.04  # the largest error of a right answer, as in Hochreiter & Schmidhuber
FORMATS = {"held-out loss": ".4f", "without memory": ".4f", "right": ".1%", "seconds": ".0f"}


class Job(NamedTuple):
    """A task and its settings."""

    task: Task
    delay: int  # about how many steps must be remembered
    features: int
    batch_size: int
    steps: int  # the largest number of updates


JOBS = {
    "adding": Job(adding(steps=200), 200, features=64, batch_size=32, steps=2000),
    "copy": Job(copying(blanks=100), 110, features=64, batch_size=32, steps=1000),
    "order": Job(temporal_order(steps=100), 100, features=64, batch_size=32, steps=2000),
    "halves": Job(two_halves(), 8, features=128, batch_size=128, steps=5000),
}


@dataclasses.dataclass(frozen=True)
class Options:
    """Train cells on tasks that need memory."""

    tasks: tuple[Literal["adding", "copy", "order", "halves"], ...] = tuple(JOBS)
    """The tasks."""
    cells: tuple[
        Literal["tanh", "relu", "irnn", "ugrnn", "lstm", "gru", "indrnn", "min_gru", "lru", "tcn"],
        ...,
    ] = tuple(RECIPES)
    """The cells."""
    steps: runs.Count | None = None
    """Maximum number of updates. Default: a number for each task."""
    report_every: runs.Count = 100
    """Updates between two evaluations."""
    seed: runs.Seed = 0
    """Seed of weights and examples."""
    run: pathlib.Path | None = None
    """The folder of the run. A new folder starts a run; an existing one resumes its run with the
    same options, except for other tasks and cells. Default: runs/memory-1, -2 ..."""


# --- One cell on one task ------------------------------------------------------------------------


def score(
    task: Task, model: recur.Layer, params: Any, keys: jax.Array, held_out: bool
) -> tuple[jax.Array, jax.Array]:
    """Mean loss of the examples of the given keys, and the share of wrong answers."""
    xs, length, target = jax.vmap(lambda key: task.draw(key, held_out))(keys)
    answers = model(params, xs, length=length)
    if target.ndim == 1:  # one answer, at the last step
        answers = pool.last(answers, jnp.arange(xs.shape[1]) < length[:, None])
    if task.outputs == 1:
        errors = answers[..., 0] - target
        losses, wrong = jnp.square(errors), jnp.abs(errors) > NEAR
    else:
        losses, wrong = train.cross_entropy(answers, target), answers.argmax(-1) != target
    return losses.mean(), wrong.reshape(len(keys), -1).any(axis=1).mean()


def build_optimizer(recipe: Recipe, steps: int) -> optax.GradientTransformation:
    """Adam with gradient clipping, warm-up over a twentieth of the run, and decay to 0."""
    rate = optax.warmup_cosine_decay_schedule(0.0, recipe.learning_rate, 1 + steps // 20, steps + 2)
    parts = [optax.clip_by_global_norm(recipe.clip), optax.adam(rate)]
    if recipe.recurrent != 1:
        slower = optax.scale(recipe.recurrent)
        parts.append(optax.masked(slower, train.by_path("*recurrent_kernel")))
    return optax.chain(*parts)


def learn(name: str, cell: str, options: Options, part: runs.Run) -> dict[str, Any]:
    """Trains a cell until it solves a task or its updates are done; returns a row of the table."""
    job, recipe = JOBS[name], RECIPES[cell]
    task, steps = job.task, options.steps or recipe.patience * job.steps
    model = recur.batch(recur.chain(recipe.layer(job.features, job.delay), nn.Dense(task.outputs)))
    optimizer = build_optimizer(recipe, steps)
    params_key, run_key, batch_key, held_out_key = jax.random.split(jax.random.key(options.seed), 4)
    held_out = jax.random.split(held_out_key, HELD_OUT)

    def loss(params, carry, keys, key):
        del key
        return score(task, model, params, keys, held_out=False)[0], (carry, {})

    @jax.jit
    def draw_keys(number):
        return jax.random.split(jax.random.fold_in(batch_key, number), job.batch_size)

    @jax.jit
    def evaluate(params):
        mean_loss, wrong = score(task, model, params, held_out, held_out=True)
        return {"held_out_loss": mean_loss, "held_out_wrong": wrong}

    def is_enough(report):
        return report.metrics[f"held_out_{task.measure}"] <= ENOUGH * task.goal

    example = jax.eval_shape(jax.vmap(lambda key: task.draw(key, False)), held_out)
    params = model.init(params_key, example.xs)
    state = part.restore(train.init_state(params, optimizer, run_key))
    began, failure = time.monotonic(), ""
    try:
        part.fit(
            train.make_sharded_step(loss, optimizer),
            state,
            map(draw_keys, itertools.count(int(state.step))),
            steps=steps,
            callbacks=[lambda report: evaluate(report.state.params)],
            stop=is_enough,
            report_every=options.report_every,
            progress=runs.Progress(text=lambda metrics: f"{name}, {cell}"),
            curves=None,
        )
    except FloatingPointError as error:
        failure = f"no: {str(error).split('. ')[0]}"
    found = (
        part.records() or [{"step": 0, "held_out_loss": math.nan, "held_out_wrong": math.nan}]
    )[-1]
    solved = found[f"held_out_{task.measure}"] <= task.goal
    row = {
        "task": name,
        "cell": cell,
        "held-out loss": found["held_out_loss"],
        "without memory": task.bound,
        "right": 1 - found["held_out_wrong"],
        "updates": found["step"],
        "solved": failure or ("yes" if solved else "no"),
    }
    return row if state.step else row | {"seconds": time.monotonic() - began}


# --- All cells on all tasks ----------------------------------------------------------------------


def draw(rows: list[dict[str, Any]], run: runs.Run) -> None:
    """Draws the held-out losses over updates, with a panel for each task."""
    lines: dict[str, dict[str, Any]] = {}
    for row in rows:
        part = runs.Run(run.folder / f"{row['task']}-{row['cell']}")
        lines.setdefault(row["task"], {})[row["cell"]] = part.points("held_out_loss")
    levels = {name: {"without memory": JOBS[name].task.bound} for name in lines}
    figure = panels(lines, levels=levels, y="held-out loss", logarithmic=True)
    runs.write_figure(run.folder / "curves.png", figure)


def learn_all(options: Options, run: runs.Run) -> None:
    """Trains every cell on every task, each in its part of the run, and compares them."""
    rows = []
    for name, cell in itertools.product(options.tasks, options.cells):
        with run.part(f"{name}-{cell}") as part:
            [row] = part.results() or [learn(name, cell, options, part)]
            part.save_results([row], FORMATS)
        rows.append(row)
        print(
            f"{name}, {cell}: held-out loss {row['held-out loss']:.4f}, {row['right']:.1%} right, "
            f"{row['updates']:,} updates, solved: {row['solved']}",
            flush=True,
        )
    table = run.save_results(rows, FORMATS)
    draw(rows, run)
    print(f"\n{table}\n\nResults are in {run}.")


def main(arguments: list[str]) -> None:
    """Runs the script."""
    options = runs.parse_options(Options, arguments, "memory.py", resume=True)
    if not (options.tasks and options.cells):
        raise ValueError("expected at least one task and one cell, got none.")
    may_change = ["tasks", "cells"]
    with runs.start_run(options.run, options, name="runs/memory", may_change=may_change) as run:
        learn_all(options, run)


if __name__ == "__main__":
    jax.config.update("jax_num_cpu_devices", 2)
    runs.run_command("memory", main)
