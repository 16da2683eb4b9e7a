"""Pictures, by matplotlib: the one file that knows it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from recur.checks import check_flag
from recur.diagnose.data import check_lines, check_panels, check_points
from recur.diagnose.labels import AS_IT_IS, add_legend, label_axes


def curves(
    lines: Mapping[str, tuple[Sequence[float], Sequence[float]]],
    *,
    x: str = "update",
    y: str = "",
    title: str = "",
) -> Any:
    """Draws curves over one axis: losses over updates, most often.

    A curve of few points, such as a validation's, is drawn with its points; one of many pales
    behind its running mean.

    Args:
      lines: by name, the places and the values of a curve, of one length.
      x: what the places are.
      y: what the values are, with their unit.
      title: what the picture says.

    Returns:
      A `matplotlib.figure.Figure`; `figure.savefig(path)` writes it, a notebook shows it.

    Raises:
      ModuleNotFoundError: when matplotlib is not installed; the extra `train` has it.
      TypeError: when lines is no mapping, or a curve is no pair of numbers.
      ValueError: when a curve has not as many places as values.

    Example:
      >>> from recur.diagnose import curves
      >>> figure = curves({"training": ([10, 20], [4.1, 3.2])}, y="bits per character")
      >>> figure.axes[0].get_xlabel()
      'update'
    """
    check_lines("curves", lines)
    figure = _figure(7, 4)
    axes = figure.add_subplot()
    label_axes(axes, title=title, x=x, y=y)
    add_legend(axes, _draw(axes, lines))
    return figure


def panels(
    panels: Mapping[str, Mapping[str, tuple[Sequence[float], Sequence[float]]]],
    *,
    levels: Mapping[str, Mapping[str, float]] | None = None,
    x: str = "update",
    y: str = "",
    logarithmic: bool = False,
) -> Any:
    """Draws panels of curves side by side, two in a row: the same models on several tasks.

    A name has one color in all panels, and one entry in the legend below them.

    Args:
      panels: by title, the curves of a panel as `curves` takes them.
      levels: by title, what is drawn as a dashed line across a panel, by name: bounds, most often.
      x: what the places are.
      y: what the values are, with their unit.
      logarithmic: whether the values have a logarithmic axis.

    Returns:
      A `matplotlib.figure.Figure`; `figure.savefig(path)` writes it, a notebook shows it.

    Raises:
      ModuleNotFoundError: when matplotlib is not installed; the extra `train` has it.
      TypeError: when panels, a panel or levels is no mapping, or a curve is no pair of numbers.
      ValueError: when there is no panel, a level has none or is no number, or a curve has not as
        many places as values.

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
    names = list(dict.fromkeys(name for lines in panels.values() for name in lines))
    colors = {name: f"C{number % 10}" for number, name in enumerate(names)}
    rows, columns = -(-len(panels) // 2), min(2, len(panels))
    figure = _figure(6 * columns, 3.5 * rows + 0.5)
    handles: dict[str, Any] = {}
    for number, (title, lines) in enumerate(panels.items(), start=1):
        axes = figure.add_subplot(rows, columns, number)
        label_axes(axes, title=title, x=x, y=y)
        axes.set_yscale("log" if logarithmic else "linear")
        handles |= _draw(axes, lines, colors)
        for name, level in levels.get(title, {}).items():
            handles[name] = axes.axhline(
                level, color="black", linestyle="--", linewidth=1, label=name
            )
    shown = dict.fromkeys(names) | handles  # curves first
    add_legend(figure, shown, loc="outside lower center", ncols=min(6, len(shown)))
    return figure


def scatter(
    points: Sequence[Sequence[float]], labels: Sequence[str], *, title: str = "", size: float = 8
) -> Any:
    """Draws labels at points of a plane: words by their vectors' projection.

    Of labels that would cover each other the first is written; the others stay dots.

    Args:
      points: two numbers for each point.
      labels: what is written at each, the most important first.
      title: what the picture says.
      size: of the letters, in points.

    Returns:
      A `matplotlib.figure.Figure`; `figure.savefig(path)` writes it, a notebook shows it.

    Raises:
      ModuleNotFoundError: when matplotlib is not installed; the extra `train` has it.
      TypeError: when points are not numbers, or labels no sequence.
      ValueError: when there is no point, or not two numbers and a label for each, or size is not
        above 0.

    Example:
      >>> from recur.diagnose import scatter
      >>> figure = scatter([[0.0, 0.1], [1.0, 0.9], [1.0, 0.9]], ["one", "two", "too"])
      >>> [text.get_text() for text in figure.axes[0].texts]
      ['one', 'two']
    """
    check_points(points, labels, size)
    figure = _figure(12, 9)
    axes = figure.add_subplot(xticks=[], yticks=[])
    label_axes(axes, title=title)
    axes.scatter(*zip(*points, strict=True), s=4, color="C0", alpha=0.5)
    figure.draw_without_rendering()  # lays out, so that it is known how large letters are
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


def _figure(width: float, height: float) -> Any:
    from matplotlib.figure import Figure  # an object of its own: no global state, no window

    return Figure(figsize=(width, height), layout="constrained", dpi=120)


def _draw(
    axes: Any,
    lines: Mapping[str, tuple[Sequence[float], Sequence[float]]],
    colors: Mapping[str, str] | None = None,
) -> dict[str, Any]:
    """Draws the curves of one axis, and a grid below them; returns the line of each name."""
    drawn = {}
    for name, (places, values) in lines.items():
        color = colors[name] if colors else None
        if len(places) <= _FEW:
            (drawn[name],) = axes.plot(places, values, marker="o", label=name, color=color)
            continue
        (pale,) = axes.plot(places, values, alpha=0.3, linewidth=1, color=color)
        mean = _running_mean(values)
        (drawn[name],) = axes.plot(places, mean, color=pale.get_color(), label=name)
    axes.grid(alpha=0.3)
    return drawn


_FEW = 20


def _running_mean(values: Sequence[float]) -> list[float]:
    """The mean over a twentieth of the curve in front of each point."""
    width = max(1, len(values) // 20)
    pieces = [values[max(0, end - width) : end] for end in range(1, len(values) + 1)]
    return [sum(piece) / len(piece) for piece in pieces]
