"""A picture of the steps of a cell as a graph over time."""

from __future__ import annotations

import itertools
from typing import Any, NamedTuple

from recur.checks import check_cell, check_context, check_whole
from recur.diagnose.figure import make_figure
from recur.diagnose.labels import AS_IT_IS, add_legend
from recur.diagnose.step_graph import StepGraph, find_step_graph
from recur.types import Cell, Context

# For each place: the color of a box, and what runs there.
_PLACES = {
    "before": ("#BBD9EE", "before the loop, for all steps at once"),
    "inside": ("#E69F00", "in the loop, one step after the other"),
    "after": ("#FFFFFF", "after the loop, for all steps at once"),
}
_CHARACTER, _HIGH, _ROW = 0.074, 0.42, 0.85  # inches
_DIGITS = str.maketrans("0123456789", "₀₁₂₃₄₅₆₇₈₉")


def computation_graph(
    cell: Cell, x: Any, *, steps: int = 3, context: Context = None, title: str = ""
) -> Any:
    """Plots the unrolled computation graph of a cell for a few time steps.

    Inputs x_t are below, outputs y_t above, and the carry goes from left to right. A box is a group
    of operations: the products of one vector, a value named with `recur.name` such as a gate, a
    part of the next carry, or elementwise operations that several of them share. They are found in
    the step itself, as for `recur.structure_of`, so cells of your own are drawn too. The color says
    what runs before, in and after the loop of `recur.scan`.

    Args:
      cell: any cell.
      x: an example of one step of one sequence, `[I]`, or its `jax.ShapeDtypeStruct`.
      steps: the number of time steps.
      context: named values that do not change over time.
      title: title of the plot; by default the call that created the cell.

    Returns:
      A `matplotlib.figure.Figure`; `figure.savefig(path)` writes it, a notebook shows it.

    Raises:
      ModuleNotFoundError: if matplotlib is not installed; the extra `train` installs it.
      TypeError: if `cell` is not a cell, or context not a mapping.
      ValueError: if steps is not a whole number of at least 1.

    Example:
      >>> import jax.numpy as jnp, recur
      >>> from recur.diagnose import computation_graph
      >>> figure = computation_graph(recur.elman(4), jnp.ones(3), steps=2)
      >>> texts = [text.get_text() for text in figure.axes[0].texts]
      >>> [text for text in texts if "₂" in text]
      ['x₂', 'y₂', 'h₂']
    """
    caller = "computation_graph"
    check_cell(cell, caller)
    check_context(context)
    steps = check_whole(f"{caller}: steps", steps, 1)
    graph = find_step_graph(cell, x, context)
    places = _lay_out(graph)
    width = steps * places.width + 2 * places.half
    figure = make_figure(width + 0.3, places.height + 0.8)
    axes = figure.add_subplot(xlim=(0, width), ylim=(-0.35, places.height - 0.35), aspect="equal")
    axes.axis("off")
    axes.set_title(title or repr(cell), fontsize=10, **AS_IT_IS)
    for step in range(1, steps + 1):
        _draw_step(axes, graph, places, step)
    for step in range(steps + 1):
        for name, height in places.carry.items():
            _circle(axes, _at_carry(places, step), height, name, step)
    shown = [place for place in _PLACES if any(node.place == place for node in graph.nodes)]
    handles = {_PLACES[place][1]: _box(axes, (-9, -9), 1, place) for place in shown}
    add_legend(figure, handles, loc="outside lower center", ncols=len(handles), fontsize=8)
    return figure


class _Places(NamedTuple):
    """Places in a column, in inches.

    Attributes:
      centers: the center of each node.
      widths: the width of the box of each node.
      carry: the height of each part of the carry.
      half: half the width of the largest name of the carry; 0 without a carry.
      left: where the boxes of a column begin.
      width: the width of a column.
      height: the height of the column.
    """

    centers: list[tuple[float, float]]
    widths: list[float]
    carry: dict[str, float]
    half: float
    left: float
    width: float
    height: float


