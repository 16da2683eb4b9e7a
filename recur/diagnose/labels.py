"""Labels of plots, without matplotlib's special meaning of "$" and of a leading underscore."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

AS_IT_IS = {"parse_math": False}  # matplotlib parses text between two "$" as a formula


def label_axes(axes: Any, *, title: str = "", x: str = "", y: str = "") -> None:
    """Writes the title and the axis labels."""
    axes.set_title(title, **AS_IT_IS)
    axes.set_xlabel(x, **AS_IT_IS)
    axes.set_ylabel(y, **AS_IT_IS)


def mark_whole_numbers(axis: Any) -> None:
    """Places the ticks of an axis, or a color bar, of whole numbers at whole numbers only."""
    axis.get_major_locator().set_params(integer=True, min_n_ticks=1)


def add_legend(owner: Any, handles: Mapping[str, Any], **options: Any) -> None:
    """Adds a legend to axes or a figure.

    Matplotlib omits names that begin with "_", so the names are written afterwards.

    Args:
      owner: the axes or the figure.
      handles: the lines, by name.
      **options: options of matplotlib's legend.
    """
    legend = owner.legend(list(handles.values()), [" "] * len(handles), **options)
    for text, name in zip(legend.get_texts(), handles, strict=True):
        text.set(text=name, **AS_IT_IS)
