"""Benchmark of gradients of long sequences: memory and time, with and without checkpoints."""

from __future__ import annotations

import dataclasses
import statistics
from collections.abc import Callable
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from benchmarks import pictures, report

import recur
from recur import Layer

UNITS = 32
# Lengths of nested segments that divide the steps, since otherwise all inputs are copied once.
SEGMENTS = {
    False: {
        1_000: (10, 10),
        3_000: (15, 20),
        10_000: (20, 25),
        30_000: (30, 25),
        100_000: (50, 40),
    },
    True: {100: (5, 5), 300: (6, 5), 1_000: (10, 10)},
}
ROUNDS = {False: 5, True: 2}
SCAN, ROOT, NESTED = "recur.scan", "recur.checkpoint", "recur.checkpoint, three levels"
HEADING = f"""The gradient of one sequence of T steps on {{device}}: an LSTM of {UNITS} units on
inputs of size {UNITS}, a loss of the last output, with respect to the weights. Temporary memory is
what XLA plans in addition to inputs and weights. Slopes are of log memory over log T: 1 if memory
is proportional to T, 0.5 if it is proportional to its root. Ratios are medians over rounds."""


@dataclasses.dataclass(frozen=True)
class Options(report.Options):
    """Memory and time of gradients over up to 100,000 steps, with and without checkpoints."""


class Run(NamedTuple):
    """The gradient, and facts from compiling it."""

    gradient: Callable[[], Any]
    compiling: dict[str, Any]


def main(options: Options) -> None:
    """Measures all numbers of steps."""
    texts = [HEADING.format(device=report.device())]
    print(texts[0], end="\n\n", flush=True)
    sizes = SEGMENTS[options.quick].items()
    measured = {count: measure(count, segments, options) for count, segments in sizes}
    found = slopes(measured)
    texts += [as_table(measured), slope_table(found)]
    print(*texts[1:], sep="\n\n")
    report.publish(options, {"slopes": found, "data": measured}, "\n\n".join(texts), draw)


def rows_of(count: int, segments: tuple[int, int], seed: int) -> dict[str, Callable[[], Run]]:
    """The rows of the table."""
    scanned = recur.scan(recur.lstm(UNITS))
    key, xs_key = jax.random.split(jax.random.key(seed))
    xs = jax.random.normal(xs_key, (count, UNITS))
    params = scanned.init(key, xs)

    def gradient_of(layer: Layer) -> Run:
        def loss(params, xs):
            (_, last), _ = layer.run(params, xs)  # so that no outputs are kept
            return jnp.mean(jnp.square(last))

        gradient, compiling = report.compiled(jax.grad(loss), params, xs)
        return Run(report.run_of(gradient, params, xs), compiling)

    return {
        SCAN: lambda: gradient_of(scanned),
        ROOT: lambda: gradient_of(recur.checkpoint(scanned)),
        NESTED: lambda: gradient_of(recur.checkpoint(scanned, segments)),
    }


def measure(count: int, segments: tuple[int, int], options: Options) -> dict[str, Any]:
    """Measures memory and time of each row for one number of steps."""
    runs, skipped = report.prepare(rows_of(count, segments, options.seed))
    seconds = report.time_rounds(
        {name: run.gradient for name, run in runs.items()}, ROUNDS[options.quick]
    )
    rows = {
        name: {
            "gradient_ms": round(1e3 * statistics.median(seconds[name]), 3),
            "times_scan": round(report.ratio(seconds[name], seconds[SCAN]), 3),
            **run.compiling,
            "seconds": [round(s, 6) for s in seconds[name]],
        }
        for name, run in runs.items()
    }
    return {"rows": rows, "skipped": skipped}


def curves(measured: dict[int, Any], what: str) -> dict[str, tuple[list[int], list[float]]]:
    """One of the results over the numbers of steps, by row."""
    names = next(iter(measured.values()))["rows"]
    return {
        name: (list(measured), [found["rows"][name][what] for found in measured.values()])
        for name in names
    }


def slopes(measured: dict[int, Any]) -> dict[str, float]:
    """The growth of memory, as the slope of log memory over log T."""
    return {
        name: round(float(np.polyfit(np.log(counts), np.log(values), 1)[0]), 3)
        for name, (counts, values) in curves(measured, "temp_bytes").items()
    }


def as_table(measured: dict[int, Any]) -> str:
    """The rows as a Markdown table."""
    header = ["T", "", "temporary MiB", "gradient ms", "times scan", "trace and compile s"]
    lines = []
    for count, found in measured.items():
        lines += [
            [
                f"{count:,}",
                name,
                f"{row['temp_bytes'] / 2**20:.2f}",
                f"{row['gradient_ms']:.1f}",
                f"{row['times_scan']:.2f}",
                f"{row['lower_seconds'] + row['compile_seconds']:.1f}",
            ]
            for name, row in found["rows"].items()
        ]
        lines += [
            [f"{count:,}", name, f"skipped: {why}", "", "", ""]
            for name, why in found["skipped"].items()
        ]
    return report.table(header, lines)


def slope_table(found: dict[str, float]) -> str:
    """The slopes as a Markdown table."""
    return report.table(["", "slope"], [[name, f"{slope:.2f}"] for name, slope in found.items()])


def draw(result: dict[str, Any]) -> Any:
    """Draws memory and time over T."""
    mebibytes = {
        name: (counts, [value / 2**20 for value in values])
        for name, (counts, values) in curves(result["data"], "temp_bytes").items()
    }
    panels = {
        "temporary memory, MiB": mebibytes,
        "gradient, ms": curves(result["data"], "gradient_ms"),
    }
    return pictures.lines(panels, x="T, steps")
