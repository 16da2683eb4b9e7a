"""Training: losses, clipping, the training step, the training loop and checkpoints."""

from recur.serialization import register_namedtuples
from recur.train.checkpoint import Checkpoints, Restored
from recur.train.chunked_loss import chunked_cross_entropy, chunked_cross_entropy_sum
from recur.train.clip import ClipByAverageNormState, clip_by_average_norm
from recur.train.json_lines import JsonLines, read_json_lines
from recur.train.loop import Report, every, fit
from recur.train.losses import (
    bits,
    cross_entropy,
    masked_mean,
    perplexity,
)
from recur.train.penalties import by_path, l1, l2
from recur.train.shard import gradient_by_device, make_sharded_step
from recur.train.step import TrainState, init_state, make_step
from recur.train.weight_noise import weight_drop, weight_noise

register_namedtuples()

__all__ = [
    "Checkpoints",
    "ClipByAverageNormState",
    "JsonLines",
    "Report",
    "Restored",
    "TrainState",
    "bits",
    "by_path",
    "chunked_cross_entropy",
    "chunked_cross_entropy_sum",
    "clip_by_average_norm",
    "cross_entropy",
    "every",
    "fit",
    "gradient_by_device",
    "init_state",
    "l1",
    "l2",
    "make_sharded_step",
    "make_step",
    "masked_mean",
    "perplexity",
    "read_json_lines",
    "weight_drop",
    "weight_noise",
]
