"""Benchmark of one layer: the outputs, and the value and gradient of a loss."""

from __future__ import annotations

import dataclasses
import statistics
from collections.abc import Callable, Sequence
from functools import partial
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
from benchmarks import peers, pictures, report

from recur.train import gradient_by_device

SHAPES = {
    False: (
        (32, 128, 128, 128),
        (64, 64, 256, 512),
        (1, 256, 64, 64),
        (128, 32, 64, 1024),
        (16, 512, 64, 256),
    ),
    True: ((32, 128, 128, 128), (1, 256, 64, 64)),  # quick
}
ROUNDS = {False: 7, True: 3}
PRODUCT = 2048
ONE, TWO, LAX, TORCH, CEILING = (
    "recur, one device",
    "recur, two devices",
    "plain lax.scan",
    "PyTorch",
    f"a product of two {PRODUCT} x {PRODUCT} matrices",
)
HEADING = """A training step of one layer on {device}: value and gradient of the mean of the squares
of all outputs, with respect to the weights, without an optimizer; and the outputs alone. float32, B
sequences of T steps of size D, H units with G gates. GFLOP/s are those of the gradient, counted as
3 x 2 B T (D + H) G H. All rows ran in every round, in random order; a ratio is the median over
rounds of how many times faster a row is, and the best JAX peer is the JAX library with the lowest
median. The plain cell of Haiku uses relu, the others use tanh."""


@dataclasses.dataclass(frozen=True)
class Options(report.Options):
    """Value and gradient of one layer of LSTM, GRU or Elman units, in all libraries."""


class Run(NamedTuple):
    """The runs of a library, and for JAX the cost of compiling the gradient."""

    forward: Callable[[], Any]
    gradient: Callable[[], Any]
    compiling: dict[str, Any] = {}


def main(options: Options) -> None:
    """Measures all cells in all shapes."""
    texts = [HEADING.format(device=report.device())]
    print(texts[0], end="\n\n")
    measured: dict[str, dict[str, Any]] = {}
    for cell in peers.GATES:
        measured[cell] = {}
        for shape in SHAPES[options.quick]:
            found = measure(cell, shape, options)
            measured[cell][name_of(shape)] = found
            texts.append(f"{cell}, {name_of(shape)}:\n\n{as_table(found)}")
            print(texts[-1], end="\n\n", flush=True)
    summary = summarise(measured)
    texts.insert(1, summary_table(summary))
    print(texts[1], flush=True)
    result = {"summary": summary, "data": measured}
    report.publish(options, result, "\n\n".join(texts), draw)


def name_of(shape: Sequence[int]) -> str:
    """The name of a shape."""
    return ", ".join(f"{axis} = {size}" for axis, size in zip("BTDH", shape, strict=True))


# The runs.


def loss_of(model: peers.Model) -> Callable[[Any, jax.Array], jax.Array]:
    """The loss, the mean of the squares of the outputs."""
    return lambda params, xs: jnp.mean(jnp.square(model.outputs(params, xs)))


def on_one(model: peers.Model, xs: jax.Array) -> Run:
    """The runs of a JAX model on one device."""
    forward, _ = report.compiled(model.outputs, model.params, xs)
    gradient, compiling = report.compiled(jax.value_and_grad(loss_of(model)), model.params, xs)
    args = model.params, xs
    return Run(report.run_of(forward, *args), report.run_of(gradient, *args), compiling)


def on_two(model: peers.Model, xs: jax.Array) -> Run:
    """The runs with half of the rows on each of two devices."""
    if len(jax.devices()) < 2:
        raise report.Skip("there is one device")
    if len(xs) < 2:
        raise report.Skip("one sequence cannot be halved")
    devices = jax.devices()[:2]

    def loss(params, carry, xs, key):
        del key
        return loss_of(model)(params, xs), (carry, {})

    differentiate, key = gradient_by_device(loss, devices=devices), jax.random.key(0)
    halves = [jax.device_put(half, d) for half, d in zip(jnp.split(xs, 2), devices, strict=True)]
    outputs = jax.jit(model.outputs)

    def forward():
        there = [jax.device_put(model.params, device) for device in devices]
        return [outputs(params, half) for params, half in zip(there, halves, strict=True)]

    def gradient():
        (value, _), found = differentiate(model.params, None, xs, key)
        return value, found

    return Run(report.run_of(forward), report.run_of(gradient))


def product(key: jax.Array) -> Run:
    """A large matrix product, whose GFLOP/s are a ceiling."""
    a = jax.random.normal(key, (PRODUCT, PRODUCT))
    run = report.run_of(jax.jit(jnp.matmul), a, a)
    return Run(run, run)


def rows_of(cell: str, shape: tuple[int, ...], seed: int) -> dict[str, Callable[[], Run]]:
    """The rows of the table."""
    *inputs, features = shape
    key, xs_key = jax.random.split(jax.random.key(seed))
    xs = jax.random.normal(xs_key, inputs)

    def in_jax(model: Callable, run: Callable = on_one) -> Callable[[], Run]:
        return lambda: run(model(cell, xs, features, key), xs)

    return {
        ONE: in_jax(peers.of_recur),
        TWO: in_jax(peers.of_recur, on_two),
        LAX: in_jax(peers.of_lax),
        **{name: in_jax(model) for name, model in peers.JAX_PEERS.items()},
        TORCH: lambda: Run(*peers.of_torch(cell, inputs, features, seed)),
        CEILING: partial(product, key),
    }


