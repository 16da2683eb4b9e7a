"""Lifts: ways to run a cell over time as a layer, and layers built from layers."""

from recur.lift.associative import associative
from recur.lift.batch import batch
from recur.lift.bidirectional import Directions, bidirectional
from recur.lift.chain import chain
from recur.lift.checkpoint import checkpoint
from recur.lift.encoder_decoder import EncoderDecoderParams, encoder_decoder
from recur.lift.inner import inner
from recur.lift.loop import loop
from recur.lift.newton import NewtonLayer, NewtonReport, newton
from recur.lift.online import Online, OnlineOutput, OnlineState, online
from recur.lift.parallel import parallel
from recur.lift.pooled import PooledParams, pooled
from recur.lift.scan import scan
from recur.lift.sequencewise import sequencewise
from recur.lift.tree import Children, tree
from recur.lift.truncate import truncate
from recur.lift.window import run_window

__all__ = [
    "Children",
    "Directions",
    "EncoderDecoderParams",
    "NewtonLayer",
    "NewtonReport",
    "Online",
    "OnlineOutput",
    "OnlineState",
    "PooledParams",
    "associative",
    "batch",
    "bidirectional",
    "chain",
    "checkpoint",
    "encoder_decoder",
    "inner",
    "loop",
    "newton",
    "online",
    "parallel",
    "pooled",
    "run_window",
    "scan",
    "sequencewise",
    "tree",
    "truncate",
]
