"""Benchmark of `recur.scan` against `jax.lax.scan` of the same step and the library of the cell.

python scripts/benchmark.py steps                     cells of recur, of users, of other libraries
python scripts/benchmark.py steps --beside PATH       and another checkout of recur, in the same run
"""

from __future__ import annotations

import dataclasses
import json
import os
import pathlib
import statistics
import subprocess
import sys
import time
from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp

if __name__ == "__main__":  # a worker with another checkout of recur, see `Remote`
    sys.path.insert(0, str(pathlib.Path(__file__).parents[1]))

from benchmarks import peers, pictures, report  # noqa: E402

import recur  # noqa: E402

SHAPES = {
    False: ((1, 256, 64, 128), (32, 128, 128, 128), (64, 64, 256, 512)),
    True: ((1, 64, 16, 16),),  # quick
}
ROUNDS = {False: 7, True: 2}
SCAN, LAX, LIBRARY, BESIDE = "recur.scan", "lax.scan", "own library", "other checkout"
HEADING = """One layer by `recur.scan` and by `jax.lax.scan` of the same step, on {device}: the
outputs, and the gradient of the mean of their squares with respect to weights and inputs. float32,
B sequences of T steps of size D, H units. Times are medians of {rounds} rounds in ms, with all
columns in every round in random order; a ratio is the median over rounds of how many times faster
`recur.scan` is."""


def own_lstm(features: int) -> Any:
    """An LSTM of a user, with one kernel for all gates."""

    def init(key, x):
        w, u = jax.random.split(key)
        draw = jax.nn.initializers.lecun_normal()
        width = 4 * features
        return {
            "w": draw(w, (*x.shape, width)),
            "u": draw(u, (features, width)),
            "b": jnp.zeros(width),
        }

    def step(params, carry, x):
        h, c = carry
        i, f, g, o = jnp.split(x @ params["w"] + h @ params["u"] + params["b"], 4)
        c = jax.nn.sigmoid(f) * c + jax.nn.sigmoid(i) * jnp.tanh(g)
        h = jax.nn.sigmoid(o) * jnp.tanh(c)
        return (h, c), h

    return recur.cell(init, lambda params, x: (jnp.zeros(features), jnp.zeros(features)), step)


def own_gru(features: int) -> Any:
    """A GRU of a user, with the reset before the product and a kernel for each gate."""

    def init(key, x):
        draw = jax.nn.initializers.lecun_normal()
        keys = jax.random.split(key, 6)
        return {
            "w": [draw(k, (*x.shape, features)) for k in keys[:3]],
            "u": [draw(k, (features, features)) for k in keys[3:]],
        }

    def step(params, h, x):
        w, u = params["w"], params["u"]
        r = jax.nn.sigmoid(x @ w[0] + h @ u[0])
        z = jax.nn.sigmoid(x @ w[1] + h @ u[1])
        n = jnp.tanh(x @ w[2] + (r * h) @ u[2])
        h = (1 - z) * n + z * h
        return h, h

    return recur.cell(init, lambda params, x: jnp.zeros(features), step)


def from_linen(name: str) -> Callable[[int], Any]:
    """A cell of Flax Linen."""
    from flax import linen as nn

    return lambda features: recur.interop.from_linen(getattr(nn, name)(features))


def from_haiku(features: int) -> Any:
    """The LSTM of Haiku."""
    import haiku as hk

    return recur.interop.from_haiku(lambda: hk.LSTM(features))


def from_equinox(features: int, width: int) -> Any:
    """The GRU of Equinox."""
    import equinox as eqx

    return recur.interop.from_equinox(lambda key: eqx.nn.GRUCell(width, features, key=key))


