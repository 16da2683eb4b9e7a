"""recur: write one pure step, and run, batch, differentiate and train it every way.

cells      elman, jordan, gated, lstm, gru, leaky, diagonal; cell, for your own
combine    stack, residual, readout: a cell in, a cell out
lift       loop, scan, associative, newton, online, tree: ways to run a cell; truncate,
           checkpoint, bidirectional, chain, batch: layers of layers
sequences  sequences of every length in batches, streams, pooling;  text  characters to ids
decode     choosing tokens, and generating with them
train      losses, clipping, penalties, one step, the loop around it, checkpoints
diagnose   pictures
"""

from recur import cells, combine, decode, diagnose, lift, sequences, text, train, types
from recur.cells import diagonal, elman, gated, gru, jordan, leaky, lstm
from recur.combine import readout, residual, stack
from recur.lift import (
    associative,
    batch,
    bidirectional,
    chain,
    checkpoint,
    loop,
    newton,
    online,
    scan,
    tree,
    truncate,
)
from recur.types import cell

__version__ = "0.1.0"

__all__ = [
    "associative",
    "batch",
    "bidirectional",
    "cell",
    "cells",
    "chain",
    "checkpoint",
    "combine",
    "decode",
    "diagnose",
    "diagonal",
    "elman",
    "gated",
    "gru",
    "jordan",
    "leaky",
    "lift",
    "loop",
    "lstm",
    "newton",
    "online",
    "readout",
    "residual",
    "scan",
    "sequences",
    "stack",
    "text",
    "train",
    "tree",
    "truncate",
    "types",
]
