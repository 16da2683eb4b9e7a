"""Lifts: ways to run a cell over time as a layer, and layers built from layers."""

from recur.lift.associative import associative
from recur.lift.batch import batch
from recur.lift.bidirectional import Directions, bidirectional
from recur.lift.chain import chain
from recur.lift.checkpoint import checkpoint
from recur.lift.loop import loop
from recur.lift.newton import NewtonLayer, NewtonReport, newton
from recur.lift.online import Online, OnlineOutput, OnlineState, online
from recur.lift.scan import scan
from recur.lift.tree import Children, tree
from recur.lift.truncate import truncate
from recur.lift.window import run_window

__all__ = [
    "Children",
    "Directions",
    "NewtonLayer",
    "NewtonReport",
    "Online",
    "OnlineOutput",
    "OnlineState",
    "associative",
    "batch",
    "bidirectional",
    "chain",
    "checkpoint",
    "loop",
    "newton",
    "online",
    "run_window",
    "scan",
    "tree",
    "truncate",
]
