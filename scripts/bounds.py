"""Valid ranges of numeric options, by name; a name has the same meaning in every script."""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Callable
from typing import Any, NamedTuple


class Bound(NamedTuple):
    """A valid range: its description and its test."""

    what: str
    holds: Callable[[float], bool]


def _from(least: float, most: float) -> Bound:
    return Bound(f"from {least} to {most:,}", lambda number: least <= number <= most)


MOST_UPDATES = 10**9  # 32 bits count them
_MOST = 10**6  # of a size, so that the product of three fits into 64 bits
_SIZES = """batch_size count embedding features files given k k1 k2 kills length max_tokens
    negatives num_beams pieces top_k unroll vocabulary window"""
_COUNTS = """average_after checkpoint_every constant_epochs epochs min_count report_every steps"""
_FROM_ZERO = "limit noise temperature weight_decay"
_RATES = "clip decay initial learning_rate sample"
_SHARES = "dropout input_dropout layer_dropout output_dropout weight_drop word_dropout"
BOUNDS = {
    **dict.fromkeys(_SIZES.split(), _from(1, _MOST)),
    **dict.fromkeys(_COUNTS.split(), _from(1, MOST_UPDATES)),
    **dict.fromkeys(_FROM_ZERO.split(), Bound("at least 0", lambda number: 0 <= number < math.inf)),
    **dict.fromkeys(_RATES.split(), Bound("above 0", lambda number: 0 < number < math.inf)),
    **dict.fromkeys(_SHARES.split(), Bound("from 0 to below 1", lambda number: 0 <= number < 1)),
    "layers": _from(1, 1000),
    "min_tokens": _from(0, _MOST),
    "sample_length": _from(0, _MOST),
    "seed": _from(0, 2**32 - 1),
    "length_penalty": Bound("a finite number", math.isfinite),
    "beats_per_minute": _from(4, 1000),  # what MIDI files can hold
    "frames_per_beat": _from(1, 250),
}


def check_numbers(options: Any) -> None:
    """Raises a ValueError that names an option with an invalid number."""
    for field in dataclasses.fields(options):
        value = getattr(options, field.name)
        if field.name in BOUNDS and isinstance(value, (int, float)):
            bound = BOUNDS[field.name]
            if not bound.holds(value):
                option = f"--{field.name.replace('_', '-')}"
                raise ValueError(f"{option}: expected {bound.what}, got {value}.")


def total_updates(epochs: int, per_epoch: int) -> int:
    """The total number of updates; a ValueError if it exceeds the maximum."""
    if epochs * per_epoch > MOST_UPDATES:
        raise ValueError(
            f"--epochs: expected at most {MOST_UPDATES:,} updates, which are "
            f"{MOST_UPDATES // per_epoch:,} epochs of this text, got {epochs:,} epochs."
        )
    return epochs * per_epoch