def _lay_out(graph: StepGraph) -> _Places:
    """Places each node above those that it reads, and those of one row beside each other."""
    ranks = _ranks(graph)
    widths = [
        _CHARACTER * max(len(node.label), 0.85 * len(node.detail), 6) + 0.16 for node in graph.nodes
    ]
    rows: dict[int, list[int]] = {}
    for number in sorted(range(len(ranks)), key=ranks.__getitem__):
        rows.setdefault(ranks[number], []).append(number)
    inner = max((sum(widths[n] + 0.15 for n in row) for row in rows.values()), default=1.0)
    half = max(map(_half, graph.carry), default=0.0)
    left = 2 * half + 0.4 + 0.07 * len(graph.carry)
    centers = [(0.0, 0.0)] * len(ranks)
    for rank, row in sorted(rows.items()):
        key = {n: _side(graph, ranks, centers, n) for n in row}
        row.sort(key=lambda n: (key[n], n))
        start = left + (inner - sum(widths[n] + 0.15 for n in row)) / 2
        for n in row:
            centers[n] = (start + (widths[n] + 0.15) / 2, _ROW * rank)
            start += widths[n] + 0.15
    heights: dict[str, float] = {}
    top = max(ranks, default=0)
    for name in graph.carry:
        makers = [ranks[s] for s, t in graph.edges if t == name and isinstance(s, int)]
        height = _ROW * (max(makers) if makers else top / 2 + 0.5)
        while any(abs(height - other) < 0.44 for other in heights.values()):
            height -= 0.45
        heights[name] = height
    width, height = left + inner + 0.25, _ROW * (top + 1) + 0.7
    return _Places(centers, widths, heights, half, left, width, height)


def _side(graph: StepGraph, ranks: list[int], centers: list[Any], node: int) -> float:
    """The mean place of what a node reads from the rows below; far left if it reads the carry."""
    reads = [source for source, target in graph.edges if target == node]
    if any(source in graph.carry for source in reads):
        return -1.0
    below = [centers[s][0] for s in reads if isinstance(s, int) and ranks[s] < ranks[node]]
    return sum(below) / len(below) if below else 0.0


def _ranks(graph: StepGraph) -> list[int]:
    """The row of each node: above all that it reads; what runs after the loop is above the rest.

    A node that reads no other node is right below the first one that reads it.
    """
    between = [(s, t) for s, t in graph.edges if isinstance(s, int) and isinstance(t, int)]
    is_after = [node.place == "after" for node in graph.nodes]
    ranks = [1] * len(graph.nodes)
    for _ in graph.nodes:
        floor = max(
            (rank for rank, after in zip(ranks, is_after, strict=True) if not after), default=0
        )
        for n in range(len(ranks)):
            reads = [ranks[s] for s, t in between if t == n]
            ranks[n] = 1 + max([floor if is_after[n] else 0, *reads])
    for n in range(len(ranks)):
        readers = [ranks[t] for s, t in between if s == n]
        if readers and not any(t == n for _, t in between):
            ranks[n] = min(readers) - 1
    return ranks


def _draw_step(axes: Any, graph: StepGraph, places: _Places, step: int) -> None:
    """Draws one column: the input below, the output above, boxes and arrows between them."""
    shift = (step - 1) * places.width
    middle, top = shift + (places.left + places.width - 0.25) / 2, places.height - 0.7
    for source, target in graph.edges:
        for_time = source in graph.carry or target in graph.carry
        style = {"color": "black" if for_time else "0.45", "linewidth": 1.5 if for_time else 0.9}
        if isinstance(target, int):
            x, y = places.centers[target]
            end = shift + x, y - _HIGH / 2
        else:
            is_y = target == "y"
            end = (
                (middle, top - 0.13)
                if is_y
                else (_at_carry(places, step) - _half(target), places.carry[target])
            )
        if isinstance(source, int):
            x, y = places.centers[source]
            if target in graph.carry:
                path = [(shift + x + places.widths[source] / 2, y), end]
            else:
                path = _between_boxes(places, shift, (shift + x, y + _HIGH / 2), end)
        elif source == "x":
            path = _between_boxes(places, shift, (middle, 0.13), end)
        else:
            path = _from_carry(graph, places, step, source, target, end)
        if len(path) > 2:
            axes.plot(*zip(*path[:-1], strict=True), zorder=1, solid_capstyle="round", **style)
        arrow = {"arrowstyle": "-|>", "shrinkA": 0, "shrinkB": 0, "mutation_scale": 8, **style}
        axes.annotate("", path[-1], path[-2], zorder=1, arrowprops=arrow)
    _circle(axes, middle, 0.0, "x", step)
    _circle(axes, middle, top, "y", step)
    for node, (x, y), width in zip(graph.nodes, places.centers, places.widths, strict=True):
        _box(axes, (shift + x, y), width, node.place)
        text = {"ha": "center", "va": "center", "zorder": 4, **AS_IT_IS}
        axes.text(shift + x, y + (0.085 if node.detail else 0), node.label, fontsize=8, **text)
        axes.text(shift + x, y - 0.1, node.detail, fontsize=6.5, **text)


