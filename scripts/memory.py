r"""Tries how long cells remember, on four tasks that only memory solves: one table, one picture.

    python scripts/memory.py                                   every cell on every task
    python scripts/memory.py --tasks copy --cells lru lstm     some of them
    python scripts/memory.py --steps 10                        to see that it runs

adding   the sum of two marked numbers among 200; an answer without memory costs 1/6
copy     ten symbols of eight, said again after 100 blanks; 0.173 nats a step
order    which of X and Y came where among 100 symbols, four classes; ln 4
halves   whether 4 to 16 digits are two identical halves, where training has none of those first
         halves; ln 2

A task counts as solved where the held-out mean squared error of adding is at most 0.01, the loss of
copy at most a tenth of that without memory, and at most 1 % of the answers to the others are wrong.
A run ends when it has done four times better, or when its updates are done. What each cell is given
stands in memory_cells.py, the definitions and their papers in memory_tasks.py.

Install: pip install -e ".[train]". Cost: 26 minutes on two CPU cores. To expect, seed 0: the
held-out loss of adding and copy, the share of right answers of order and halves, and in brackets
after how many updates where it counts as solved:

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
were measured once more by themselves, after both had been given the start of memory_cells.py.
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

HELD_OUT = 1000  # sequences to judge by, the same for every cell
ENOUGH = 1 / 4  # of what counts as solved: there a run ends
NEAR = 0.04  # a number is right where it is so near, as in Hochreiter & Schmidhuber


class Job(NamedTuple):
    """A task, and what every cell is given for it."""

    task: Task
    delay: int  # steps to be remembered, about
    features: int
    batch_size: int
    steps: int  # updates at most


JOBS = {
    "adding": Job(adding(steps=200), 200, features=64, batch_size=32, steps=2000),
    "copy": Job(copying(blanks=100), 110, features=64, batch_size=32, steps=1000),
    "order": Job(temporal_order(steps=100), 100, features=64, batch_size=32, steps=2000),
    "halves": Job(two_halves(), 8, features=128, batch_size=128, steps=5000),
}


@dataclasses.dataclass(frozen=True)
class Options:
    """Train each cell on each task, and say what it remembers."""

    tasks: tuple[Literal["adding", "copy", "order", "halves"], ...] = tuple(JOBS)
    """What to learn."""
    cells: tuple[
        Literal["tanh", "relu", "irnn", "ugrnn", "lstm", "gru", "indrnn", "min_gru", "lru"], ...
    ] = tuple(RECIPES)
    """What is to learn it."""
    steps: int | None = None
    """Updates at most; each task has its own number when not given."""
    report_every: int = 100
    """Updates between two judgements."""
    seed: int = 0
    """Of weights and examples."""
    run: pathlib.Path | None = None
    """The folder of the results, a new one; runs/memory-1, -2 ... when not given."""


# --- One cell on one task ------------------------------------------------------------------------


def judge(
    task: Task, model: recur.Layer, params: Any, keys: jax.Array, held_out: bool
) -> tuple[jax.Array, jax.Array]:
    """The mean loss of the examples of some keys, and the share that is not answered rightly."""
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
    """Adam on clipped gradients; its rate rises for a twentieth of the run, then falls to 0."""
    rate = optax.warmup_cosine_decay_schedule(0.0, recipe.learning_rate, 1 + steps // 20, steps + 2)
    parts = [optax.clip_by_global_norm(recipe.clip), optax.adam(rate)]
    if recipe.recurrent != 1:
        slower = optax.scale(recipe.recurrent)
        parts.append(optax.masked(slower, by_path("*recurrent_kernel")))
    return optax.chain(*parts)


def learn(
    job: Job, recipe: Recipe, seed: int, report_every: int, callbacks: list[Callable]
) -> dict[str, Any]:
    """Trains a cell until it has solved its task or its updates are done; what it came to."""
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
        """Keys of examples, until they are not needed."""
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
    """A line of the table."""
    return (
        f"| {name} | {cell} | {found['loss']:.4f} | {bound:.4f} | {1 - found['wrong']:.1%} "
        f"| {found['steps']:,} | {found['seconds']:.0f} | {found['outcome']} |"
    )


def run_all(options: Options) -> None:
    """The main job: what is known of each cell is written and shown as soon as it is."""
    with claimed(options.run, "runs/memory") as folder:
        run_in_folder(options, folder)


def run_in_folder(options: Options, folder: pathlib.Path) -> None:
    """The main job, in the folder of the results."""
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
    """Draws the held-out losses over updates, a panel for each task."""
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
    """Runs it."""
    run_all(running.parse(Options, arguments, "memory.py"))


if __name__ == "__main__":
    jax.config.update("jax_num_cpu_devices", 2)
    running.run_script("memory", main, sys.argv[1:], running.IS_KEPT)
