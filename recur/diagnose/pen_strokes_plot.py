"""A picture of pen strokes, and of the window weights with which they were written."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from recur.arrays import as_reals
from recur.diagnose.figure import make_figure
from recur.diagnose.labels import AS_IT_IS, mark_whole_numbers

_WIDTH = 9.0  # inches
_ROW = 0.22  # inches of a symbol in a map of weights


def pen_strokes(samples: Sequence[tuple[Any, ...]], *, title: str = "") -> Any:
    """Plots handwriting as lines, each with the attention weights over its text, if they are given.

    Args:
      samples: for each handwriting a title and its points `[T, 3]`: the move (dx, dy) from the
        point before, y upwards, and whether the pen goes up after the point. And optionally the U
        symbols of the text and weights `[S, U]` of the steps, such as those of
        `recur.soft_window`, drawn above the strokes as a map of the symbols over the steps.
      title: title of the plot.

    Returns:
      A `matplotlib.figure.Figure`; `figure.savefig(path)` writes it, a notebook shows it.

    Raises:
      ModuleNotFoundError: if matplotlib is not installed; the extra `train` installs it.
      TypeError: if samples are not a sequence of titles and points, or points or weights are not
        real numbers.
      ValueError: if there is no sample, or points or weights have another shape or are not finite.

    Example:
      >>> from recur.diagnose import pen_strokes
      >>> cross = [[0, 0, 0], [2, 2, 1], [-2, 0, 0], [2, -2, 1]]
      >>> figure = pen_strokes([("x", cross)])
      >>> [line.get_xydata().tolist() for line in figure.axes[0].lines]
      [[[0.0, 0.0], [2.0, 2.0]], [[0.0, 2.0], [2.0, 0.0]]]

    References:
      Graves 2013, Generating Sequences With Recurrent Neural Networks, figure 13,
      https://arxiv.org/abs/1308.0850
    """
    checked = _check(samples)
    paths = [points[:, :2].cumsum(0) for _, points, _, _ in checked]
    widest = max(float(np.ptp(path[:, 0])) for path in paths) or 1.0
    unit = _WIDTH * 0.9 / widest  # inches
    heights = [min(4.0, max(0.3, unit * float(np.ptp(path[:, 1])))) for path in paths]
    maps = [
        0.0 if weights is None else _ROW * len(symbols) + 0.4 for *_, symbols, weights in checked
    ]
    top = 0.4 if title else 0.1
    figure = make_figure(_WIDTH, sum(heights) + sum(maps) + 0.35 * len(paths) + top, "none")
    figure.suptitle(title, y=0.99, va="top", **AS_IT_IS)
    inches = figure.get_figheight()
    for (name, points, symbols, weights), path, height, over in zip(
        checked, paths, heights, maps, strict=True
    ):
        top += 0.25
        if weights is not None:
            box = (0.09, 1 - (top + over - 0.4) / inches, 0.86, (over - 0.4) / inches)
            _draw_weights(figure.add_axes(box), symbols, weights)
            top += over
        axes = figure.add_axes((0.05, 1 - (top + height) / inches, 0.9, height / inches))
        for line in np.split(path, np.flatnonzero(points[:, 2] > 0.5) + 1):
            if len(line):
                marker = "o" if len(line) == 1 else None
                axes.plot(*line.T, color="black", linewidth=1.3, marker=marker, markersize=1.5)
        left, low = path.min(0)
        axes.set(xlim=(left, left + widest), ylim=(low, low + height / unit), aspect="equal")
        axes.set_anchor("W")
        axes.axis("off")
        axes.set_title(name, loc="left", fontsize=8, color="0.4", pad=2, **AS_IT_IS)
        top += height + 0.1
    return figure


def _draw_weights(axes: Any, symbols: Sequence[str], weights: np.ndarray) -> None:
    """Draws weights `[S, U]` as a map of the symbols, the first at the bottom, over the steps."""
    axes.imshow(weights.T, cmap="Blues", aspect="auto", origin="lower", interpolation="nearest")
    axes.set_yticks(range(len(symbols)))
    axes.set_yticklabels(["␣" if s == " " else s for s in symbols], fontsize=8, **AS_IT_IS)
    axes.tick_params(labelsize=8)
    axes.set_xlabel("step of the pen", fontsize=8)
    mark_whole_numbers(axes.xaxis)


def _check(samples: Any) -> list[tuple[str, np.ndarray, Sequence[str], np.ndarray | None]]:
    """Returns each sample as a title, points, symbols and weights or None."""
    if isinstance(samples, str) or not isinstance(samples, Sequence):
        raise TypeError(
            "pen_strokes: expected samples as a sequence of titles and points, got "
            f"{type(samples).__name__}."
        )
    if not samples:
        raise ValueError("pen_strokes: expected at least one sample, got none.")
    checked: list[tuple[str, np.ndarray, Sequence[str], np.ndarray | None]] = []
    for number, sample in enumerate(samples):
        is_one = isinstance(sample, tuple) and len(sample) in (2, 4) and isinstance(sample[0], str)
        if not is_one:
            raise TypeError(
                f"pen_strokes: sample {number}: expected a tuple of a title and points, or also "
                f"symbols and weights, got {sample!r:.60}."
            )
        points = _finite(f"sample {number}: points", sample[1], "[T, 3]")
        if points.shape[1:] != (3,) or not len(points):
            raise _wrong(f"sample {number}: points", "[T, 3]", points)
        symbols: list[str] = []
        weights = None
        if len(sample) == 4:
            symbols = list(sample[2])
            weights = _finite(f"sample {number}: weights", sample[3], "[S, U]")
            if weights.shape != (len(weights), len(symbols)) or not weights.size:
                raise _wrong(f"sample {number}: weights", f"[S, {len(symbols)}]", weights)
        checked.append((sample[0], points, symbols, weights))
    return checked


def _finite(name: str, value: Any, shape: str) -> np.ndarray:
    array = np.asarray(as_reals(f"pen_strokes: {name}", value), float)
    if array.ndim != 2 or not np.isfinite(array).all():
        raise _wrong(name, f"finite numbers {shape}", array)
    return array


def _wrong(name: str, expected: str, array: np.ndarray) -> ValueError:
    got = list(array.shape) if np.isfinite(array).all() else "one that is not finite"
    return ValueError(f"pen_strokes: {name}: expected {expected}, got {got}.")
