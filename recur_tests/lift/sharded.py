"""Measures programs on a mesh of four devices; run by test_sharding.py in its own process.

`python -m recur_tests.lift.sharded rows Auto` (or kernels, or Explicit) prints one JSON object:
for each layer the share of the flops that a device does, the shapes that are gathered, and the
largest error.
"""

from __future__ import annotations

import json
import re
import sys
from functools import partial

import jax
import numpy as np
from jax.sharding import AxisType, NamedSharding
from jax.sharding import PartitionSpec as P

import recur

ROWS, STEPS, INPUT, HIDDEN = 20, 5, 3, 8
XS = np.random.default_rng(0).standard_normal((ROWS, STEPS, INPUT), np.float32)
MEMORY = {"memory": np.random.default_rng(1).standard_normal((ROWS, 6, INPUT), np.float32)}
LENGTHS = np.arange(ROWS) % STEPS + 1


def scan(cell):
    return recur.batch(recur.scan(cell))


LAYERS = {
    "lstm": scan(recur.lstm(HIDDEN)),
    "gru": scan(recur.gru(HIDDEN)),
    "gru_before": scan(recur.gru(HIDDEN, reset="before")),
    "elman": scan(recur.elman(HIDDEN)),
    "projected_lstm": scan(recur.projected_lstm(HIDDEN, 4)),
    "layer_norm_lstm": scan(recur.layer_norm_lstm(HIDDEN)),
    "min_gru": scan(recur.min_gru(HIDDEN)),
    "associative": recur.batch(recur.associative(recur.min_gru(HIDDEN))),
    "newton": recur.batch(recur.newton(recur.elman(HIDDEN))),
    "attend": scan(recur.attend(recur.gru(HIDDEN), "memory")),
    "bidirectional": recur.batch(
        recur.bidirectional(
            recur.scan(recur.gru(HIDDEN)), recur.scan(recur.elman(HIDDEN), reverse=True)
        )
    ),
    "checkpoint": recur.batch(recur.checkpoint(recur.scan(recur.elman(HIDDEN)))),
    "dropout": scan(recur.variational_dropout(recur.lstm(HIDDEN), recurrent=0.5)),
}
SPREAD = {"lstm", "gru_before", "layer_norm_lstm", "min_gru", "associative"}


def programs(names):
    """By name, the outputs and the gradient of each layer, with arguments and on one device."""
    for name, layer in ((name, LAYERS[name]) for name in sorted(names)):
        context = MEMORY if name == "attend" else None
        arguments = (
            layer.init(jax.random.key(0), XS, context=context),
            (XS, LENGTHS, context),
        )
        key = jax.random.key(2) if name == "dropout" else None

        def run(params, given, layer=layer, key=key):
            xs, lengths, context = given
            return jax.tree.leaves(layer(params, xs, length=lengths, context=context, key=key))[0]

        def gradient(params, given, run=run):
            xs, *others = given
            loss = lambda params, xs: (run(params, (xs, *others)) ** 2).mean()  # noqa: E731
            return jax.grad(loss, (0, 1))(params, xs)

        for what, function in {"forwards": run, "gradient": gradient}.items():
            alone = jax.jit(function).lower(*arguments).compile()
            yield f"{name} {what}", function, arguments, alone


def measure(function, placed, arguments, alone):
    """Measures a program on sharded arguments, compared with the same program on one device."""
    spread = jax.jit(function).lower(*placed).compile()
    values = (jax.tree.map(np.asarray, each) for each in (alone(*arguments), spread(*placed)))
    errors = jax.tree.map(lambda a, b: float(np.abs(a - b).max()), *values)
    gathered = re.findall(r"= \w+\[([\d,]*)\]\S* all-gather", spread.as_text())
    return {
        "share": spread.cost_analysis()["flops"] / alone.cost_analysis()["flops"],
        "gathered": [[int(size) for size in shape.split(",")] for shape in gathered],
        "error": max(jax.tree.leaves(errors)),
    }


def placement(spread, axis_type):
    """A mesh of four devices, and how params are placed on it."""
    if spread == "rows":
        mesh = jax.make_mesh((4,), ("rows",), axis_types=(AxisType[axis_type],))
        return mesh, partial(jax.device_put, device=NamedSharding(mesh, P()))
    mesh = jax.make_mesh((2, 2), ("rows", "model"), axis_types=2 * (AxisType[axis_type],))

    def by_columns(params):
        specs = {2: P(None, "model")}
        shard = lambda leaf: NamedSharding(mesh, specs.get(leaf.ndim, P()))  # noqa: E731
        return jax.device_put(params, jax.tree.map(shard, params))

    return mesh, by_columns


def main(spread, axis_type):
    mesh, place_params = placement(spread, axis_type)
    measured = {}
    names = SPREAD if spread == "kernels" else LAYERS
    for name, function, (params, given), alone in programs(names):
        rows = jax.device_put(given, NamedSharding(mesh, P("rows")))
        placed = (place_params(params), rows)
        measured[name] = measure(function, placed, (params, given), alone)
    print(json.dumps(measured))


if __name__ == "__main__":
    jax.config.update("jax_num_cpu_devices", 4)
    jax.config.update("jax_disable_most_optimizations", True)  # quick to compile
    main(*sys.argv[1:])
