"""A picture of a confusion matrix."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from recur.diagnose.data import check_confusion
from recur.diagnose.figure import make_figure
from recur.diagnose.labels import AS_IT_IS, label_axes


def confusion(counts: Any, names: Sequence[str], *, title: str = "") -> Any:
    """Plots a confusion matrix as a heat map with the counts written in its cells.

        shade_{c,k} = counts_{c,k} / sum_k counts_{c,k}

    A row is a target class, a column a predicted class. The shade is the share of the row, so the
    diagonal shows the recall of each class. It gets darker steadily, so it is readable in grey.

    Args:
      counts: `[V, V]`, at least 0, as `recur.train.confusion_matrix` computes them.
      names: the V names of the classes.
      title: title of the plot.

    Returns:
      A `matplotlib.figure.Figure`; `figure.savefig(path)` writes it, a notebook shows it.

    Raises:
      ModuleNotFoundError: if matplotlib is not installed; the extra `train` installs it.
      TypeError: if counts are not numbers, or names not a sequence of strings.
      ValueError: if counts are not `[V, V]` for V ≥ 1 names, or one is negative or not finite.

    Example:
      >>> from recur.diagnose import confusion
      >>> figure = confusion([[8, 2], [1, 9]], ["cat", "dog"])
      >>> [text.get_text() for text in figure.axes[0].texts]
      ['8', '2', '1', '9']
    """
    table = check_confusion(counts, names)
    size = len(table)
    totals = table.sum(1, keepdims=True)
    shares = np.divide(table, totals, out=np.zeros_like(table), where=totals > 0)
    figure = make_figure(2.5 + 0.5 * size, 2 + 0.45 * size)
    axes = figure.add_subplot(xticks=range(size), yticks=range(size))
    label_axes(axes, title=title, x="predicted class", y="target class")
    axes.set_xticklabels(names, rotation=90, **AS_IT_IS)
    axes.set_yticklabels(names, **AS_IT_IS)
    image = axes.imshow(shares, cmap="Blues", vmin=0, vmax=1)
    axes.tick_params(length=0)
    axes.spines[:].set_visible(False)
    for (row, column), count in np.ndenumerate(table):
        if count:
            axes.text(
                column,
                row,
                f"{count:,.4g}" if count % 1 else f"{count:,.0f}",
                ha="center",
                va="center",
                fontsize=8 if count < 1000 else 6.5,
                color="white" if shares[row, column] > 0.5 else "black",
            )
    figure.colorbar(image, label="share of the target class", shrink=0.8)
    return figure
