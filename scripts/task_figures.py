"""Draws the five shapes of sequence tasks, each when the model predicts and when it is trained.

    python scripts/task_figures.py                       writes docs/tasks/*.svg

Install: pip install -e ".[train]". Cost: three seconds. Expected: five figures, those of the guide
"The shapes of sequence tasks".
"""

from __future__ import annotations

import interrupts

if __name__ == "__main__":
    interrupts.end_at_once()

import dataclasses
import pathlib
from typing import Any, NamedTuple

import figures
from matplotlib import pyplot as plt

from recur import runs

# Of the palette of Okabe and Ito, for colour-blind readers; they differ in lightness too.
COLOURS = {
    "input": "#56b4e9",
    "state": "#e69f00",
    "output": "#009e73",
    "target": "#ffffff",
    "loss": "#bbbbbb",
}
LINES = {
    "flow": {"color": "#555555"},
    "own choice": {"color": "#009e73", "linestyle": "dashed"},
    "memory": {"color": "#999999", "linestyle": "dotted", "connectionstyle": "arc3,rad=-0.35"},
}


@dataclasses.dataclass(frozen=True)
class Options:
    """Draw the shapes of sequence tasks."""

    out: pathlib.Path = pathlib.Path("docs/tasks")
    """The folder of the figures."""


class Node(NamedTuple):
    """A box of a graph: its kind is a key of `COLOURS`."""

    label: str
    kind: str
    x: float
    y: float


class Graph:
    """Nodes by name, and arrows between them."""

    def __init__(self) -> None:
        self.nodes: dict[str, Node] = {}
        self.arrows: list[tuple[str, str, str]] = []

    def add(self, name: str, node: Node, *sources: str, line: str = "flow") -> None:
        """Adds a node, and an arrow to it from each source."""
        self.nodes[name] = node
        self.arrows += [(source, name, line) for source in sources]

    def add_losses(self, outputs: list[str], targets: list[str]) -> None:
        """Adds the loss of each output, with its target, and their sum."""
        losses = []
        for number, (output, target) in enumerate(zip(outputs, targets, strict=True), start=1):
            _, _, x, y = self.nodes[output]
            index = f"_{number}" if len(outputs) > 1 else ""
            losses.append(f"loss {number}")
            self.add(f"target {number}", Node(target, "target", x + 0.55, y + 0.55))
            self.add(losses[-1], Node(f"$L{index}$", "loss", x, y + 1), output, f"target {number}")
        if len(losses) > 1:
            places = [self.nodes[loss] for loss in losses]
            middle = sum(place.x for place in places) / len(places)
            self.add("sum", Node("$L$", "loss", middle, places[0].y + 1), *losses)


# --- The five shapes -----------------------------------------------------------------------------


def one_to_one(training: bool) -> Graph:
    """A feed-forward network."""
    graph = Graph()
    graph.add("x", Node("$x$", "input", 0, 0))
    graph.add("h", Node("$h$", "state", 0, 1), "x")
    graph.add("y", Node("$y$", "output", 0, 2), "h")
    if training:
        graph.add_losses(["y"], ["label"])
    return graph


def many_to_one(training: bool) -> Graph:
    """The acceptor: an output after the last step."""
    graph = Graph()
    last = read(graph, "x", "h", 4)
    graph.add("y", Node("$y$", "output", 3, 2), last)
    if training:
        graph.add_losses(["y"], ["label"])
    return graph


def one_to_many(training: bool) -> Graph:
    """The conditioned generator, whose state begins with a vector, or reads it at each step."""
    graph = Graph()
    graph.add("v", Node("image", "input", -1.2, 1))
    graph.add("start", Node("$v$", "state", -0.4, 1), "v")
    write(graph, training, first=0.6, before=None)
    graph.arrows += [("start", "d1", "flow"), *(("start", f"d{t}", "memory") for t in (2, 3))]
    return graph


def encoder_decoder(training: bool) -> Graph:
    """The encoder-decoder; attention is drawn for its second step."""
    graph = Graph()
    last = read(graph, "x", "e", 3)
    write(graph, training, first=3.2, before=last)
    graph.arrows += [(f"e{t}", "d2", "memory") for t in (1, 2, 3)]
    return graph


