"""The valid numbers of options, by name: a name means the same in every script."""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Callable
from typing import Any, NamedTuple


class Bound(NamedTuple):
    """What a number must be."""

    what: str
    holds: Callable[[float], bool]


def _from(least: float, most: float = math.inf) -> Bound:
    what = f"at least {least}" if most == math.inf else f"from {least} to {most}"
    return Bound(what, lambda number: least <= number <= most and number < math.inf)


_COUNTS = """average_after batch_size checkpoint_every constant_epochs count embedding epochs
    features given k k1 k2 layers length max_tokens min_count negatives num_beams pieces
    report_every steps top_k unroll vocabulary window"""
_FROM_ZERO = "min_tokens noise sample_length seed temperature weight_decay"
_RATES = "clip decay initial learning_rate sample"
_SHARES = "dropout input_dropout layer_dropout output_dropout weight_drop word_dropout"
BOUNDS = {
    **dict.fromkeys(_COUNTS.split(), _from(1)),
    **dict.fromkeys(_FROM_ZERO.split(), _from(0)),
    **dict.fromkeys(_RATES.split(), Bound("above 0", lambda number: 0 < number < math.inf)),
    **dict.fromkeys(_SHARES.split(), Bound("from 0 to below 1", lambda number: 0 <= number < 1)),
    "length_penalty": Bound("a finite number", math.isfinite),
    "beats_per_minute": _from(4, 1000),  # what MIDI files can hold, and people can play
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
