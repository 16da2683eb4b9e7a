"""recur: write one pure step, and run, batch, differentiate and train it every way.

cells      elman, jordan, gated, lstm, gru; cell, for your own
combine    stack, residual, readout: a cell in, a cell out
lift       loop, scan: a cell becomes a layer; truncate, bidirectional, chain, batch: layers
sequences  sequences of every length in batches, streams, pooling;  text  characters to ids
decode     choosing tokens, and generating with them
train      losses, clipping, penalties, one step, the loop around it, checkpoints
diagnose   pictures
"""

from recur import cells, combine, decode, diagnose, lift, sequences, text, train, types
from recur.cells import elman, gated, gru, jordan, lstm
from recur.combine import readout, residual, stack
from recur.lift import batch, bidirectional, chain, loop, scan, truncate
from recur.types import cell

__version__ = "0.1.0"

__all__ = [
    "batch",
    "bidirectional",
    "cell",
    "cells",
    "chain",
    "combine",
    "decode",
    "diagnose",
    "elman",
    "gated",
    "gru",
    "jordan",
    "lift",
    "loop",
    "lstm",
    "readout",
    "residual",
    "scan",
    "sequences",
    "stack",
    "text",
    "train",
    "truncate",
    "types",
]
