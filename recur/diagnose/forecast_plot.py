"""A picture of forecasts: sampled paths as fans of intervals, beside what happened."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from recur.diagnose.data import check_fans
from recur.diagnose.figure import make_figure
from recur.diagnose.labels import add_legend, label_axes, mark_whole_numbers

_LEVELS = (0.025, 0.1, 0.5, 0.9, 0.975)
_BAND, _MEDIAN, _LINE = (0.0, 0.45, 0.7), (0.0, 0.25, 0.45), (0.84, 0.37, 0.0)  # of Okabe and Ito


def forecast_fan(
    history: Sequence[float],
    fans: Mapping[str, Any],
    *,
    future: Sequence[float] | None = None,
    lines: Mapping[str, Sequence[float]] | None = None,
    label: str = "one step ahead",
    title: str = "",
    y: str = "",
) -> Any:
    """Plots forecasts as fan charts: the median and the 80 % and 95 % intervals of sampled paths.

    Each model has a panel, in a grid of two columns with common axes. Step 0 is the last step of
    the history.

    Args:
      history: `[T]`, the values before the forecast; NaN for gaps.
      fans: for each model, sampled paths `[N, S]`.
      future: `[S]`, the values that came; NaN for gaps.
      lines: for a model, other predictions `[S]`, drawn as a dashed line, such as those of one step
        ahead.
      label: what the lines are, for the legend.
      title: title of the plot.
      y: label of the y axes, with the unit.

    Returns:
      A `matplotlib.figure.Figure`; `figure.savefig(path)` writes it, a notebook shows it.

    Raises:
      ModuleNotFoundError: if matplotlib is not installed; the extra `train` installs it.
      TypeError: if fans or lines is not a mapping, or values are not numbers.
      ValueError: if there is no fan, a line belongs to no fan, or a shape does not fit.

    Example:
      >>> import numpy as np
      >>> from recur.diagnose import forecast_fan
      >>> paths = np.random.default_rng(0).standard_normal((100, 5)).cumsum(1)
      >>> figure = forecast_fan(np.zeros(3), {"random walk": paths}, future=np.ones(5))
      >>> [axes.get_title() for axes in figure.axes]
      ['random walk']

    References:
      Britton, Fisher & Whitley 1998, The Inflation Report projections: understanding the fan chart,
      Bank of England Quarterly Bulletin 38
    """
    past, paths, came, drawn = check_fans(history, fans, future, lines or {})
    rows, columns = -(-len(paths) // 2), min(2, len(paths))
    figure = make_figure(6 * columns, 2.6 * rows + 0.6)
    handles: dict[str, Any] = {}
    quantiles = {name: np.quantile(each, _LEVELS, axis=0) for name, each in paths.items()}
    steps = np.arange(1, next(iter(paths.values())).shape[1] + 1)
    places, values = np.arange(1 - len(past), 1), past
    if came is not None:
        places, values = np.append(places, steps), np.append(values, came)
    first: Any = None
    for number, (name, found) in enumerate(quantiles.items(), start=1):
        axes = figure.add_subplot(rows, columns, number, sharex=first, sharey=first)
        first = first or axes
        label_axes(axes, title=name, x="step", y=y)
        low, lower, median, upper, high = found
        for share, bottom, top, alpha in (("95 %", low, high, 0.2), ("80 %", lower, upper, 0.35)):
            style = {"color": _BAND, "alpha": alpha, "linewidth": 0, "label": share}
            handles[share] = axes.fill_between(steps, bottom, top, **style)
        style = {"color": "black", "linewidth": 0.8, "label": "observed"}
        handles["observed"] = axes.plot(places, values, **style)[0]
        if name in drawn:
            style = {"color": _LINE, "linestyle": "--", "linewidth": 1, "label": label}
            handles[label] = axes.plot(steps, drawn[name], **style)[0]
        style = {"color": _MEDIAN, "linewidth": 1.6, "label": "median"}
        handles["median"] = axes.plot(steps, median, **style)[0]
        mark_whole_numbers(axes.xaxis)
        axes.axvline(0.5, color="0.5", linewidth=0.8, linestyle=":")
    first.set_ylim(*_limits(values, np.stack(list(quantiles.values()))))
    figure.suptitle(title)
    add_legend(figure, handles, loc="outside lower center", ncols=len(handles))
    return figure


def _limits(observed: np.ndarray, predicted: np.ndarray) -> tuple[float, float]:
    """Limits that show all values, but at most twice the range of those observed."""
    low, high = np.nanmin(observed), np.nanmax(observed)
    span = (high - low) or 1.0
    bottom = max(min(predicted.min(), low), low - span / 2)
    top = min(max(predicted.max(), high), high + span / 2)
    return bottom - 0.03 * span, top + 0.03 * span
