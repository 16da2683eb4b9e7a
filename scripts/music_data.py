"""The music of music_lm.py: training, validation and test pieces from files, or canons.

A piece is a dict of steps, arrays `[T, ...]`: `before`, the input of each step, which is the
previous frame or at first silence; `frame`, its target; and for canons `rule`, the nats of the
frame under the rule that composed it.
"""

from __future__ import annotations

import pathlib
from collections.abc import Sequence

import numpy as np
from canons import compose_many
from piano_rolls import KEYS, SPLITS, check_roll, find_midi, read_mat, read_midi, write_midi

COMPOSED = {"training": 300, "validation": 60, "test": 60}  # canons
Piece = dict[str, np.ndarray]
Music = dict[str, list[Piece]]  # by split


def steps_of(roll: np.ndarray) -> Piece:
    """The steps of a piece."""
    return {"before": np.pad(roll[:-1], [(1, 0), (0, 0)]), "frame": roll}


def rolls_of(pieces: Sequence[Piece]) -> list[np.ndarray]:
    """The rolls of pieces."""
    return [piece["frame"] for piece in pieces]


def read_music(
    mat: pathlib.Path | None, midi: Sequence[pathlib.Path], frames_per_beat: int, seed: int
) -> Music:
    """Reads the given files, or composes canons if there are none."""
    if mat or midi:
        rolls = read_mat(mat) if mat else read_midi_splits(midi, frames_per_beat)
        return {split: [steps_of(roll) for roll in pieces] for split, pieces in rolls.items()}
    canons = {
        split: compose_many(seed + 1000 * number, count)
        for number, (split, count) in enumerate(COMPOSED.items())
    }
    return {
        split: [steps_of(roll) | {"rule": nats} for roll, nats in pieces]
        for split, pieces in canons.items()
    }


def read_midi_splits(
    paths: Sequence[pathlib.Path], frames_per_beat: int
) -> dict[str, list[np.ndarray]]:
    """Reads MIDI files, trims silence, and splits them, the same way each time."""
    files = find_midi(paths)
    if len(files) < len(SPLITS):
        raise ValueError(
            f"--midi: expected at least {len(SPLITS)} files, for training, validation and test, "
            f"got {len(files)}."
        )
    rolls, outside = zip(*(read_midi(file, frames_per_beat) for file in files), strict=True)
    if any(outside):
        print(f"{sum(outside)} notes outside the {KEYS} keys of a piano are left out.")
    rolls = [
        check_roll(without_silence(roll), str(f)) for roll, f in zip(rolls, files, strict=True)
    ]
    order = np.random.default_rng(0).permutation(len(rolls))
    held_out = max(1, len(rolls) // 10)
    test, validation, training = np.split(order, [held_out, 2 * held_out])
    splits = {"training": training, "validation": validation, "test": test}
    return {split: [rolls[number] for number in numbers] for split, numbers in splits.items()}


def without_silence(roll: np.ndarray) -> np.ndarray:
    """Trims the silence before the first note and after the last."""
    sounds = np.flatnonzero(roll.any(1))
    return roll[sounds[0] : sounds[-1] + 1]


def write_pieces(
    folder: pathlib.Path,
    name: str,
    rolls: Sequence[np.ndarray],
    frames_per_beat: int,
    beats_per_minute: float,
) -> None:
    """Writes rolls as name-1.mid, -2 ..."""
    folder.mkdir(parents=True, exist_ok=True)
    for number, roll in enumerate(rolls, start=1):
        write_midi(folder / f"{name}-{number}.mid", roll, frames_per_beat, beats_per_minute)
