"""Figures of benchmarks, by matplotlib."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from benchmarks import report

from recur.diagnose.labels import AS_IT_IS, add_legend, label_axes

MARKS = "os^vD<>Pp*hX"


def dots(panels: Mapping[str, Mapping[str, Mapping[str, float]]], *, x: str) -> Any:
    """Panels of named dots, a line for each key, on a logarithmic axis where 1 is the rival."""
    figure = _figure(len(panels))
    names = list(dict.fromkeys(n for lines in panels.values() for d in lines.values() for n in d))
    handles: dict[str, Any] = {}
    for place, (title, lines) in enumerate(panels.items()):
        axes = figure.add_subplot(1, len(panels), place + 1, xscale="log")
        label_axes(axes, title=title, x=x)
        for number, name in enumerate(names):
            points = [(d[name], -at) for at, d in enumerate(lines.values()) if name in d]
            size, alpha = (10, 1) if name.startswith("recur") else (6, 0.6)
            (handles[name],) = axes.plot(
                [place for place, _ in points],
                [line for _, line in points],
                MARKS[number % len(MARKS)],
                color=f"C{number % 10}",
                markersize=size,
                alpha=alpha,
                label=name,
            )
        axes.axvline(1, color="grey", linewidth=1)
        axes.xaxis.get_major_locator().set_params(subs=(1, 2, 5))
        axes.xaxis.set_major_formatter("{x:g}")
        axes.xaxis.minorticks_off()
        rows = list(lines) if place == 0 else []
        axes.set_yticks([-at for at in range(len(lines))], rows, **AS_IT_IS)
    return _finished(figure, handles)


def lines(
    panels: Mapping[str, Mapping[str, tuple[Sequence[float], Sequence[float]]]], *, x: str
) -> Any:
    """Panels of curves on logarithmic axes; the titles name the vertical axes."""
    figure = _figure(len(panels))
    names = list(dict.fromkeys(name for curves in panels.values() for name in curves))
    handles: dict[str, Any] = {}
    for place, (title, curves) in enumerate(panels.items()):
        axes = figure.add_subplot(1, len(panels), place + 1)
        label_axes(axes, title=title, x=x)
        axes.set(xscale="log", yscale="log")
        for number, name in enumerate(names):
            places, values = curves.get(name, ([], []))
            mark = MARKS[number % len(MARKS)]
            look = {"marker": mark, "color": f"C{number % 10}"}
            (handles[name],) = axes.plot(places, values, label=name, **look)
        ticks = sorted({tick for places, _ in curves.values() for tick in places})
        axes.set_xticks(ticks, [f"{tick:,}" for tick in ticks])
        axes.xaxis.minorticks_off()
    return _finished(figure, handles)


def bars(panels: Mapping[str, Mapping[str, float]], *, x: str) -> Any:
    """Panels of the same named bars, labeled with their values."""
    figure = _figure(len(panels))
    for place, (title, values) in enumerate(panels.items()):
        axes = figure.add_subplot(1, len(panels), place + 1)
        label_axes(axes, title=title, x=x)
        colors = ["C0" if name.startswith("recur") else "C7" for name in values]
        drawn = axes.barh(range(len(values)), list(values.values()), color=colors)
        axes.bar_label(drawn, fmt="{:,.0f}", padding=3)
        axes.set_xlim(0, 1.3 * max(values.values()))  # room for the labels
        axes.locator_params(axis="x", nbins=4)
        axes.invert_yaxis()
        names = [] if place else list(values)
        axes.set_yticks(range(len(names)), names, **AS_IT_IS)
    figure.suptitle(report.device(), **AS_IT_IS)
    return figure


def _figure(panels: int) -> Any:
    from matplotlib.figure import Figure  # without global state and windows

    return Figure(figsize=(1 + 4.5 * panels, 5.5), layout="constrained", dpi=120)


def _finished(figure: Any, handles: Mapping[str, Any]) -> Any:
    """Adds a grid, a legend for all panels, and the device as title."""
    for axes in figure.axes:
        axes.grid(alpha=0.3)
    add_legend(figure, handles, loc="outside lower center", ncols=min(4, len(handles)))
    figure.suptitle(report.device(), **AS_IT_IS)
    return figure