def cell_of(name: str, width: int, features: int) -> Any:
    """The cell of a name in the table."""
    return {
        "lstm": lambda: recur.lstm(features),
        "gru": lambda: recur.gru(features),
        "elman": lambda: recur.elman(features),
        "gru, reset before": lambda: recur.gru(features, reset="before"),
        "lstm, full peepholes": lambda: recur.lstm(features, peepholes="full"),
        "layer_norm_lstm": lambda: recur.layer_norm_lstm(features),
        "projected_lstm": lambda: recur.projected_lstm(features, features // 2),
        "recurrent_highway, depth 2": lambda: recur.recurrent_highway(features, 2),
        "a user's LSTM": lambda: own_lstm(features),
        "a user's GRU": lambda: own_gru(features),
        "from_linen(GRUCell)": lambda: from_linen("GRUCell")(features),
        "from_linen(OptimizedLSTMCell)": lambda: from_linen("OptimizedLSTMCell")(features),
        "from_haiku(LSTM)": lambda: from_haiku(features),
        "from_equinox(GRUCell)": lambda: from_equinox(features, width),
    }[name]()


NAMES = (
    "lstm",
    "gru",
    "elman",
    "gru, reset before",
    "lstm, full peepholes",
    "layer_norm_lstm",
    "projected_lstm",
    "recurrent_highway, depth 2",
    "a user's LSTM",
    "a user's GRU",
    "from_linen(GRUCell)",
    "from_linen(OptimizedLSTMCell)",
    "from_haiku(LSTM)",
    "from_equinox(GRUCell)",
)
LIBRARIES = {
    "from_linen(GRUCell)": (peers.of_linen, "gru"),
    "from_linen(OptimizedLSTMCell)": (peers.of_linen, "lstm"),
    "from_haiku(LSTM)": (peers.of_haiku, "lstm"),
    "from_equinox(GRUCell)": (peers.of_equinox, "gru"),
}


@dataclasses.dataclass(frozen=True)
class Options(report.Options):
    """Many kinds of cells, by `recur.scan` and by others."""

    beside: pathlib.Path | None = None
    """Another checkout of recur, as from `git worktree add`, to measure in the same rounds."""


def main(options: Options) -> None:
    """Measures all cells in all shapes."""
    rounds = ROUNDS[options.quick]
    texts = [HEADING.format(device=report.device(), rounds=rounds)]
    print(texts[0], end="\n\n", flush=True)
    measured: dict[str, dict[str, Any]] = {}
    for shape in SHAPES[options.quick]:
        title = ", ".join(f"{axis} = {size}" for axis, size in zip("BTDH", shape, strict=True))
        measured[title] = {
            name: measure(name, shape, options, rounds)
            for name in (NAMES[:1] + NAMES[8:10] if options.quick else NAMES)
        }
        texts.append(f"{title}:\n\n{as_table(measured[title])}")
        print(texts[-1], end="\n\n", flush=True)
    report.publish(options, {"data": measured}, "\n\n".join(texts), draw)


def measure(name: str, shape: tuple[int, ...], options: Options, rounds: int) -> dict[str, Any]:
    """Measures medians and ratios of one cell, for the outputs and the gradient."""
    workers = {SCAN: Local(name, shape, options.seed, by_scan)}
    workers[LAX] = Local(name, shape, options.seed, by_lax)
    if name in LIBRARIES:
        workers[LIBRARY] = Local(name, shape, options.seed, by_library)
    if options.beside is not None:
        workers[BESIDE] = Remote(name, shape, options.seed, options.beside)
    found = {}
    for kind in ("forward", "gradient"):
        for worker in workers.values():
            worker.run(kind)
        seconds = report.rounds_of({k: w.seconds_of(kind) for k, w in workers.items()}, rounds)
        found[kind] = {
            "ms": {k: round(1e3 * statistics.median(s), 3) for k, s in seconds.items()},
            "times": report.times(seconds, SCAN, [k for k in seconds if k != SCAN]),
        }
    for worker in workers.values():
        worker.close()
    return found


class Local:
    """Compiled runs of one model, in this process."""

    def __init__(self, name: str, shape: tuple[int, ...], seed: int, make: Callable):
        """Makes a model, which is compiled in its first run."""
        *inputs, features = shape
        key, xs_key = jax.random.split(jax.random.key(seed))
        xs = jax.random.normal(xs_key, inputs)
        params, outputs = make(name, xs, features, key)

        def loss(params, xs):
            return jnp.mean(jnp.square(outputs(params, xs)))

        functions = {"forward": jax.jit(outputs), "gradient": jax.jit(jax.grad(loss, (0, 1)))}
        self._runs = {
            kind: report.run_of(function, params, xs) for kind, function in functions.items()
        }

    def run(self, kind: str) -> float:
        """Seconds of one run."""
        begin = time.perf_counter()
        self._runs[kind]()
        return time.perf_counter() - begin

    def seconds_of(self, kind: str) -> Callable[[], float]:
        """The run as a function without arguments."""
        return lambda: self.run(kind)

    def close(self) -> None:
        """Does nothing."""


class Remote(Local):
    """The same runs in a process that imports recur from another checkout."""

    def __init__(self, name: str, shape: tuple[int, ...], seed: int, checkout: pathlib.Path):
        """Starts the process."""
        given = json.dumps([name, shape, seed])
        self._process = subprocess.Popen(
            [sys.executable, __file__, given],
            env={**os.environ, "PYTHONPATH": str(checkout.resolve())},
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )

    def run(self, kind: str) -> float:
        """Seconds of one run, as the process measured them."""
        assert self._process.stdin is not None and self._process.stdout is not None
        self._process.stdin.write(f"{kind}\n")
        self._process.stdin.flush()
        return float(self._process.stdout.readline())

    def close(self) -> None:
        """Ends the process."""
        assert self._process.stdin is not None
        self._process.stdin.close()
        self._process.wait()


def by_scan(name: str, xs: jax.Array, features: int, key: jax.Array) -> Any:
    """A model by `recur.scan` over a batch."""
    layer = recur.batch(recur.scan(cell_of(name, xs.shape[-1], features)))
    return layer.init(key, xs), lambda params, xs: layer(params, xs)


def by_lax(name: str, xs: jax.Array, features: int, key: jax.Array) -> Any:
    """A model by `jax.lax.scan` of the step and `jax.vmap`."""
    cell = cell_of(name, xs.shape[-1], features)

    def outputs(params, xs):
        def one(xs):
            bound = cell.bind(params, xs[0])
            carry = cell.init_carry(bound, xs[0])
            return jax.lax.scan(lambda carry, x: cell.step(bound, carry, x), carry, xs)[1]

        return jax.vmap(one)(xs)

    return cell.init(key, xs[0, 0]), outputs


def by_library(name: str, xs: jax.Array, features: int, key: jax.Array) -> Any:
    """A model by the loop of the library of the cell."""
    make, kind = LIBRARIES[name]
    return tuple(make(kind, xs, features, key))


def as_table(measured: dict[str, Any]) -> str:
    """Medians and ratios as a Markdown table."""
    rivals = [
        r for r in (LAX, LIBRARY, BESIDE) if any(r in m["forward"]["ms"] for m in measured.values())
    ]
    header = ["", *(f"{kind}: {c}" for kind in ("forward", "gradient") for c in _columns(rivals))]
    lines = []
    for name, found in measured.items():
        line = [name]
        for kind in ("forward", "gradient"):
            line.append(f"{found[kind]['ms'][SCAN]:.2f}")
            for rival in rivals:
                times = found[kind]["times"].get(rival)
                ms = found[kind]["ms"].get(rival)
                line += ["" if ms is None else f"{ms:.2f}", report.number(times)]
        lines.append(line)
    means = ["geometric mean"]
    for kind in ("forward", "gradient"):
        means.append("")
        for rival in rivals:
            ratios = [
                m[kind]["times"][rival] for m in measured.values() if rival in m[kind]["times"]
            ]
            means += ["", report.number(statistics.geometric_mean(ratios))]
    return report.table(header, [*lines, means])


def _columns(rivals: list[str]) -> list[str]:
    return [f"{SCAN} ms", *(c for rival in rivals for c in (f"{rival} ms", "times"))]


def draw(result: dict[str, Any]) -> Any:
    """Draws how many times faster `recur.scan` is, with a panel for each shape."""
    panels = {
        shape: {
            name: {
                f"{kind}, {rival}": times
                for kind in found
                for rival, times in found[kind]["times"].items()
            }
            for name, found in by_name.items()
        }
        for shape, by_name in result["data"].items()
    }
    return pictures.dots(panels, x="times as fast as the other, by recur.scan")


if __name__ == "__main__":
    worker = Local(*json.loads(sys.argv[1]), make=by_scan)
    for line in sys.stdin:
        print(worker.run(line.strip()), flush=True)
