"""Sequences of any length: padding, bucketing and packing, streams, pooling, trees; sounds."""

from recur.sequences import pool
from recur.sequences.audio_file import read_audio
from recur.sequences.batches import BatchStream, batches
from recur.sequences.bucket import bucket, find_boundaries
from recur.sequences.examples import Example
from recur.sequences.layout import Batch, Layout, Plan, TimeMajorBatch, make_batches
from recur.sequences.log_mel import log_mel
from recur.sequences.pack import pack
from recur.sequences.pad import pad
from recur.sequences.padded import Padded
from recur.sequences.ragged import Sizes
from recur.sequences.sliding import Sliding, sliding
from recur.sequences.streams import Streams, Window, whole_rows
from recur.sequences.trees import Node, Nodes, parse_tree, post_order
from recur.sequences.unpack import first_steps, last_steps, segments, unpack

__all__ = [
    "Batch",
    "BatchStream",
    "Example",
    "Layout",
    "Node",
    "Nodes",
    "Padded",
    "Plan",
    "Sizes",
    "Sliding",
    "Streams",
    "TimeMajorBatch",
    "Window",
    "batches",
    "bucket",
    "find_boundaries",
    "first_steps",
    "last_steps",
    "log_mel",
    "make_batches",
    "pack",
    "pad",
    "parse_tree",
    "pool",
    "post_order",
    "read_audio",
    "segments",
    "sliding",
    "unpack",
    "whole_rows",
]
