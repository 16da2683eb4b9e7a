"""Recurrent cells. A cell computes one time step; `recur.scan` runs it over a sequence.

Equations are written for row vectors, `x_t W` with W `[I, H]`. Each gate has its own arrays.
"""

from recur.cells.conv import ConvGRUParams, ConvLSTMParams, conv_gru, conv_lstm
from recur.cells.custom import cell
from recur.cells.elman import ElmanParams, elman
from recur.cells.gru import GRUGates, GRUParams, gru
from recur.cells.independent import IndRNNParams, indrnn
from recur.cells.initial import GatedParams, scaled_identity
from recur.cells.jordan import JordanParams, jordan
from recur.cells.linear import DiagonalParams, LeakyIntegratorParams, diagonal, leaky_integrator
from recur.cells.lru import LRUParams, lru
from recur.cells.lstm import LSTMGates, LSTMParams, LSTMState, Peepholes, lstm
from recur.cells.lstm_norm import LayerNormLSTMParams, layer_norm_lstm
from recur.cells.lstm_projection import ProjectedLSTMParams, projected_lstm
from recur.cells.lstm_variants import CoupledGates, OriginalGates, coupled_lstm, original_lstm
from recur.cells.mgu import MGUGates, mgu
from recur.cells.minimal import (
    MinGRUGates,
    MinimalParams,
    MinLSTMGates,
    min_gru,
    min_lstm,
    positive,
)
from recur.cells.recurrent_highway import RHNGates, RHNParams, recurrent_highway
from recur.cells.slstm import SLSTMParams, SLSTMState, slstm
from recur.cells.tree_lstm import NaryGates, NaryLSTMParams, child_sum_lstm, nary_lstm
from recur.cells.ugrnn import UGRNNGates, ugrnn

__all__ = [
    "ConvGRUParams",
    "ConvLSTMParams",
    "CoupledGates",
    "DiagonalParams",
    "ElmanParams",
    "GRUGates",
    "GRUParams",
    "GatedParams",
    "IndRNNParams",
    "JordanParams",
    "LRUParams",
    "LSTMGates",
    "LSTMParams",
    "LSTMState",
    "LayerNormLSTMParams",
    "LeakyIntegratorParams",
    "MGUGates",
    "MinGRUGates",
    "MinLSTMGates",
    "MinimalParams",
    "NaryGates",
    "NaryLSTMParams",
    "OriginalGates",
    "Peepholes",
    "ProjectedLSTMParams",
    "RHNGates",
    "RHNParams",
    "SLSTMParams",
    "SLSTMState",
    "UGRNNGates",
    "cell",
    "child_sum_lstm",
    "conv_gru",
    "conv_lstm",
    "coupled_lstm",
    "diagonal",
    "elman",
    "gru",
    "indrnn",
    "jordan",
    "layer_norm_lstm",
    "leaky_integrator",
    "lru",
    "lstm",
    "mgu",
    "min_gru",
    "min_lstm",
    "nary_lstm",
    "original_lstm",
    "positive",
    "projected_lstm",
    "recurrent_highway",
    "scaled_identity",
    "slstm",
    "ugrnn",
]
