"""Heat maps of values over a long text, in lines."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from recur.checks import check_number, check_whole
from recur.diagnose.data import as_numbers
from recur.diagnose.figure import make_figure
from recur.diagnose.labels import AS_IT_IS
from recur.diagnose.palette import COLORS

_CELL = 0.135  # inches


def text_map(
    text: str,
    values: Any,
    names: Sequence[str],
    *,
    columns: int = 80,
    low: float = 0.0,
    high: float = 1.0,
    title: str = "",
) -> Any:
    """Plots values of each character of a text, such as gates, as heat maps below its lines.

    The text is cut into lines of a number of characters. Below each line is a row of cells for each
    unit or gate, the darker the larger the value.

    Args:
      text: T characters; a line feed is shown as "↵".
      values: `[R, T]`, the values of R units, such as `gates["forget"].T[:4]`.
      names: R names of the rows.
      columns: the number of characters of a line.
      low: the value of white.
      high: the value of the darkest color.
      title: title of the plot.

    Returns:
      A `matplotlib.figure.Figure`; `figure.savefig(path)` writes it, a notebook shows it.

    Raises:
      ModuleNotFoundError: if matplotlib is not installed; the extra `train` installs it.
      TypeError: if text is not a string, names are not a sequence, or values not numbers.
      ValueError: if values are not `[R, T]` for R ≥ 1 names and T ≥ 1 characters, low is not below
        high, or columns is below 1.

    Example:
      >>> import numpy as np
      >>> from recur.diagnose import text_map
      >>> figure = text_map("to be or not", np.full((1, 12), 0.5), ["forget"], columns=8)
      >>> ["".join(text.get_text() for text in axes.texts) for axes in figure.axes[:2]]
      ['to be or', ' not']
    """
    matrix = _check(text, values, names)
    columns = min(check_whole("text_map: columns", columns, 1), len(text))
    low, high = (check_number("text_map: low", low), check_number("text_map: high", high))
    if low >= high:
        raise ValueError(f"text_map: expected low below high, got {low} and {high}.")
    starts = range(0, len(text), columns)
    height = _CELL * (len(names) + 2.2)
    figure = make_figure(_CELL * columns + 1.6, height * len(starts) + 0.5)
    image: Any = None
    grid = figure.subplots(len(starts), 1, squeeze=False)[:, 0]
    for axes, start in zip(grid, starts, strict=True):
        line = text[start : start + columns].replace("\n", "↵")
        image = axes.imshow(
            matrix[:, start : start + columns],
            cmap="Blues",
            vmin=low,
            vmax=high,
            aspect="auto",
            interpolation="nearest",
        )
        axes.set(xlim=(-0.5, columns - 0.5), xticks=[])
        axes.set_yticks(range(len(names)), names, fontsize=7, **AS_IT_IS)
        axes.tick_params(length=0)
        axes.spines[:].set_visible(False)
        style = {"family": "monospace", "fontsize": 9, "ha": "center", "va": "bottom", **AS_IT_IS}
        for place, character in enumerate(line):
            axes.text(place, -0.6, character, color=COLORS[-1], **style)
    figure.suptitle(title, fontsize=11, **AS_IT_IS)
    figure.colorbar(image, ax=list(grid), shrink=min(1.0, 1.5 / figure.get_figheight() + 0.3))
    return figure


def _check(text: Any, values: Any, names: Any) -> np.ndarray:
    """Returns the values as floats `[R, T]`."""
    if not isinstance(text, str):
        raise TypeError(f"text_map: text: expected a string, got {type(text).__name__}.")
    if isinstance(names, str) or not hasattr(names, "__len__"):
        raise TypeError(
            f"text_map: names: expected a sequence of strings, got {type(names).__name__}."
        )
    matrix = as_numbers("text_map: values", values)
    if matrix.shape != (len(names), len(text)) or not matrix.size:
        raise ValueError(
            "text_map: expected values [R, T] for R names and T characters, got the shape "
            f"{list(matrix.shape)}, {len(names)} names and {len(text)} characters."
        )
    return matrix
