r"""Accuracy and speed of a character model with weights in float32, bfloat16 and int8.

    python scripts/serve_weights.py --run runs/char_lm-1

Accuracy is that of the held-out text of the run, in bits per character. Speed is that of the step
of serve.py, which generates a character a row. The formats take turns, in random order.

Install: pip install -e ".[train,serve]". Results are in results/serving-*.md.
"""

from __future__ import annotations

import interrupts

if __name__ == "__main__":
    interrupts.end_at_once()

import collections
import dataclasses
import pathlib
import random
import time
from typing import Annotated, Any

import char_lm
import jax
import numpy as np
from serve import load_model
from serve_step import Draw, Model, Steps

from recur import runs, train

FORMATS = "float32", "bfloat16", "int8"


@dataclasses.dataclass(frozen=True)
class Options:
    """Measure the weights that serve.py can use."""

    run: pathlib.Path
    """The folder of a run of char_lm.py."""
    rows: tuple[Annotated[int, runs.between(1, 65536)], ...] = (1, 64, 512)
    """Numbers of rows of the step."""
    rounds: runs.Size = 30
    """Rounds, in which each format runs 10 steps at each number of rows."""
    seed: runs.Seed = 0
    """Seed of the order."""
    table: pathlib.Path | None = None
    """A file for the table."""


def bits_per_character(model: Model, held_out: dict[str, str]) -> float:
    """Bits per character of held-out texts, each read from its start."""
    documents = char_lm.encode(model.vocabulary, held_out)
    nats = char_lm.make_evaluate(model.layer, documents)(train.dequantize_params(model.params))
    return float(train.bits(nats)) / sum(map(len, held_out.values()))


def time_steps(steps: dict[Any, Steps], rounds: int, seed: int) -> dict[Any, tuple[float, float]]:
    """Milliseconds of a step: the median of wall time, and the mean of CPU time."""
    rng, found = random.Random(seed), collections.defaultdict(list)
    for turn in range(rounds + 1):  # the first compiles
        for name, each in rng.sample([*steps.items()], len(steps)):
            draws = {row: Draw(2, row, turn, 0.7) for row in range(each.rows)}
            wall, cpu = time.perf_counter(), time.process_time()
            for _ in range(10):
                each.generate(draws)
            found[name].append((time.perf_counter() - wall, time.process_time() - cpu))
    return {
        name: (float(np.median(times, 0)[0]) * 100, float(np.mean(times, 0)[1]) * 100)
        for name, (_, *times) in found.items()
    }


def measure(options: Options) -> list[dict[str, Any]]:
    """A row of the table for each format."""
    held_out = char_lm.read_corpus(runs.Run(options.run).options(char_lm.Options)).held_out
    models = {name: load_model(options.run, name) for name in FORMATS}
    bits = {name: bits_per_character(model, held_out) for name, model in models.items()}
    steps = {
        (name, rows): Steps(model, rows, read_rows=1, chunk=1)
        for name, model in models.items()
        for rows in options.rows
    }
    times = time_steps(steps, options.rounds, options.seed)
    table = []
    for name, model in models.items():
        size = sum(leaf.nbytes for leaf in jax.tree.leaves(model.params))
        row = {
            "weights": name,
            "MB": f"{size / 1e6:.2f}",
            "bits per character": f"{bits[name]:.4f}",
        }
        for rows in options.rows:
            wall, cpu = times[name, rows]
            row |= {f"ms, {rows} rows": f"{wall:.2f}", f"CPU ms, {rows} rows": f"{cpu:.2f}"}
        table.append(row)
    return table


def main(arguments: list[str]) -> None:
    """Measures, and prints a table."""
    options = runs.parse_options(Options, arguments, "serve_weights.py")
    table = runs.markdown_table(measure(options))
    print(table)
    if options.table:
        runs.write_text(options.table, table + "\n")


if __name__ == "__main__":
    runs.run_command("serve_weights", main, interrupted="Nothing was saved.")
