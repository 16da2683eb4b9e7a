"""Figures of matplotlib, which only this file imports."""

from __future__ import annotations

from typing import Any


def make_figure(width: float, height: float, layout: Any = "constrained") -> Any:
    """Makes an empty figure, in inches, without pyplot's global state and windows."""
    from matplotlib.figure import Figure

    return Figure(figsize=(width, height), layout=layout, dpi=120)
