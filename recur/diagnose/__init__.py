"""Gradients, Jacobians, gates and states of layers as numbers, and plots with matplotlib."""

from recur.diagnose.confusion_plot import confusion
from recur.diagnose.diagnosis import Diagnosis, diagnose_example
from recur.diagnose.fixed_points import FixedPoints, find_fixed_points
from recur.diagnose.forecast_plot import forecast_fan
from recur.diagnose.gradient_flow import (
    carry_gradients,
    gradient_by_lag,
    input_gradients,
    param_gradient_by_lag,
)
from recur.diagnose.graph_plot import computation_graph
from recur.diagnose.heatmap import heatmap
from recur.diagnose.image_grid import image_grid
from recur.diagnose.named_over_time import named_over_time
from recur.diagnose.named_values import NamedValues, named_values
from recur.diagnose.non_finite import NonFinite, explain_non_finite, find_non_finite
from recur.diagnose.pen_strokes_plot import pen_strokes
from recur.diagnose.phase_plot import phase_portrait
from recur.diagnose.plots import curves, panels, scatter
from recur.diagnose.posteriorgram_plot import posteriorgram
from recur.diagnose.recurrent_jacobians import (
    VanishingCondition,
    lyapunov_exponents,
    product_singular_values,
    step_jacobians,
    vanishing_condition,
)
from recur.diagnose.run_report import write_report
from recur.diagnose.saliency_html import Html, saliency_html
from recur.diagnose.saturation_log import log_saturation
from recur.diagnose.spectrum_plot import spectrum
from recur.diagnose.step_weights_plot import step_weights
from recur.diagnose.summary_table import ParamSummary, PartSummary, Summary, summary
from recur.diagnose.tagged_plot import tagged
from recur.diagnose.text_map import text_map
from recur.diagnose.units import dead_units, effective_rank, saturation, time_constants
from recur.serialization import register_namedtuples

register_namedtuples()

__all__ = [
    "Diagnosis",
    "FixedPoints",
    "Html",
    "NamedValues",
    "NonFinite",
    "ParamSummary",
    "PartSummary",
    "Summary",
    "VanishingCondition",
    "carry_gradients",
    "computation_graph",
    "confusion",
    "curves",
    "dead_units",
    "diagnose_example",
    "effective_rank",
    "explain_non_finite",
    "find_fixed_points",
    "find_non_finite",
    "forecast_fan",
    "gradient_by_lag",
    "heatmap",
    "image_grid",
    "input_gradients",
    "log_saturation",
    "lyapunov_exponents",
    "named_over_time",
    "named_values",
    "panels",
    "param_gradient_by_lag",
    "pen_strokes",
    "phase_portrait",
    "posteriorgram",
    "product_singular_values",
    "saliency_html",
    "saturation",
    "scatter",
    "spectrum",
    "step_jacobians",
    "step_weights",
    "summary",
    "tagged",
    "text_map",
    "time_constants",
    "vanishing_condition",
    "write_report",
]