# The measurement.


def measure(cell: str, shape: tuple[int, ...], options: Options) -> dict[str, Any]:
    """Measures times, speed and ratios of each row in one shape."""
    runs, skipped = report.prepare(rows_of(cell, shape, options.seed))
    rounds = ROUNDS[options.quick]
    forward = report.time_rounds({name: run.forward for name, run in runs.items()}, rounds)
    gradient = report.time_rounds({name: run.gradient for name, run in runs.items()}, rounds)
    ceiling, _ = gradient.pop(CEILING), forward.pop(CEILING)
    median = {name: statistics.median(seconds) for name, seconds in gradient.items()}
    best = min((name for name in peers.JAX_PEERS if name in runs), key=median.__getitem__)
    B, T, D, H = shape
    flops = 3 * 2 * B * T * (D + H) * peers.GATES[cell] * H

    def row(name: str) -> dict[str, Any]:
        return {
            "forward_ms": round(1e3 * statistics.median(forward[name]), 3),
            "gradient_ms": round(1e3 * median[name], 3),
            "gflops": round(flops / median[name] / 1e9, 2),
            "times": report.times(gradient, name, (best, LAX, TORCH)),
            **runs[name].compiling,
            "seconds": [round(s, 6) for s in gradient[name]],
        }

    return {
        "rows": {name: row(name) for name in gradient},
        "skipped": skipped,
        "best_jax_peer": best,
        "ceiling_gflops": round(2e-9 * PRODUCT**3 / statistics.median(ceiling), 3),
    }


def summarise(measured: dict[str, dict[str, Any]]) -> dict[str, Any]:
    """Geometric means over shapes of the ratios of recur, for each cell and for all."""
    by_cell = {cell: list(by_shape.values()) for cell, by_shape in measured.items()}
    by_cell["all"] = [found for several in by_cell.values() for found in several]

    def mean(several, pick, rival):
        ratios = [pick(each)["times"].get(rival or each["best_jax_peer"]) for each in several]
        return None if None in ratios else round(statistics.geometric_mean(ratios), 3)

    rivals = {"the best JAX peer": None, LAX: LAX, TORCH: TORCH}
    rows = {"recur, the better row": better, ONE: lambda found: found["rows"][ONE]}
    return {
        cell: {
            which: {name: mean(several, pick, rival) for name, rival in rivals.items()}
            for which, pick in rows.items()
        }
        for cell, several in by_cell.items()
    }


def better(found: dict[str, Any]) -> dict[str, Any]:
    """The faster of the rows of recur."""
    rows = [found["rows"][name] for name in (ONE, TWO) if name in found["rows"]]
    return min(rows, key=lambda row: row["gradient_ms"])


# The output.


def summary_table(summary: dict[str, Any]) -> str:
    """The geometric means as a Markdown table."""
    rivals = list(summary["all"][ONE])
    header = ["geometric mean over shapes", "", *(f"times {rival}" for rival in rivals)]
    lines = [
        [cell, which, *(report.number(ratios[rival]) for rival in rivals)]
        for cell, by_row in summary.items()
        for which, ratios in by_row.items()
    ]
    return report.table(header, lines)


def as_table(found: dict[str, Any]) -> str:
    """The rows as a Markdown table."""
    best = found["best_jax_peer"]
    header = ["", "forward ms", "gradient ms", "GFLOP/s", f"times {best}", "times PyTorch"]
    header += ["trace and compile s", "temporary MiB"]
    lines = [
        [
            name,
            f"{row['forward_ms']:.1f}",
            f"{row['gradient_ms']:.1f}",
            f"{row['gflops']:.1f}",
            report.number(row["times"][best]),
            report.number(row["times"].get(TORCH)),
            f"{row['lower_seconds'] + row['compile_seconds']:.1f}" if "temp_bytes" in row else "",
            f"{row['temp_bytes'] / 2**20:.1f}" if "temp_bytes" in row else "",
        ]
        for name, row in found["rows"].items()
    ]
    lines.append([CEILING, "", "", f"{found['ceiling_gflops']:.1f}", "", "", "", ""])
    lines += [[name, f"skipped: {why}", *6 * [""]] for name, why in found["skipped"].items()]
    return report.table(header, lines)


def draw(result: dict[str, Any]) -> Any:
    """Draws the ratio of each row to the best JAX peer, with a panel for each cell."""
    panels = {
        cell: {
            shape: {
                name: row["times"][found["best_jax_peer"]] for name, row in found["rows"].items()
            }
            for shape, found in by_shape.items()
        }
        for cell, by_shape in result["data"].items()
    }
    return pictures.dots(panels, x="gradients per second, times the best JAX peer")
