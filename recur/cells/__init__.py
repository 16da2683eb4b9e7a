"""Cells: one step of maths. No file here knows of time.

The equations are written for row vectors, `x_t W` with W `[I, H]`, one array a gate.
"""

from recur.cells.conv import ConvGRUParams, ConvLSTMParams, conv_gru, conv_lstm
from recur.cells.elman import ElmanParams, elman
from recur.cells.gated import GatedGates, GatedParams, gated
from recur.cells.gru import GRUGates, GRUParams, gru
from recur.cells.independent import IndRNNParams, indrnn
from recur.cells.initial import scaled_identity
from recur.cells.jordan import JordanParams, jordan
from recur.cells.linear import DiagonalParams, LeakyParams, diagonal, leaky
from recur.cells.lru import LRUParams, lru
from recur.cells.lstm import LSTMGates, LSTMParams, LSTMState, Peepholes, lstm
from recur.cells.lstm_norm import LayerNormLSTMParams, layer_norm_lstm
from recur.cells.lstm_projection import ProjectedLSTMParams, projected_lstm
from recur.cells.lstm_variants import (
    CoupledGates,
    CoupledLSTMParams,
    OriginalGates,
    OriginalLSTMParams,
    coupled_lstm,
    original_lstm,
)
from recur.cells.mgu import MGUGates, MGUParams, mgu
from recur.cells.minimal import (
    MinGRUGates,
    MinGRUParams,
    MinLSTMGates,
    MinLSTMParams,
    min_gru,
    min_lstm,
    positive,
)
from recur.cells.recurrent_highway import RHNGates, RHNParams, recurrent_highway
from recur.cells.slstm import SLSTMParams, SLSTMState, slstm

__all__ = [
    "ConvGRUParams",
    "ConvLSTMParams",
    "CoupledGates",
    "CoupledLSTMParams",
    "DiagonalParams",
    "ElmanParams",
    "GRUGates",
    "GRUParams",
    "GatedGates",
    "GatedParams",
    "IndRNNParams",
    "JordanParams",
    "LRUParams",
    "LSTMGates",
    "LSTMParams",
    "LSTMState",
    "LayerNormLSTMParams",
    "LeakyParams",
    "MGUGates",
    "MGUParams",
    "MinGRUGates",
    "MinGRUParams",
    "MinLSTMGates",
    "MinLSTMParams",
    "OriginalGates",
    "OriginalLSTMParams",
    "Peepholes",
    "ProjectedLSTMParams",
    "RHNGates",
    "RHNParams",
    "SLSTMParams",
    "SLSTMState",
    "conv_gru",
    "conv_lstm",
    "coupled_lstm",
    "diagonal",
    "elman",
    "gated",
    "gru",
    "indrnn",
    "jordan",
    "layer_norm_lstm",
    "leaky",
    "lru",
    "lstm",
    "mgu",
    "min_gru",
    "min_lstm",
    "original_lstm",
    "positive",
    "projected_lstm",
    "recurrent_highway",
    "scaled_identity",
    "slstm",
]
