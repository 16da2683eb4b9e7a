"""Combinators: a cell in, a cell out."""

from recur.combine.adapt import ReadoutParams, readout
from recur.combine.residual import residual
from recur.combine.stack import Stack, stack

__all__ = ["ReadoutParams", "Stack", "readout", "residual", "stack"]
