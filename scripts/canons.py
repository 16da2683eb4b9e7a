"""Strict canons, composed by a rule: one melody, imitated by voices that enter later and lower.

A frame is a quarter note. The leading voice is a random walk on a major scale, mostly by steps: in
each frame it moves, or sometimes holds, and prefers notes that are consonant with the other voices.
These repeat it two and four quarters later, one and two octaves lower. So a model that remembers
two frames can predict two voices of three; the last frame alone says little about them.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from piano_rolls import KEYS, LOWEST

FRAMES_PER_BEAT = 1
MEASURE = 4  # frames
SCALE = (0, 2, 4, 5, 7, 9, 11)  # semitones above the tonic
TONIC = 72  # C, the leader's lowest note
RANGE = 10  # degrees of the scale in the range of the leader
FOLLOWERS = ((2, 7), (4, 14))  # frames later, degrees lower
MOVES = 0.95  # the probability that the leader moves
LEAPS = np.array([0, 8, 4, 2, 1, 0.5, 0, 0.5, 0, 0])  # weights of moves by 0, 1, 2 ... degrees
CONSONANT = np.isin(np.arange(7), (0, 2, 4, 5))  # unison, third, fifth, sixth
DISSONANCE = 0.05  # weight of the others, for each voice


class Canon(NamedTuple):
    """A piece, and its negative log likelihood under the rule."""

    roll: np.ndarray  # bool [T, 88]
    nats: np.ndarray  # [T], of each frame given the past, under the rule


def compose(draws: np.random.Generator, measures: int) -> Canon:
    """Composes a canon in three voices, cut off after the given number of measures."""
    frames = measures * MEASURE
    melody = np.zeros(frames, int)
    sounding = np.zeros((frames, KEYS), bool)
    nats = np.zeros(frames)
    for t in range(frames):
        others = [melody[t - later] - lower for later, lower in FOLLOWERS if t >= later]
        chances = leader_chances(melody[t - 1] if t else None, others)
        melody[t] = draws.choice(RANGE, p=chances)
        known = keys_of(others)
        sounding[t, known + keys_of([melody[t]])] = True
        foreseen = np.zeros(KEYS)
        foreseen[keys_of(range(RANGE))] = chances
        foreseen[known] = 1
        nats[t] = -np.log(np.where(sounding[t], foreseen, 1 - foreseen)).sum()
    return Canon(sounding, nats)


def leader_chances(last: int | None, others: list[int]) -> np.ndarray:
    """Probabilities of the next degree of the leader, given its last one and the other voices."""
    degrees = np.arange(RANGE)
    weights = np.ones(RANGE) if last is None else LEAPS[np.abs(degrees - last)]
    for other in others:
        weights = weights * np.where(CONSONANT[(degrees - other) % 7], 1, DISSONANCE)
    chances = weights / weights.sum()
    if last is None:
        return chances
    return MOVES * chances + (1 - MOVES) * (degrees == last)


def keys_of(degrees) -> list[int]:
    """The piano keys, counted from 0, of degrees of the scale, counted from the tonic."""
    return [TONIC + 12 * (int(d) // 7) + SCALE[int(d) % 7] - LOWEST for d in degrees]


def compose_many(seed: int, count: int, measures: tuple[int, int] = (8, 16)) -> list[Canon]:
    """Composes canons of random lengths and melodies."""
    draws = np.random.default_rng(seed)
    return [compose(draws, int(draws.integers(*measures, endpoint=True))) for _ in range(count)]
