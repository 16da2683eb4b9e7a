"""Benchmark of parallel evaluation over time: associative scans and Newton's method."""

from __future__ import annotations

import dataclasses
import itertools
import math
import statistics
from collections.abc import Callable
from functools import partial
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
from benchmarks import pictures, report

import recur
from recur import Layer
from recur.lift import NewtonLayer
from recur.runs import NonNegative

COUNTS = {False: (1_000, 10_000, 100_000), True: (1_000,)}
UNITS = {False: (1, 4, 16, 64), True: (1, 4)}
ROUNDS = {False: 5, True: 2}
SCAN = "recur.scan"
HEADING = """One sequence of T steps on {device}, sequentially and in parallel: n units on inputs
of size n; the outputs, and the gradient of the mean of their squares with respect to the weights.
"times scan" is the median over rounds of how many times faster a row is than recur.scan of the same
cell. The rounds of Newton's method are those of the outputs; if it does not converge, the scan runs
instead. Parallel rows for which XLA plans more than {limit:g} GB of temporary memory are
skipped."""


@dataclasses.dataclass(frozen=True)
class Options(report.Options):
    """Outputs and gradients of long sequences, sequentially and in parallel."""

    limit: NonNegative = 2.0
    """Maximum temporary memory of a parallel row in GB; rows that need more are skipped."""


class Run(NamedTuple):
    """The outputs, the gradient, and facts from compiling and from Newton's method."""

    outputs: Callable[[], Any]
    gradient: Callable[[], Any]
    facts: dict[str, Any]


def main(options: Options) -> None:
    """Measures all cells, numbers of steps and numbers of units."""
    texts = [HEADING.format(device=report.device(), limit=options.limit)]
    print(texts[0], end="\n\n", flush=True)
    measured: dict[str, list[dict[str, Any]]] = {}
    for cell in ROWS:
        measured[cell] = []
        for count, units in itertools.product(COUNTS[options.quick], UNITS[options.quick]):
            found = measure(cell, count, units, options)
            for name, why in found["skipped"].items():
                print(f"{cell}, T = {count:,}, n = {units}: {name} is skipped: {why}", flush=True)
            measured[cell].append({"steps": count, "units": units, **found})
        texts.append(f"{cell}:\n\n{as_table(measured[cell])}")
        print("\n" + texts[-1], end="\n\n", flush=True)
    result = {"limit_gb": options.limit, "data": measured}
    report.publish(options, result, "\n\n".join(texts), draw)


# The layers, by the number of units.

ROWS: dict[str, dict[str, Callable[[int], Layer]]] = {
    "leaky integrators": {
        SCAN: lambda units: recur.scan(recur.leaky_integrator()),
        "recur.associative": lambda units: recur.associative(recur.leaky_integrator()),
    },
    "GRU": {
        SCAN: lambda units: recur.scan(recur.gru(units)),
        "recur.newton, full": lambda units: recur.newton(recur.gru(units), jacobian="full"),
        "recur.newton, diagonal": lambda units: recur.newton(recur.gru(units), jacobian="diagonal"),
    },
}


# The measurement.


def prepare(make: Callable[[int], Layer], xs: jax.Array, seed: int, limit: float) -> Run:
    """Compiles a layer, and collects the report of Newton's method."""
    layer = make(xs.shape[-1])

    def outputs(params, xs):
        if isinstance(layer, NewtonLayer):
            _, ys, solved = layer.solve(params, xs)
            return ys, solved
        return layer(params, xs), None

    def loss(params, xs):
        return jnp.mean(jnp.square(outputs(params, xs)[0]))

    params = layer.init(jax.random.key(seed), xs)
    forward, planned = report.compiled(outputs, params, xs)
    gradient, facts = report.compiled(jax.grad(loss), params, xs)
    needed = max(planned["temp_bytes"], facts["temp_bytes"]) / 1e9
    if needed > limit:
        raise report.Skip(f"it needs {needed:.1f} GB")
    solved = forward(params, xs)[1]
    if solved is not None:
        facts |= {"rounds": int(solved.steps), "converged": bool(solved.converged)}
    return Run(report.run_of(forward, params, xs), report.run_of(gradient, params, xs), facts)


def measure(cell: str, count: int, units: int, options: Options) -> dict[str, Any]:
    """Measures the times of each row in one size."""
    xs = jax.random.normal(jax.random.key(options.seed + 1), (count, units))
    runs, skipped = report.prepare(
        {
            name: partial(
                prepare, make, xs, options.seed, math.inf if name == SCAN else options.limit
            )
            for name, make in ROWS[cell].items()
        }
    )
    rounds = ROUNDS[options.quick]
    outputs = report.time_rounds({name: run.outputs for name, run in runs.items()}, rounds)
    gradient = report.time_rounds({name: run.gradient for name, run in runs.items()}, rounds)

    def numbers(seconds: dict[str, list[float]], name: str) -> dict[str, Any]:
        return {
            "ms": round(1e3 * statistics.median(seconds[name]), 3),
            "times_scan": round(report.ratio(seconds[name], seconds[SCAN]), 3),
            "seconds": [round(s, 6) for s in seconds[name]],
        }

    rows = {
        name: {
            "outputs": numbers(outputs, name),
            "gradient": numbers(gradient, name),
            **run.facts,
        }
        for name, run in runs.items()
    }
    return {"rows": rows, "skipped": skipped}


# The output.


def as_table(measured: list[dict[str, Any]]) -> str:
    """The rows as a Markdown table."""
    header = ["T", "n", "", "outputs ms", "times scan", "gradient ms", "times scan"]
    header += ["temporary MiB", "Newton's rounds"]
    lines = []
    for found in measured:
        size = [f"{found['steps']:,}", found["units"]]
        for name, row in found["rows"].items():
            times = [
                text
                for part in (row["outputs"], row["gradient"])
                for text in (f"{part['ms']:.2f}", f"{part['times_scan']:.2f}")
            ]
            lines.append([*size, name, *times, f"{row['temp_bytes'] / 2**20:.1f}", newton(row)])
        lines += [
            [*size, name, f"skipped: {why}", *5 * [""]] for name, why in found["skipped"].items()
        ]
    return report.table(header, lines)


def newton(row: dict[str, Any]) -> str:
    """The number of rounds of Newton's method, if it ran."""
    if "rounds" not in row:
        return ""
    return f"{row['rounds']}" if row["converged"] else f"{row['rounds']}, not converged"


def draw(result: dict[str, Any]) -> Any:
    """Draws how many times faster than the scan the gradient is, over T."""
    panels: dict[str, dict[str, tuple[list[int], list[float]]]] = {}
    for cell, measured in result["data"].items():
        curves = panels[f"{cell}: gradient, times scan"] = {}
        for found in measured:
            for name, row in found["rows"].items():
                if name != SCAN:
                    places, values = curves.setdefault(f"{name}, n = {found['units']}", ([], []))
                    places.append(found["steps"])
                    values.append(row["gradient"]["times_scan"])
    return pictures.lines(panels, x="T, steps")
