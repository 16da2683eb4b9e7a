"""Plots of training runs, benchmarks and embeddings, with matplotlib."""

from recur.diagnose.heatmap import heatmap
from recur.diagnose.plots import curves, panels, scatter

__all__ = ["curves", "heatmap", "panels", "scatter"]