def many_to_many(training: bool) -> Graph:
    """The transducer, bidirectional: an output for each step."""
    graph = Graph()
    for t in range(4):
        graph.add(f"x{t}", Node(f"$x_{t + 1}$", "input", 1.6 * t, 0))
        graph.add(f"f{t}", Node(rf"$\vec{{h}}_{t + 1}$", "state", 1.6 * t - 0.35, 1), f"x{t}")
        backward = rf"$\overleftarrow{{h}}_{t + 1}$"
        graph.add(f"b{t}", Node(backward, "state", 1.6 * t + 0.35, 1.8), f"x{t}")
        graph.add(f"y{t}", Node(f"$y_{t + 1}$", "output", 1.6 * t, 2.8), f"f{t}", f"b{t}")
    graph.arrows += [(f"f{t}", f"f{t + 1}", "flow") for t in range(3)]
    graph.arrows += [(f"b{t + 1}", f"b{t}", "flow") for t in range(3)]
    if training:
        graph.add_losses([f"y{t}" for t in range(4)], [f"tag {t + 1}" for t in range(4)])
    return graph


def read(graph: Graph, inputs: str, states: str, steps: int) -> str:
    """Adds a network that reads inputs; returns its last state."""
    for t in range(1, steps + 1):
        graph.add(f"{inputs}{t}", Node(f"${inputs}_{t}$", "input", t - 1, 0))
        before = [f"{states}{t - 1}"] if t > 1 else []
        node = Node(f"${states}_{t}$", "state", t - 1, 1)
        graph.add(f"{states}{t}", node, f"{inputs}{t}", *before)
    return f"{states}{steps}"


def write(graph: Graph, training: bool, first: float, before: str | None) -> None:
    """Adds a network that writes three tokens, given the reference or its own choices."""
    words = ["$w_1$", "$w_2$", "<end>"]
    for t, word in enumerate(words, start=1):
        x = first + 1.2 * (t - 1)
        given = "<start>" if t == 1 else words[t - 2]
        graph.add(f"w{t}", Node(given, "target" if training and t > 1 else "input", x, 0))
        sources = [f"w{t}"] + ([f"d{t - 1}"] if t > 1 else [before] if before else [])
        graph.add(f"d{t}", Node(f"$d_{t}$", "state", x, 1), *sources)
        graph.add(f"y{t}", Node(f"$y_{t}$" if training else word, "output", x, 2), f"d{t}")
    if training:
        graph.add_losses([f"y{t}" for t in (1, 2, 3)], words)
    else:
        graph.arrows += [(f"y{t}", f"w{t + 1}", "own choice") for t in (1, 2)]


SHAPES = {
    "one_to_one": one_to_one,
    "one_to_many": one_to_many,
    "many_to_one": many_to_one,
    "encoder_decoder": encoder_decoder,
    "many_to_many": many_to_many,
}


# --- Drawing -------------------------------------------------------------------------------------


def draw(graph: Graph, axes: Any, title: str, height: float) -> None:
    """Draws a graph, whose time goes to the right."""
    for source, target, line in graph.arrows:
        (*_, x0, y0), (*_, x1, y1) = graph.nodes[source], graph.nodes[target]
        arrow = {"arrowstyle": "-|>", "shrinkA": 12, "shrinkB": 12, **LINES[line]}
        axes.annotate("", (x1, y1), (x0, y0), arrowprops=arrow)
    for label, kind, x, y in graph.nodes.values():
        box = {"boxstyle": "round", "facecolor": COLOURS[kind], "edgecolor": "#444444"}
        axes.text(x, y, label, ha="center", va="center", bbox=box, fontsize=10)
    xs = [node.x for node in graph.nodes.values()]
    axes.set_xlim(min(xs) - 0.9, max(xs) + 0.9)
    axes.set_ylim(-0.5, height - 0.5)
    axes.set_title(title, fontsize=11)
    axes.axis("off")


def main(arguments: list[str]) -> None:
    """Writes the figure of each shape."""
    options = runs.parse_options(Options, arguments, "task_figures.py")
    for name, make in SHAPES.items():
        graphs = {"prediction": make(False), "training": make(True)}
        spans = [[node[2:] for node in graph.nodes.values()] for graph in graphs.values()]
        widths = [max(x for x, _ in span) - min(x for x, _ in span) + 1.8 for span in spans]
        height = max(y for span in spans for _, y in span) + 1
        figure, panels = plt.subplots(
            1, 2, figsize=(sum(widths) * 0.85, height * 0.75), width_ratios=widths
        )
        for axes, (title, graph) in zip(panels, graphs.items(), strict=True):
            draw(graph, axes, title, height)
        figure.tight_layout()
        figures.save(figure, options.out / f"{name}.svg")


if __name__ == "__main__":
    runs.run_command("task_figures", main, interrupted="Not all figures were written.")
