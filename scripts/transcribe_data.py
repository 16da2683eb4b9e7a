"""Signals and their transcripts for transcribe.py, read from files or made.

    speech         log-mel features of spoken digits, or of sound files
    handwriting    pen strokes of words, or of XML files in the format of IAM-OnDB, or CSV files

Every reader returns a list of `Item`. Wrong files are errors that name the file and the line.
"""

from __future__ import annotations

import csv
import pathlib
import re
import xml.etree.ElementTree as ElementTree
from collections.abc import Callable, Iterable, Sequence
from typing import NamedTuple

import numpy as np
import spoken_digits
import strokes

from recur.sequences import Example, Padded, log_mel, read_audio
from recur.text import Characters, documentation, read_lines, sentences

RATE, WINDOW, HOP, MELS = 8000, 0.025, 0.010, 32  # of log-mel features
LONGEST = 16  # characters of a text that is written by hand


class Item(NamedTuple):
    """A signal and its transcript.

    Attributes:
      steps: the signal, float32 `[T, D]`.
      text: the transcript.
      place: where it comes from, such as a file and a line.
    """

    steps: np.ndarray
    text: str
    place: str


# --- Files ---------------------------------------------------------------------------------------


def read_items(path: pathlib.Path, read: Callable[[pathlib.Path], np.ndarray]) -> list[Item]:
    """Reads a TSV file: on each line a signal's file, relative to its own, a tab and a transcript.

    Raises:
      ValueError: if a line has other columns, or its file is wrong; it names both.
    """
    items = []
    for number, line in enumerate(read_lines(path), start=1):
        place, cells = f"{path}:{number}", line.split("\t")
        if not line.strip():
            continue
        if len(cells) != 2 or not all(cell.strip() for cell in cells):
            raise ValueError(f"{place}: expected a file, a tab and a transcript, got {line!r:.60}.")
        try:
            steps = read(path.parent / cells[0])
        except (OSError, ValueError) as error:
            raise ValueError(f"{place}: {error}") from error
        items.append(Item(steps, " ".join(cells[1].split()), f"{place} ({cells[0]})"))
    if not items:
        raise ValueError(f"{path}: expected at least one line, got none.")
    return items


def read_speech(path: pathlib.Path) -> np.ndarray:
    """Reads a sound file of any rate and number of channels, and computes its features."""
    signal = read_audio(path, RATE)
    if len(signal) < WINDOW * RATE:
        raise ValueError(
            f"{path}: expected a sound of at least {WINDOW:g} seconds, one window, got "
            f"{len(signal) / RATE:g}."
        )
    return features_of(signal)


def features_of(signal: np.ndarray) -> np.ndarray:
    """The log-mel features of a sound, `[T, MELS]`."""
    return log_mel(signal, RATE, num_mels=MELS, window=WINDOW, hop=HOP, floor=1e-7)


def read_strokes(path: pathlib.Path) -> np.ndarray:
    """Reads pen strokes, `[T, 3]` of (dx, dy, pen_up), from NAME.xml or NAME.csv.

    XML files are as the lineStrokes of IAM-OnDB: each `Stroke` has `Point`s with x and y, which is
    downwards. CSV files have the columns dx,dy,pen_up.
    """
    found = _read_csv(path) if path.suffix.lower() == ".csv" else _read_xml(path)
    return normalize_strokes(found)


def normalize_strokes(points: np.ndarray) -> np.ndarray:
    """Divides the moves by their mean length, so that all have one size."""
    scale = np.hypot(points[:, 0], points[:, 1]).mean() + 1e-6
    return (points / (scale, scale, 1)).astype(np.float32)


def _read_xml(path: pathlib.Path) -> np.ndarray:
    try:
        root = ElementTree.parse(path).getroot()
    except ElementTree.ParseError as error:
        raise ValueError(f"{path}: expected XML with strokes, got {error}.") from error
    rows = []
    for number, stroke in enumerate(root.iter("Stroke"), start=1):
        points = stroke.findall("Point")
        if not points:
            raise ValueError(f"{path}: stroke {number}: expected at least one Point, got none.")
        try:
            rows += [
                (_finite(point.attrib["x"]), -_finite(point.attrib["y"]), 0) for point in points
            ]
        except (KeyError, ValueError) as error:
            raise ValueError(
                f"{path}: stroke {number}: expected points with numbers x and y, got {error}."
            ) from error
        rows[-1] = (*rows[-1][:2], 1)
    if not rows:
        has_points = next(root.iter("Point"), None) is not None
        got = "points without strokes: the pen never goes up" if has_points else "none"
        raise ValueError(f"{path}: expected at least one Stroke, got {got}.")
    found = np.array(rows)
    found[:, :2] = np.diff(found[:, :2], axis=0, prepend=found[:1, :2])
    return found


def _finite(text: str) -> float:
    if not np.isfinite(number := float(text)):
        raise ValueError(repr(text))
    return number


