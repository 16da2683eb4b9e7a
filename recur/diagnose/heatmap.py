"""Heat maps of matrices with labeled rows and columns."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from recur.checks import check_number
from recur.diagnose.data import as_numbers
from recur.diagnose.figure import make_figure
from recur.diagnose.labels import AS_IT_IS, label_axes


def heatmap(
    values: Any,
    rows: Sequence[str],
    columns: Sequence[str],
    *,
    x: str = "",
    y: str = "",
    title: str = "",
    low: float | None = None,
    high: float | None = None,
) -> Any:
    """Draws a matrix as a heat map, such as attention weights of target by source tokens.

    The colors run from white to dark blue, so they can be told apart without color vision and in
    grey. NaN is drawn in grey.

    Args:
      values: real `[R, C]`.
      rows: R labels, from the top.
      columns: C labels.
      x: label of the x axis, such as "source".
      y: label of the y axis, such as "translation".
      title: title of the plot.
      low: the value of white; by default the least of 0 and all values.
      high: the value of the darkest color; by default the largest value.

    Returns:
      A `matplotlib.figure.Figure`; `figure.savefig(path)` writes it, a notebook shows it.

    Raises:
      ModuleNotFoundError: if matplotlib is not installed; the extra `train` installs it.
      TypeError: if values are not numbers, or labels not sequences.
      ValueError: if values are not `[R, C]` with a label for each row and column, or low
        is above high.

    Example:
      >>> from recur.diagnose import heatmap
      >>> figure = heatmap([[0.9, 0.1], [0.2, 0.8]], ["good", "day"], ["guten", "tag"])
      >>> [label.get_text() for label in figure.axes[0].get_yticklabels()]
      ['good', 'day']
    """
    matrix = _check(values, rows, columns)
    finite = matrix[np.isfinite(matrix)]
    low = float(finite.min(initial=0.0)) if low is None else check_number("heatmap: low", low)
    high = float(finite.max(initial=low)) if high is None else check_number("heatmap: high", high)
    if low > high:
        raise ValueError(f"heatmap: expected low of at most high, got {low} and {high}.")
    high = low + 1 if high == low else high  # else all would be of the middle color
    width, height = (min(30.0, 1.8 + 0.3 * len(labels)) for labels in (columns, rows))
    figure = make_figure(width + 1.0, height)
    axes = figure.add_subplot()
    axes.set_facecolor("lightgrey")
    image = axes.imshow(matrix, cmap="Blues", vmin=low, vmax=high, aspect="auto")
    axes.xaxis.tick_top()
    axes.xaxis.set_label_position("top")
    axes.set_xticks(range(len(columns)), columns, **AS_IT_IS)
    for label in axes.get_xticklabels():  # those at the top
        label.set_rotation(90 if len(label.get_text()) > 2 else 0)
    axes.set_yticks(range(len(rows)), rows, **AS_IT_IS)
    axes.set_xticks(np.arange(1, len(columns)) - 0.5, minor=True)
    axes.set_yticks(np.arange(1, len(rows)) - 0.5, minor=True)
    axes.grid(which="minor", color="white", linewidth=0.5)
    axes.tick_params(which="both", length=0)
    label_axes(axes, title=title, x=x, y=y)
    figure.colorbar(image)
    return figure


def _check(values: Any, rows: Any, columns: Any) -> np.ndarray:
    """Returns the values as a matrix with a label for each row and column."""
    for name, labels in (("rows", rows), ("columns", columns)):
        if isinstance(labels, str) or not hasattr(labels, "__len__"):
            raise TypeError(
                f"heatmap: {name}: expected a sequence of labels, got {type(labels).__name__}."
            )
    matrix = as_numbers("heatmap: values", values)
    if matrix.shape != (len(rows), len(columns)) or not matrix.size:
        raise ValueError(
            "heatmap: expected values of shape [R, C], R rows and C columns, got the shape "
            f"{list(matrix.shape)}, {len(rows)} rows and {len(columns)} columns."
        )
    return matrix
