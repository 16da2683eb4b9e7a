"""Colors, markers and line styles that can be told apart without color vision and in grey."""

from __future__ import annotations

from typing import Any

# Of Okabe and Ito 2008, Color Universal Design, without the yellow, which is too pale for lines.
COLORS = ("#0072B2", "#E69F00", "#009E73", "#D55E00", "#56B4E9", "#CC79A7", "#000000")
_MARKERS = "osD^vP"
_LINES = ("-", "--", "-.", ":")


def line_style(number: int) -> dict[str, Any]:
    """The color and the dashes of a curve, by its number from 0; 28 of them differ."""
    return {"color": COLORS[number % 7], "linestyle": _LINES[number % 4]}


def point_style(number: int) -> dict[str, Any]:
    """The color and the marker of a group of points, by its number from 0; 42 of them differ."""
    return {"color": COLORS[number % 7], "marker": _MARKERS[number % 6]}
