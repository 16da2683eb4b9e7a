r"""Tests the memory of cells on four tasks that need it; prints a table and draws a picture.

    python scripts/memory.py                                   every cell on every task
    python scripts/memory.py --tasks copy --cells lru lstm     some of them
    python scripts/memory.py --steps 10                        a quick check

Task, and its loss without memory:

adding   the sum of two marked numbers among 200; 1/6
copy     repeat ten symbols out of eight after 100 blanks; 0.173 nats per step
order    the order of two symbols X or Y among 100, four classes; ln 4
halves   whether 4 to 16 digits are two identical halves, with first halves that training lacks;
         ln 2

A task counts as solved if the held-out mean squared error of adding is at most 0.01, the loss of
copy at most a tenth of that without memory, or at most 1 % of the answers to the others are wrong.
A run ends when its result is four times better, or after its updates. The settings of each cell are
in memory_cells.py, the definitions of the tasks and their papers in memory_tasks.py.

Install: pip install -e ".[train]". Cost: 26 minutes on two CPU cores. Result, seed 0: the held-out
loss of adding and copy, the accuracy of order and halves, and in brackets the number of updates if
the task counts as solved:

             adding          copy          order            halves
    tanh     0.1646          0.1768        26.2 %           87.2 %
    relu     0.0138          0.1813        26.2 %           93.9 %
    irnn     0.0026 (4,000)  0.1567        100.0 % (400)    97.9 %
    ugrnn    0.0011 (500)    0.1723        100.0 % (300)    99.8 % (4,100)
    lstm     0.0023 (900)    0.1853        100.0 % (300)    99.9 % (3,100)
    gru      0.0014 (700)    0.1777        100.0 % (300)    99.9 % (3,600)
    indrnn   0.0082 (4,000)  0.1693        100.0 % (2,100)  88.5 %
    min_gru  0.0023 (1,100)  0.1417        26.1 %           91.7 %
    lru      0.0183          0.0022 (500)  99.9 % (200)     99.9 % (2,700)

The losses over updates: results/memory-intel-xeon-2.5ghz-2-cores.png. The rows of ugrnn and gru
were measured later, separately, with the initialization of memory_cells.py.
"""

from __future__ import annotations

import interrupts

if __name__ == "__main__":
    interrupts.end_at_once()

import dataclasses
import itertools
import math
import pathlib
import sys
import time
from collections.abc import Callable, Iterator
from typing import Any, Literal, NamedTuple

import jax
import jax.numpy as jnp
import optax
import running
from claims import claimed
from flax import linen as nn
from memory_cells import RECIPES, Recipe
from memory_tasks import Task, adding, copying, temporal_order, two_halves
from saving import read_metrics, write_json, write_picture, write_text
from tqdm import tqdm

import recur
from recur.diagnose import panels
from recur.sequences import pool
from recur.train import (
    JsonLines,
    Report,
    by_path,
    cross_entropy,
    fit,
    init_state,
    make_sharded_step,
)

HELD_OUT = 1000  # test sequences, the same for every cell
ENOUGH = 1 / 4  # of the goal, at which a run ends
NEAR = 0.04  # the largest error of a right answer, as in Hochreiter & Schmidhuber


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
        Literal["tanh", "relu", "irnn", "ugrnn", "lstm", "gru", "indrnn", "min_gru", "lru"], ...
    ] = tuple(RECIPES)
    """The cells."""
    steps: int | None = None
    """Maximum number of updates. Default: a number for each task."""
    report_every: int = 100
    """Updates between two evaluations."""
    seed: int = 0
    """Seed of weights and examples."""
    run: pathlib.Path | None = None
    """A new folder for the results. Default: runs/memory-1, -2 ..."""


# --- One cell on one task ------------------------------------------------------------------------