def _between_boxes(
    places: _Places, shift: float, begin: tuple[float, float], end: tuple[float, float]
) -> list[tuple[float, float]]:
    """The path of an arrow upward, through the nearest gap of each row that is in its way."""
    path = [begin]
    for row in sorted({y for _, y in places.centers if begin[1] < y < end[1]}):
        boxes = sorted(
            (shift + x - width / 2, shift + x + width / 2)
            for (x, y), width in zip(places.centers, places.widths, strict=True)
            if y == row
        )
        (x0, y0), (x1, y1) = path[-1], end
        low, high = (
            x0 + (x1 - x0) * (y - y0) / (y1 - y0) for y in (row - _HIGH / 2, row + _HIGH / 2)
        )
        if any(max(low, high) > left and min(low, high) < right for left, right in boxes):
            between = [(a[1] + b[0]) / 2 for a, b in itertools.pairwise(boxes)]
            gaps = [boxes[0][0] - 0.1, *between, boxes[-1][1] + 0.1]
            x = min(gaps, key=lambda gap: abs(gap - low))
            path += [(x, row - _HIGH / 2), (x, row + _HIGH / 2)]
    return [*path, end]


def _from_carry(
    graph: StepGraph, places: _Places, step: int, source: str, target: Any, end: Any
) -> list[tuple[float, float]]:
    """The path of an arrow from the carry: to the left, along a separate line, to the target."""
    begin = _at_carry(places, step - 1)
    x, height = begin + _half(source), places.carry[source]
    if not isinstance(target, int):
        return [(x, height), end]
    line = begin + places.half + 0.12 + 0.07 * graph.carry.index(source)
    center, row = places.centers[target]
    left = (step - 1) * places.width + center - places.widths[target] / 2
    if all(other > center for other, at in places.centers if at == row and other != center):
        return [(x, height), (line, height), (line, row), (left, row)]  # the first of its row
    below = end[1] - 0.14
    return [(x, height), (line, height), (line, below), (end[0], below), end]


def _at_carry(places: _Places, step: int) -> float:
    """The place of the carry after a step, from the left."""
    return step * places.width + places.half + 0.02


def _half(name: str) -> float:
    """Half the width of the name of a part of the carry with its index."""
    return 0.034 * (len(name) + 1) + 0.07


def _box(axes: Any, center: tuple[float, float], width: float, place: str) -> Any:
    x, y = center
    style = {"color": _PLACES[place][0], "edgecolor": "0.3", "linewidth": 0.8, "zorder": 3}
    (bar,) = axes.bar([x], [_HIGH], width, [y - _HIGH / 2], **style)
    return bar


def _circle(axes: Any, x: float, y: float, name: str, step: int) -> None:
    """Writes the name of a value of one step, with its number as an index."""
    box: dict[str, Any] = {"edgecolor": "0.3", "pad": 0.25}
    box |= {"boxstyle": "circle" if len(name) == 1 else "round", "facecolor": "white"}
    text = {"ha": "center", "va": "center", "zorder": 5, "fontsize": 9, **AS_IT_IS}
    axes.text(x, y, name + str(step).translate(_DIGITS), bbox=box, **text)
