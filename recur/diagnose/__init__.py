"""Pictures and numbers about any layer and any run."""

from recur.diagnose.plots import curves, panels, scatter

__all__ = ["curves", "panels", "scatter"]
