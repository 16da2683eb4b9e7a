"""Figures of the documentation, written as the same file each time."""

from __future__ import annotations

import pathlib
from typing import Any

import matplotlib

from recur.runs import write_figure

matplotlib.use("agg")
matplotlib.rcParams["svg.hashsalt"] = "recur"


def save(figure: Any, out: pathlib.Path) -> None:
    """Writes a figure of matplotlib as an SVG or a PNG, and prints where."""
    kind = out.suffix[1:]
    if kind not in ("svg", "png"):
        raise ValueError(f"--out: expected a name that ends in .svg or .png, got {out}.")
    out.parent.mkdir(parents=True, exist_ok=True)
    write_figure(out, figure, metadata={"Date": None} if kind == "svg" else None)
    print(out)
