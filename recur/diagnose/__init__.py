"""Plots of training runs, benchmarks and embeddings, with matplotlib."""

from recur.diagnose.confusion_plot import confusion
from recur.diagnose.forecast_plot import forecast_fan
from recur.diagnose.heatmap import heatmap
from recur.diagnose.image_grid import image_grid
from recur.diagnose.plots import curves, panels, scatter
from recur.diagnose.posteriorgram_plot import posteriorgram
from recur.diagnose.step_weights_plot import step_weights
from recur.diagnose.tagged_plot import tagged

__all__ = [
    "confusion",
    "curves",
    "forecast_fan",
    "heatmap",
    "image_grid",
    "panels",
    "posteriorgram",
    "scatter",
    "step_weights",
    "tagged",
]
