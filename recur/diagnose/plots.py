"""Plots of curves and points."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import numpy as np

from recur.checks import check_flag
from recur.diagnose.data import check_lines, check_panels, check_points
from recur.diagnose.figure import make_figure
from recur.diagnose.labels import AS_IT_IS, add_legend, label_axes, mark_whole_numbers
from recur.diagnose.palette import line_style, point_style


def curves(
    lines: Mapping[str, tuple[Sequence[float], Sequence[float]]],
    *,
    x: str = "update",
    y: str = "",
    title: str = "",
    logarithmic: bool = False,
    smooth: bool = True,
) -> Any:
    """Plots curves in one panel, such as training and validation losses.

    A curve of at most 20 points is drawn with markers; a longer one as a pale line with its running
    mean, or as it is with `smooth=False`, such as a gradient norm by lag.

    Args:
      lines: for each name, the positions and the values of a curve, of the same length.
      x: label of the x axis.
      y: label of the y axis, with the unit.
      title: title of the plot.
      logarithmic: whether the y axis is logarithmic; values that are not above 0 are left out.
      smooth: whether to draw the running mean of a long curve.

    Returns:
      A `matplotlib.figure.Figure`; `figure.savefig(path)` writes it, a notebook shows it.

    Raises:
      ModuleNotFoundError: if matplotlib is not installed; the extra `train` installs it.
      TypeError: if lines is not a mapping, a curve is not a pair of sequences of numbers, or a flag
        is not a bool.
      ValueError: if positions and values of a curve differ in length.

    Example:
      >>> from recur.diagnose import curves
      >>> figure = curves({"training": ([10, 20], [4.1, 3.2])}, y="bits per character")
      >>> figure.axes[0].get_xlabel()
      'update'
    """
    check_lines("curves", lines)
    logarithmic = check_flag("curves: logarithmic", logarithmic)
    smooth = check_flag("curves: smooth", smooth)
    figure = make_figure(7, 4)
    axes = figure.add_subplot()
    label_axes(axes, title=title, x=x, y=y)
    axes.set_yscale(**_SCALES[logarithmic])
    add_legend(axes, _draw(axes, lines, _number(lines), smooth))
    return figure


def panels(
    panels: Mapping[str, Mapping[str, tuple[Sequence[float], Sequence[float]]]],
    *,
    levels: Mapping[str, Mapping[str, float]] | None = None,
    x: str = "update",
    y: str = "",
    logarithmic: bool = False,
    smooth: bool = True,
    share_y: bool = False,
) -> Any:
    """Plots curves in a grid of panels with two columns, such as several models on several tasks.

    A name has the same style in all panels, and one entry in the legend below them.

    Args:
      panels: for each title, the curves of a panel as in `curves`.
      levels: for each title, numbers by name, drawn as dashed horizontal lines, such as bounds.
      x: label of the x axes.
      y: label of the y axes, with the unit.
      logarithmic: whether the y axes are logarithmic; values that are not above 0 are left out.
      smooth: whether to draw the running mean of a long curve, as in `curves`.
      share_y: whether all y axes have the same limits, to compare panels.

    Returns:
      A `matplotlib.figure.Figure`; `figure.savefig(path)` writes it, a notebook shows it.

    Raises:
      ModuleNotFoundError: if matplotlib is not installed; the extra `train` installs it.
      TypeError: if panels, a panel or levels is not a mapping, a curve is not a pair of sequences
        of numbers, or a flag is not a bool.
      ValueError: if there is no panel, a level belongs to no panel or is not a number, or positions
        and values of a curve differ in length.

    Example:
      >>> from recur.diagnose import panels
      >>> figure = panels(
      ...     {"adding": {"gru": ([10, 20], [0.2, 0.1])}, "copy": {"gru": ([10, 20], [0.3, 0.2])}},
      ...     levels={"adding": {"without memory": 1 / 6}},
      ... )
      >>> [axes.get_title() for axes in figure.axes]
      ['adding', 'copy']
    """
    levels = levels or {}
    check_panels(panels, levels)
    logarithmic = check_flag("panels: logarithmic", logarithmic)
    smooth = check_flag("panels: smooth", smooth)
    share_y = check_flag("panels: share_y", share_y)
    numbers = _number(name for lines in panels.values() for name in lines)
    dashes = _number(name for names in levels.values() for name in names)
    rows, columns = -(-len(panels) // 2), min(2, len(panels))
    figure = make_figure(6 * columns, 3.5 * rows + 0.5)
    handles: dict[str, Any] = {}
    first: Any = None
    for number, (title, lines) in enumerate(panels.items(), start=1):
        axes = figure.add_subplot(rows, columns, number, sharey=first)
        first = axes if share_y else None
        label_axes(axes, title=title, x=x, y=y)
        axes.set_yscale(**_SCALES[logarithmic])
        handles |= _draw(axes, lines, numbers, smooth)
        for name, level in levels.get(title, {}).items():
            style = _LEVEL_STYLES[dashes[name] % len(_LEVEL_STYLES)]
            handles[name] = axes.axhline(
                level, color="black", linestyle=style, linewidth=1, label=name
            )
    shown = dict.fromkeys(numbers) | handles  # curves first
    add_legend(figure, shown, loc="outside lower center", ncols=min(6, len(shown)))
    return figure


def scatter(
    points: Sequence[Sequence[float]], labels: Sequence[str], *, title: str = "", size: float = 8
) -> Any:
    """Plots labeled points, such as words at the projections of their embeddings.

    Of labels that would overlap only the first is written; the others remain dots.

    Args:
      points: `[N, 2]`.
      labels: N labels, the most important first.
      title: title of the plot.
      size: font size of the labels, in points.

    Returns:
      A `matplotlib.figure.Figure`; `figure.savefig(path)` writes it, a notebook shows it.

    Raises:
      ModuleNotFoundError: if matplotlib is not installed; the extra `train` installs it.
      TypeError: if points are not numbers, or labels not a sequence.
      ValueError: if points are not `[N, 2]` with N ≥ 1, there are not N labels, or size is not
        above 0.

    Example:
      >>> from recur.diagnose import scatter
      >>> figure = scatter([[0.0, 0.1], [1.0, 0.9], [1.0, 0.9]], ["one", "two", "too"])
      >>> [text.get_text() for text in figure.axes[0].texts]
      ['one', 'two']
    """
    check_points(points, labels, size)
    figure = make_figure(12, 9)
    axes = figure.add_subplot(xticks=[], yticks=[])
    label_axes(axes, title=title)
    axes.scatter(*zip(*points, strict=True), s=4, color="C0", alpha=0.5)
    figure.draw_without_rendering()  # computes the layout, for the extents of texts
    boxes: list[Any] = []
    for (x, y), label in zip(points, labels, strict=True):
        place = {"xytext": (0, 2), "textcoords": "offset points", "ha": "center"}
        text = axes.annotate(label, (x, y), fontsize=size, **place, **AS_IT_IS)
        box = text.get_window_extent()
        if any(box.overlaps(other) for other in boxes):
            text.remove()
        else:
            boxes.append(box)
    return figure


def _draw(
    axes: Any,
    lines: Mapping[str, tuple[Sequence[float], Sequence[float]]],
    numbers: Mapping[str, int],
    smooth: bool,
) -> dict[str, Any]:
    """Draws curves and a grid; returns the line of each name."""
    drawn = {}
    for name, (places, values) in lines.items():
        style = {**line_style(numbers[name]), "label": name}
        if len(places) <= _FEW:
            style |= point_style(numbers[name])
        elif smooth:
            axes.plot(places, values, alpha=0.3, linewidth=1, color=style["color"])
            values = _running_mean(values)
        (drawn[name],) = axes.plot(places, values, **style)
    if all((np.asarray(places, float) % 1 == 0).all() for places, _ in lines.values()):
        mark_whole_numbers(axes.xaxis)
    axes.grid(alpha=0.3)
    return drawn


def _number(names: Iterable[str]) -> dict[str, int]:
    """Numbers names from 0, each once."""
    return {name: number for number, name in enumerate(dict.fromkeys(names))}


_SCALES: dict[bool, Any] = {
    False: {"value": "linear"},
    True: {"value": "log", "nonpositive": "mask"},
}
_LEVEL_STYLES = ("--", ":", "-.", (0, (8, 4)), (0, (5, 2, 1, 2, 1, 2)))
_FEW = 20


def _running_mean(values: Sequence[float]) -> list[float]:
    """Returns the running mean over the last twentieth of the curve before each point."""
    width = max(1, len(values) // 20)
    pieces = [values[max(0, end - width) : end] for end in range(1, len(values) + 1)]
    return [sum(piece) / len(piece) for piece in pieces]
