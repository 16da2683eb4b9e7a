"""Labels of pictures: a text is shown as it is, "$" and a leading underscore too."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

AS_IT_IS = {"parse_math": False}  # for matplotlib, which reads what is between two "$" as formulas


def label_axes(axes: Any, *, title: str = "", x: str = "", y: str = "") -> None:
    """Writes the title of axes, and what is along them."""
    axes.set_title(title, **AS_IT_IS)
    axes.set_xlabel(x, **AS_IT_IS)
    axes.set_ylabel(y, **AS_IT_IS)


def add_legend(owner: Any, handles: Mapping[str, Any], **options: Any) -> None:
    """Adds a legend to axes or a figure.

    Matplotlib leaves out names that begin with "_", so the names are written afterwards.

    Args:
      owner: the axes or the figure.
      handles: what is drawn, by name.
      **options: of matplotlib's legend.
    """
    legend = owner.legend(list(handles.values()), [" "] * len(handles), **options)
    for text, name in zip(legend.get_texts(), handles, strict=True):
        text.set(text=name, **AS_IT_IS)
