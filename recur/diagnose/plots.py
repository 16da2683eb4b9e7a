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
    from matplotlib.figure import Figure  # an object of its own: no global state, no window

    figure = Figure(figsize=(7, 4), layout="constrained", dpi=120)
    axes = figure.add_subplot(xlabel=x, ylabel=y, title=title)
    for name, (places, values) in lines.items():
        if len(places) != len(values):
            raise ValueError(
                f"curves: expected as many places as values of {name!r}, got {len(places)} and "
                f"{len(values)}."
            )
        if len(places) <= _FEW:
            axes.plot(places, values, marker="o", label=name)
            continue
        (pale,) = axes.plot(places, values, alpha=0.3, linewidth=1)
        axes.plot(places, _running_mean(values), color=pale.get_color(), label=name)
    axes.grid(alpha=0.3)
    axes.legend()
    return figure


_FEW = 20


def _running_mean(values: Sequence[float]) -> list[float]:
    """The mean over a twentieth of the curve in front of each point."""
    width = max(1, len(values) // 20)
    pieces = [values[max(0, end - width) : end] for end in range(1, len(values) + 1)]
    return [sum(piece) / len(piece) for piece in pieces]
