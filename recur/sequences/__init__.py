"""Arrays with lengths: how sequences are laid out before a layer reads them, and the way back."""

from recur.sequences import pool
from recur.sequences.batches import batches
from recur.sequences.bucket import bucket, find_boundaries
from recur.sequences.examples import Example
from recur.sequences.layout import Batch, Layout, Plan, lay_out
from recur.sequences.pack import pack
from recur.sequences.pad import pad
from recur.sequences.sliding import Sliding, sliding
from recur.sequences.trees import Node, Nodes, parse_tree, post_order
from recur.sequences.unpack import first_steps, last_steps, segments, unpack
from recur.sequences.windows import Streams, Window, whole_rows

__all__ = [
    "Batch",
    "Example",
    "Layout",
    "Node",
    "Nodes",
    "Plan",
    "Sliding",
    "Streams",
    "Window",
    "batches",
    "bucket",
    "find_boundaries",
    "first_steps",
    "last_steps",
    "lay_out",
    "pack",
    "pad",
    "parse_tree",
    "pool",
    "post_order",
    "segments",
    "sliding",
    "unpack",
    "whole_rows",
]
