"""Figures of the documentation, written as the same file each time."""

from __future__ import annotations

import pathlib
from typing import Any

import matplotlib
from saving import writing

matplotlib.use("agg")
matplotlib.rcParams["svg.hashsalt"] = "recur"


def save(figure: Any, out: pathlib.Path) -> None:
    """Writes a figure of matplotlib as an SVG or a PNG, and prints where."""
    kind = out.suffix[1:]
    if kind not in ("svg", "png"):
        raise ValueError(f"--out: expected a name that ends in .svg or .png, got {out}.")
    out.parent.mkdir(parents=True, exist_ok=True)
    with writing(out, "wb") as file:
        figure.savefig(file, format=kind, metadata={"Date": None} if kind == "svg" else None)
    print(out)
