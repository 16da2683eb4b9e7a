"""Benchmark of tracing and compiling a gradient, by depth and by length."""

from __future__ import annotations

import dataclasses
import random
import statistics
from collections.abc import Callable
from functools import partial
from typing import Any

import jax
import jax.numpy as jnp
from benchmarks import pictures, report
from flax import linen as nn

import recur

ROWS, STEPS, UNITS = 16, 64, 128
LAYERS = {False: (1, 4, 12), True: (1, 2)}
COUNTS = {False: (16, 256, 4096), True: (16, 64)}
LAYERS_OF_COUNTS = 4
ROUNDS = {False: 5, True: 1}
HEADING = f"""Seconds until the gradient of a stack of LSTMs of {UNITS} units, {ROWS} rows, is ready
to run on {{device}}: tracing and lowering in Python, and compiling by XLA. Medians over rounds in
which every row ran once, in random order, without caches."""


@dataclasses.dataclass(frozen=True)
class Options(report.Options):
    """Tracing and compiling a gradient, by the number of layers and of steps."""


def main(options: Options) -> None:
    """Measures all depths and lengths."""
    texts = [HEADING.format(device=report.device())]
    print(texts[0], end="\n\n", flush=True)
    measured = {
        "layers": measure(
            {
                (name, layers): partial(gradient, model, layers, STEPS)
                for name, model in MODELS.items()
                for layers in LAYERS[options.quick]
            },
            options,
        ),
        "steps": measure(
            {
                ("recur", steps): partial(gradient, of_recur, LAYERS_OF_COUNTS, steps)
                for steps in COUNTS[options.quick]
            },
            options,
        ),
    }
    titles = {"layers": f"T = {STEPS}", "steps": f"{LAYERS_OF_COUNTS} layers"}
    for axis, title in titles.items():
        texts.append(f"{title}:\n\n{as_table(axis, measured[axis])}")
        print(texts[-1], end="\n\n", flush=True)
    report.publish(options, {"data": measured}, "\n\n".join(texts), draw)


# What is compiled.


def of_recur(layers: int) -> Any:
    """A stack of LSTM cells in recur, in one scan."""
    return recur.batch(recur.scan(recur.stack(*(recur.lstm(UNITS) for _ in range(layers)))))


class Stack(nn.Module):
    """A chain of `RNN` layers in Flax Linen."""

    layers: int

    @nn.compact
    def __call__(self, xs):
        """`[B, T, I]` to `[B, T, H]`."""
        for _ in range(self.layers):
            xs = nn.RNN(nn.OptimizedLSTMCell(UNITS))(xs)
        return xs


def of_linen(layers: int) -> Any:
    """A model in Flax Linen."""
    return Stack(layers)


MODELS: dict[str, Callable[[int], Any]] = {"recur": of_recur, "Flax Linen": of_linen}


def gradient(of: Callable[[int], Any], layers: int, steps: int) -> dict[str, Any]:
    """Compiles a gradient, and returns the seconds it takes."""
    model = of(layers)
    apply = model.apply if isinstance(model, nn.Module) else model
    xs = jax.ShapeDtypeStruct((ROWS, steps, UNITS), jnp.float32)
    params = jax.eval_shape(model.init, jax.random.key(0), xs)

    def loss(params, xs):
        return jnp.mean(jnp.square(apply(params, xs)))

    return report.compiled(jax.value_and_grad(loss), params, xs)[1]


# The measurement.


def measure(rows: dict[tuple[str, int], Callable], options: Options) -> list[dict[str, Any]]:
    """Measures the seconds of each row."""
    found: dict[tuple[str, int], list[dict[str, Any]]] = {row: [] for row in rows}
    for number in range(ROUNDS[options.quick]):
        for row in random.Random(options.seed + number).sample(list(rows), len(rows)):
            jax.clear_caches()
            found[row].append(rows[row]())

    def median(row: tuple[str, int], what: str) -> float:
        return round(statistics.median(each[what] for each in found[row]), 3)

    return [
        {
            "row": row[0],
            "size": row[1],
            "lower_seconds": median(row, "lower_seconds"),
            "compile_seconds": median(row, "compile_seconds"),
            "rounds": found[row],
        }
        for row in rows
    ]


def as_table(axis: str, measured: list[dict[str, Any]]) -> str:
    """The rows as a Markdown table."""
    header = ["", axis, "trace and lower s", "compile s"]
    lines = [
        [
            each["row"],
            f"{each['size']:,}",
            f"{each['lower_seconds']:.2f}",
            f"{each['compile_seconds']:.2f}",
        ]
        for each in measured
    ]
    return report.table(header, lines)


def draw(result: dict[str, Any]) -> Any:
    """Draws seconds over the numbers of layers and of steps."""
    panels: dict[str, dict[str, tuple[list[int], list[float]]]] = {}
    for axis, measured in result["data"].items():
        curves = panels[f"seconds, by the number of {axis}"] = {}
        for each in measured:
            for what in ("lower", "compile"):
                places, values = curves.setdefault(f"{each['row']}, {what}", ([], []))
                places.append(each["size"])
                values.append(each[f"{what}_seconds"])
    return pictures.lines(panels, x="layers, or steps")
