"""Pictures, by matplotlib: the one file that knows it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any


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
      ValueError: when a curve has not as many places as values.

    Example:
      >>> from recur.diagnose import curves
      >>> figure = curves({"training": ([10, 20], [4.1, 3.2])}, y="bits per character")
      >>> figure.axes[0].get_xlabel()
      'update'
    """
    figure = _figure(7, 4)
    axes = figure.add_subplot(xlabel=x, ylabel=y, title=title)
    _draw(axes, lines, "curves")
    axes.legend()
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
      ValueError: when there is no panel, a level has none, or a curve has not as many places as
        values.

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
    if not panels or not set(levels) <= set(panels):
        raise ValueError(
            f"panels: expected at least one panel, and levels of panels that there are, got the "
            f"panels {list(panels)} and levels of {list(levels)}."
        )
    names = list(dict.fromkeys(name for lines in panels.values() for name in lines))
    colors = {name: f"C{number % 10}" for number, name in enumerate(names)}
    rows, columns = -(-len(panels) // 2), min(2, len(panels))
    figure = _figure(6 * columns, 3.5 * rows + 0.5)
    handles: dict[str, Any] = {}
    for number, (title, lines) in enumerate(panels.items(), start=1):
        axes = figure.add_subplot(rows, columns, number, xlabel=x, ylabel=y, title=title)
        axes.set_yscale("log" if logarithmic else "linear")
        _draw(axes, lines, "panels", colors)
        for name, level in levels.get(title, {}).items():
            axes.axhline(level, color="black", linestyle="--", linewidth=1, label=name)
        found = zip(*axes.get_legend_handles_labels(), strict=True)
        handles |= {name: handle for handle, name in found}
    shown = [*names, *(name for name in handles if name not in colors)]
    drawn = [handles[name] for name in shown]
    figure.legend(drawn, shown, loc="outside lower center", ncols=min(6, len(shown)))
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
      ValueError: when there is no point, or not two numbers and a label for each.

    Example:
      >>> from recur.diagnose import scatter
      >>> figure = scatter([[0.0, 0.1], [1.0, 0.9], [1.0, 0.9]], ["one", "two", "too"])
      >>> [text.get_text() for text in figure.axes[0].texts]
      ['one', 'two']
    """
    if not len(points) or len(points) != len(labels) or any(len(point) != 2 for point in points):
        raise ValueError(
            f"scatter: expected points of two numbers, and a label for each, got {len(points)} "
            f"points and {len(labels)} labels."
        )
    figure = _figure(12, 9)
    axes = figure.add_subplot(title=title, xticks=[], yticks=[])
    axes.scatter(*zip(*points, strict=True), s=4, color="C0", alpha=0.5)
    figure.draw_without_rendering()  # lays out, so that it is known how large letters are
    boxes: list[Any] = []
    for (x, y), label in zip(points, labels, strict=True):
        text = axes.annotate(
            label, (x, y), (0, 2), textcoords="offset points", ha="center", fontsize=size
        )
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
    caller: str,
    colors: Mapping[str, str] | None = None,
) -> None:
    """The curves of one axis, and a grid behind them."""
    for name, (places, values) in lines.items():
        if len(places) != len(values):
            raise ValueError(
                f"{caller}: expected as many places as values of {name!r}, got {len(places)} and "
                f"{len(values)}."
            )
        color = colors[name] if colors else None
        if len(places) <= _FEW:
            axes.plot(places, values, marker="o", label=name, color=color)
            continue
        (pale,) = axes.plot(places, values, alpha=0.3, linewidth=1, color=color)
        axes.plot(places, _running_mean(values), color=pale.get_color(), label=name)
    axes.grid(alpha=0.3)


_FEW = 20


def _running_mean(values: Sequence[float]) -> list[float]:
    """The mean over a twentieth of the curve in front of each point."""
    width = max(1, len(values) // 20)
    pieces = [values[max(0, end - width) : end] for end in range(1, len(values) + 1)]
    return [sum(piece) / len(piece) for piece in pieces]
