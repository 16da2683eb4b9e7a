"""Draws one step of a cell as a graph of its equations, coloured by where they run.

    python scripts/structure_figure.py                   writes docs/lstm_step.svg

Install: pip install -e ".[train]". Cost: two seconds. Expected: four products of the input before
the loop, one product of the state and the gates in the loop.
"""

from __future__ import annotations

import interrupts

if __name__ == "__main__":
    interrupts.end_at_once()

import dataclasses
import pathlib
from typing import Any

import figures
import jax
import jax.numpy as jnp
from matplotlib import pyplot as plt

import recur
from recur import runs
from recur.structure import Structure, find_structure
from recur.structure.jaxprs import variables

# Of the palette of Okabe and Ito, for colour-blind readers; they differ in lightness too.
COLOURS = {
    "once": "#bbbbbb",
    "before the loop": "#56b4e9",
    "in the loop": "#e69f00",
    "after the loop": "#009e73",
    "given": "#ffffff",
}
NAMES = {
    "dot_general": "product",
    "add": "+",
    "mul": "⊙",
    "sub": "−",
    "logistic": "σ",
    "tanh": "tanh",
}


@dataclasses.dataclass(frozen=True)
class Options:
    """Draw the step of an LSTM."""

    out: pathlib.Path = pathlib.Path("docs/lstm_step.svg")
    """The file of the figure, an SVG or a PNG."""


def main(arguments: list[str]) -> None:
    """Draws an LSTM with a linear output, which has all classes of equations."""
    options = runs.parse_options(Options, arguments, "structure_figure.py")
    found = structure_of_lstm()
    figure, axes = plt.subplots(figsize=(11, 6))
    draw(found, axes)
    figure.tight_layout()
    figures.save(figure, options.out)


def structure_of_lstm() -> Structure:
    """The step of an LSTM of 4 units that reads 3 numbers, with a linear output."""
    from flax import linen as nn

    cell = recur.readout(recur.lstm(4), nn.Dense(2))
    x = jnp.ones(3)
    params = cell.init(jax.random.key(0), x)
    bound = cell.bind(params, x)
    return find_structure(cell.step, bound, cell.init_carry(bound, x), x, None)


def draw(found: Structure, axes: Any) -> None:
    """Draws the equations from left to right, each after its inputs."""
    _, carry, x, _ = found.traced.arguments
    nodes = [("x", "given", [], x)]
    nodes += [
        (label, "given", [], [var]) for label, var in zip(("hₜ₋₁", "cₜ₋₁"), carry, strict=True)
    ]
    classes = {
        "once": found.invariant,
        "before the loop": found.before,
        "in the loop": found.inside,
        "after the loop": found.after,
    }
    where = {id(e): name for name, equations in classes.items() for e in equations}
    same: dict[Any, Any] = {}  # equations that compute nothing are left out
    for equation in found.traced.jaxpr.eqns:
        inputs = [same.get(var, var) for var in variables(equation.invars)]
        if equation.primitive.name in ("name", "convert_element_type", "broadcast_in_dim"):
            same[equation.outvars[0]] = inputs[0]
        elif id(equation) in where:
            label = NAMES.get(equation.primitive.name, equation.primitive.name)
            nodes.append((label, where[id(equation)], inputs, equation.outvars))
    places = place(nodes)
    makers = {id(var): n for n, (*_, outputs) in enumerate(nodes) for var in outputs}
    for n, (_, _, inputs, _) in enumerate(nodes):
        for var in inputs:
            if id(var) in makers:
                (x0, y0), (x1, y1) = places[makers[id(var)]], places[n]
                arrow = {"arrowstyle": "-|>", "color": "#888888", "shrinkA": 12, "shrinkB": 12}
                axes.annotate("", (x1, y1), (x0, y0), arrowprops=arrow)
    for (label, kind, _, _), (x0, y0) in zip(nodes, places, strict=True):
        box = {"boxstyle": "round", "facecolor": COLOURS[kind], "edgecolor": "#444444"}
        axes.text(x0, y0, label, ha="center", va="center", bbox=box, fontsize=9)
    used = [kind for kind in COLOURS if any(kind == node[1] for node in nodes)]
    handles = [plt.Rectangle((0, 0), 1, 1, facecolor=COLOURS[k], edgecolor="#444444") for k in used]
    axes.legend(handles, used, loc="lower right", frameon=False)
    xs, ys = zip(*places, strict=True)
    axes.set_xlim(min(xs) - 0.6, max(xs) + 0.6)
    axes.set_ylim(min(ys) - 1, max(ys) + 1)
    axes.axis("off")


def place(nodes: list[Any]) -> list[tuple[float, float]]:
    """The column of a node is the longest path to it; its row, the mean of those of its inputs."""
    makers = {id(var): n for n, (*_, outputs) in enumerate(nodes) for var in outputs}
    columns: list[int] = []
    for _, _, inputs, _ in nodes:
        before = [columns[makers[id(v)]] for v in inputs if id(v) in makers]
        columns.append(max(before, default=-1) + 1)
    rows = [0.0] * len(nodes)
    for column in range(max(columns) + 1):
        members = [n for n, c in enumerate(columns) if c == column]

        def wish(n: int) -> float:
            read = [rows[makers[id(v)]] for v in nodes[n][2] if id(v) in makers]
            return sum(read) / len(read) if read else 0.0

        members.sort(key=wish)
        for k, n in enumerate(members):
            rows[n] = (k - (len(members) - 1) / 2) * 1.4
    return [(float(c), -r) for c, r in zip(columns, rows, strict=True)]


if __name__ == "__main__":
    runs.run_command("structure_figure", main, interrupted="No figure was written.")