def _read_csv(path: pathlib.Path) -> np.ndarray:
    with open(path, newline="", encoding="utf-8") as file:
        rows = list(csv.reader(file))
    if not rows or rows[0] != ["dx", "dy", "pen_up"]:
        raise ValueError(f"{path}:1: expected the columns dx,dy,pen_up, got {rows[:1]}.")
    found = []
    for number, row in enumerate(rows[1:], start=2):
        try:
            dx, dy, pen_up = map(float, row)
        except ValueError as error:
            raise ValueError(f"{path}:{number}: expected three numbers, got {row}.") from error
        if not np.isfinite([dx, dy]).all() or pen_up not in (0, 1):
            raise ValueError(f"{path}:{number}: expected two numbers and 0 or 1, got {row}.")
        found.append((dx, dy, pen_up))
    if not found or not found[-1][2]:
        raise ValueError(
            f"{path}:{len(rows)}: expected strokes that end with pen_up 1, got "
            f"{rows[-1] if found else 'no stroke'}."
        )
    return np.array(found)


# --- Made ----------------------------------------------------------------------------------------


class Made(NamedTuple):
    """Parts of made data: training, validation, and test sets by name. No speaker is in two."""

    training: list[Item]
    valid: list[Item]
    tests: dict[str, list[Item]]


def make_speech(examples: int, seed: int) -> Made:
    """Makes spoken digits, one to four in a row, by a speaker for every ten of them."""

    def make(count, part, low=0.85, high=1.2, quiet=0.005, loud=0.1):
        rng = np.random.default_rng([seed, part])
        items = []
        for number in range(count):
            if number % 10 == 0:
                speaker = spoken_digits.draw_speaker(rng)
            text = " ".join(rng.choice([*spoken_digits.WORDS], rng.integers(1, 5)))
            noise = float(np.exp(rng.uniform(np.log(quiet), np.log(loud))))
            options = {"speed": rng.uniform(low, high), "noise": noise}
            signal = spoken_digits.speak(text, speaker, rng, **options)
            items.append(Item(features_of(signal), text, f"utterance {number} of part {part}"))
        return items

    few = max(10, examples // 10)
    tests = {
        "new speakers": make(few, 2),
        "and faster": make(few, 3, low=1.3, high=1.5),
        "and slower": make(few, 4, low=0.6, high=0.75),
        "and noisier": make(few, 5, quiet=0.2, loud=0.4),
    }
    return Made(make(examples, 0), make(few, 1), tests)


def make_handwriting(examples: int, seed: int) -> Made:
    """Makes words of Python's documentation, written by a writer for every ten of them."""
    words = [
        word
        for text in documentation().values()
        for sentence in sentences(text)
        for word in re.findall(r"\b[a-z]{2,}\b", sentence)
        if len(word) <= LONGEST
    ]

    def make(count, part, spread=1.0):
        rng = np.random.default_rng([seed, part])
        begin, end = (0, len(words) * 8 // 10) if part < 2 else (len(words) * 8 // 10, len(words))
        items = []
        for number in range(count):
            if number % 10 == 0:
                writer = strokes.draw_writer(rng)
                writer = writer._replace(spread=spread * writer.spread)
            at = int(rng.integers(begin, end - 3))
            text = words[at]
            while len(text) + 1 + len(words[at + 1]) <= LONGEST and at + 2 < end:
                at += 1
                text += " " + words[at]
            points = normalize_strokes(strokes.draw_text(text, rng, writer))
            items.append(Item(points, text, f"text {number} of part {part}"))
        return items

    few = max(10, examples // 10)
    tests = {"new writers": make(few, 2), "and shakier": make(few, 3, spread=2.0)}
    return Made(make(examples, 0), make(few, 1), tests)


# --- Examples ------------------------------------------------------------------------------------


class Encoder(NamedTuple):
    """From items to examples.

    Attributes:
      vocabulary: the characters; the id of the boundary is the blank.
      mean: of each channel in the training set.
      std: its standard deviation.
      stack: how many steps of the signal are a frame of the model.
    """

    vocabulary: Characters
    mean: np.ndarray
    std: np.ndarray
    stack: int

    def frames(self, steps: np.ndarray) -> np.ndarray:
        """The frames that the model reads, `[ceil(T / stack), stack D]`."""
        scaled = (steps - self.mean) / self.std
        scaled = np.pad(scaled, ((0, -len(scaled) % self.stack), (0, 0)))
        return scaled.reshape(-1, self.stack * scaled.shape[1]).astype(np.float32)

    def __call__(self, items: Iterable[Item]) -> list[Example]:
        """Encodes items, with the ids of the transcript as the label."""
        examples = []
        for item in items:
            unknown = self.vocabulary.unknown_in(item.text)
            if unknown:
                raise ValueError(
                    f"{item.place}: expected characters of the training transcripts, got "
                    f"{unknown!r} in {item.text!r:.60}."
                )
            frames, ids = self.frames(item.steps), self.vocabulary.encode(item.text)
            needed = len(ids) + int((ids[1:] == ids[:-1]).sum())
            if needed > len(frames):
                raise ValueError(
                    f"{item.place}: expected at least {needed} frames for {item.text!r:.60}, one "
                    f"for each character and one between equal ones, got {len(frames)} of "
                    f"{self.stack} steps. Leave it out, or use a smaller --stack."
                )
            examples.append(Example(frames, label=Padded(ids)))
        return examples


def make_encoder(items: Sequence[Item], stack: int, letters: str = "") -> Encoder:
    """Finds the characters, besides the given letters, and the scale of the training set."""
    vocabulary = Characters.of([*(item.text for item in items), letters])
    steps = np.concatenate([item.steps for item in items])
    return Encoder(vocabulary, steps.mean(0), steps.std(0) + 1e-6, stack)
