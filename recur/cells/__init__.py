"""Cells: one step of maths. No file here knows of time.

The equations are written for row vectors, `x_t W` with W `[I, H]`, one array a gate.
"""

from recur.cells.elman import ElmanParams, elman
from recur.cells.gated import GatedGates, GatedParams, gated
from recur.cells.gru import GRUGates, GRUParams, gru
from recur.cells.initial import scaled_identity
from recur.cells.jordan import JordanParams, jordan
from recur.cells.linear import DiagonalParams, LeakyParams, diagonal, leaky
from recur.cells.lstm import LSTMGates, LSTMParams, LSTMState, Peepholes, lstm

__all__ = [
    "DiagonalParams",
    "ElmanParams",
    "GRUGates",
    "GRUParams",
    "GatedGates",
    "GatedParams",
    "JordanParams",
    "LSTMGates",
    "LSTMParams",
    "LSTMState",
    "LeakyParams",
    "Peepholes",
    "diagonal",
    "elman",
    "gated",
    "gru",
    "jordan",
    "leaky",
    "lstm",
    "scaled_identity",
]
