"""Draws the speed of the gradient of a layer in several libraries, from a benchmark's numbers.

    python scripts/speed_figure.py                       writes docs/speed.svg

Install: pip install -e ".[train]". Cost: two seconds. Each bar is the speed relative to a plain
`jax.lax.scan` of the same step, as the geometric mean over the shapes of `benchmark.py training`.
"""

from __future__ import annotations

import interrupts

if __name__ == "__main__":
    interrupts.end_at_once()

import dataclasses
import pathlib
import statistics
from typing import Any

import figures
from matplotlib import pyplot as plt

from recur import runs

RESULTS = pathlib.Path(__file__).parent / "results"
OURS, BASE = "recur, one device", "plain lax.scan"
BETTER = "recur, the better row"  # one device or two, whichever is faster in each shape
NAMES = {OURS: "recur, 1 device", BETTER: "recur, 1 or 2 devices", BASE: "plain lax.scan"}
CELLS = {"lstm": "LSTM", "gru": "GRU", "elman": "Elman"}


@dataclasses.dataclass(frozen=True)
class Options:
    """Draw the results of `benchmark.py training`."""

    results: pathlib.Path = RESULTS / "training-amd-epyc-2-cores.json"
    """A JSON file of `benchmark.py training`."""
    out: pathlib.Path = pathlib.Path("docs/speed.svg")
    """The file of the figure, an SVG or a PNG."""


def main(arguments: list[str]) -> None:
    """Draws the figure."""
    options = runs.parse_options(Options, arguments, "speed_figure.py")
    results = runs.read_json(options.results)
    figure = draw({title: speeds(results["data"][cell]) for cell, title in CELLS.items()})
    figure.suptitle(
        f"Gradient of one layer: speed relative to a plain lax.scan ({results['device']})"
    )
    figures.save(figure, options.out)


def speeds(shapes: dict[str, Any]) -> dict[str, float]:
    """The mean speed of each library that ran in all shapes, the fastest first."""
    times = [
        {name: row["gradient_ms"] for name, row in shape["rows"].items()}
        for shape in shapes.values()
    ]
    for each in times:
        each[BETTER] = min(ms for name, ms in each.items() if name.startswith("recur"))
    names = set.intersection(*map(set, times))
    found = {
        name: statistics.geometric_mean(each[BASE] / each[name] for each in times) for name in names
    }
    return dict(sorted(found.items(), key=lambda item: -item[1]))


def draw(panels: dict[str, dict[str, float]]) -> Any:
    """Draws a panel of bars for each cell; those of recur are coloured."""
    figure, all_axes = plt.subplots(1, len(panels), figsize=(11, 3), layout="constrained")
    for axes, (title, found) in zip(all_axes, panels.items(), strict=True):
        colours = ["#0072b2" if name.startswith("recur") else "#bbbbbb" for name in found]
        labels = [NAMES.get(name, name) for name in found]
        bars = axes.barh(labels, list(found.values()), color=colours)
        axes.bar_label(bars, fmt="%.2f", padding=3)
        axes.set(title=title, xlim=(0, 1.2 * max(found.values())), xticks=[])
        axes.invert_yaxis()
        axes.spines[["top", "right", "bottom"]].set_visible(False)
        axes.tick_params(left=False)
    return figure


if __name__ == "__main__":
    runs.run_command("speed_figure", main, interrupted="No figure was written.")