def judge(
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
        losses, wrong = cross_entropy(answers, target), answers.argmax(-1) != target
    return losses.mean(), wrong.reshape(len(keys), -1).any(axis=1).mean()


def make_optimizer(recipe: Recipe, steps: int) -> optax.GradientTransformation:
    """Adam with gradient clipping, warm-up over a twentieth of the run, and decay to 0."""
    rate = optax.warmup_cosine_decay_schedule(0.0, recipe.learning_rate, 1 + steps // 20, steps + 2)
    parts = [optax.clip_by_global_norm(recipe.clip), optax.adam(rate)]
    if recipe.recurrent != 1:
        slower = optax.scale(recipe.recurrent)
        parts.append(optax.masked(slower, by_path("*recurrent_kernel")))
    return optax.chain(*parts)


def learn(
    job: Job, recipe: Recipe, seed: int, report_every: int, callbacks: list[Callable]
) -> dict[str, Any]:
    """Trains a cell until it solves its task or its updates are done; returns its results."""
    task = job.task
    model = recur.batch(recur.chain(recipe.layer(job.features, job.delay), nn.Dense(task.outputs)))
    optimizer = make_optimizer(recipe, job.steps)
    params_key, run_key, batch_key, held_out_key = jax.random.split(jax.random.key(seed), 4)
    held_out = jax.random.split(held_out_key, HELD_OUT)
    found: dict[str, Any] = {"steps": 0, "loss": math.nan, "wrong": math.nan}

    def loss(params, carry, keys, key):
        del key
        return judge(task, model, params, keys, held_out=False)[0], (carry, {})

    @jax.jit
    def draw_keys(number):
        return jax.random.split(jax.random.fold_in(batch_key, number), job.batch_size)

    def batches() -> Iterator[jax.Array]:
        """Keys of examples, until the goal is reached."""
        for number in itertools.count():
            if found[task.measure] <= ENOUGH * task.goal:
                return
            yield draw_keys(number)

    @jax.jit
    def evaluate(params):
        return judge(task, model, params, held_out, held_out=True)

    def validate(report: Report) -> dict[str, float]:
        if report.step > report.since:
            values = map(float, evaluate(report.state.params))
            found.update(zip(("loss", "wrong"), values, strict=True), steps=report.step)
        return {"held_out_loss": found["loss"], "held_out_wrong": found["wrong"]}

    example = jax.eval_shape(jax.vmap(lambda key: task.draw(key, False)), held_out)
    state = init_state(model.init(params_key, example.xs), optimizer, run_key)
    began = time.monotonic()
    try:
        fit(
            make_sharded_step(loss, optimizer),
            state,
            batches(),
            steps=job.steps,
            callbacks=[validate, *callbacks],
            report_every=report_every,
        )
        found["outcome"] = "yes" if found[task.measure] <= task.goal else "no"
    except FloatingPointError as error:
        found["outcome"] = f"no: {str(error).split('. ')[0]}"
    return {**found, "seconds": time.monotonic() - began}


# --- All cells on all tasks ----------------------------------------------------------------------

HEADER = (
    "| task | cell | held-out loss | without memory | right | updates | seconds | solved |\n"
    "|---|---|---|---|---|---|---|---|"
)


def row_of(name: str, cell: str, bound: float, found: dict[str, Any]) -> str:
    """A row of the table."""
    return (
        f"| {name} | {cell} | {found['loss']:.4f} | {bound:.4f} | {1 - found['wrong']:.1%} "
        f"| {found['steps']:,} | {found['seconds']:.0f} | {found['outcome']} |"
    )


def run_all(options: Options) -> None:
    """Trains all cells on all tasks, and writes and prints each result at once."""
    with claimed(options.run, "runs/memory") as folder:
        run_in_folder(options, folder)


def run_in_folder(options: Options, folder: pathlib.Path) -> None:
    """Trains all cells on all tasks, in a folder that is locked."""
    results, table = [], [HEADER]
    print(f"{folder}\n\n{HEADER}")
    with running.at_the_end(lambda: draw(folder, results)):
        for name, cell in itertools.product(options.tasks, options.cells):
            job, recipe = JOBS[name], RECIPES[cell]
            job = job._replace(steps=options.steps or recipe.patience * job.steps)
            with tqdm(total=job.steps, desc=f"{name}, {cell}", leave=False) as bar:
                callbacks = [
                    JsonLines(folder / f"{name}-{cell}.jsonl"),
                    lambda report, bar=bar: bar.update(report.step - report.since) and None,
                ]
                found = learn(job, recipe, options.seed, options.report_every, callbacks)
            results.append({"task": name, "cell": cell, "bound": job.task.bound, **found})
            table.append(row_of(name, cell, job.task.bound, found))
            print(table[-1], flush=True)
            write_json(folder / "results.json", results)
            write_text(folder / "table.md", "\n".join(table) + "\n")


def draw(folder: pathlib.Path, results: list[dict[str, Any]]) -> None:
    """Draws the held-out losses over updates, with a panel for each task."""
    drawn: dict[str, dict[str, Any]] = {}
    levels = {}
    for each in results:
        path = folder / f"{each['task']}-{each['cell']}.jsonl"
        records = read_metrics(path, "held_out_loss")
        points = [(record["step"], record["held_out_loss"]) for record in records]
        if points:
            lines = drawn.setdefault(each["task"], {})
            lines[each["cell"]] = tuple(zip(*points, strict=True))
            levels[each["task"]] = {"without memory": each["bound"]}
    if drawn:
        figure = panels(drawn, levels=levels, y="held-out loss", logarithmic=True)
        write_picture(folder / "curves.png", figure)


def main(arguments: list[str]) -> None:
    """Runs the script."""
    run_all(running.parse(Options, arguments, "memory.py"))


if __name__ == "__main__":
    jax.config.update("jax_num_cpu_devices", 2)
    running.run_script("memory", main, sys.argv[1:], running.IS_KEPT)
