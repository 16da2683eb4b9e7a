"""Pen strokes for handwrite.py, made or read from files, as examples; and SVG files of them."""

from __future__ import annotations

import functools
import re
from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np
import strokes
from handwrite_models import BEGIN
from transcribe_data import Item, read_items, read_strokes

from recur.sequences import Example, Padded
from recur.text import BOUNDARY, Characters, documentation


def make_items(count: int, options: Any, part: int) -> list[Item]:
    """Makes texts of words of Python's documentation or of random letters, each by a writer."""
    words = find_words()
    rng = np.random.default_rng([options.seed, part])
    items = []
    for number in range(count):
        text = ""
        while len(text) < 3 or rng.random() < 0.5:
            length = int(rng.integers(2, options.longest + 1))
            word = "".join(rng.choice(list(strokes.ALPHABET[1:]), length))
            word = str(rng.choice(words)) if rng.random() < 0.5 else word
            text = f"{text} {word}"[: options.longest + 1].strip()
        items.append(Item(strokes.draw_text(text, rng), text, f"text {number} of part {part}"))
    return items


@functools.cache
def find_words() -> list[str]:
    """The words of Python's documentation."""
    return sorted({w for t in documentation().values() for w in re.findall(r"\b[a-z]+\b", t)})


def read_parts(options: Any) -> tuple[list[Item], list[Item], list[Item]]:
    """Reads or makes the training, validation and test set."""
    if len(options.data) not in (0, 3):
        raise ValueError(
            "--data: expected three files, the training, validation and test set, got "
            f"{len(options.data)}."
        )
    if options.data:
        first, second, third = (read_items(path, read_strokes) for path in options.data)
        return first, second, third
    few = max(8, options.examples // 10)
    counts = (options.examples, few, few)
    first, second, third = (make_items(n, options, part) for part, n in enumerate(counts))
    return first, second, third


class Encoder(NamedTuple):
    """From strokes and texts to examples.

    Attributes:
      vocabulary: the characters of the training texts; the boundary ends a text.
      scale: the standard deviation of the moves of the training set.
      conditioned: whether examples have the text as their context.
    """

    vocabulary: Characters
    scale: float
    conditioned: bool

    def steps(self, points: np.ndarray) -> np.ndarray:
        """Steps of the pen `[T, 4]` of strokes `[T, 3]`: without the first, and with an end."""
        moves = points[1:, :2] / self.scale
        found = np.column_stack([moves, points[1:, 2], np.zeros(len(moves))])
        return np.append(found, [[0, 0, 0, 1]], axis=0).astype(np.float32)

    def strokes(self, steps: np.ndarray) -> np.ndarray:
        """The strokes `[T, 3]` of steps of the pen, up to the end."""
        ends = np.flatnonzero(steps[:, 3] > 0.5)
        kept = steps[: ends[0] if len(ends) else None, :3] * (self.scale, self.scale, 1)
        return np.append([[0, 0, 0]], kept, axis=0)

    def text(self, text: str, place: str) -> np.ndarray:
        """The ids of a text, and its end."""
        unknown = self.vocabulary.unknown_in(text)
        if unknown or not text.strip():
            raise ValueError(
                f"{place}: expected characters of the training texts, "
                f"{self.vocabulary.characters!r:.80}, got {unknown or text!r}."
            )
        return np.append(self.vocabulary.encode(text), BOUNDARY)

    def __call__(self, items: Sequence[Item]) -> list[Example]:
        """Encodes items for the writer."""
        examples = []
        for item in items:
            steps = self.steps(item.steps)
            given = {
                "input": np.concatenate([[BEGIN], steps[:-1]]).astype(np.float32),
                "move": steps[:, :2],
                "pen": (steps[:, 2] + 2 * steps[:, 3]).astype(np.int32),
            }
            context = {"text": Padded(self.text(item.text, item.place))}
            examples.append(Example(given, context=context if self.conditioned else None))
        return examples

    def for_reader(self, written: Sequence[np.ndarray]) -> list[np.ndarray]:
        """Frames of two steps `[T, 6]` of strokes, for the reader."""
        steps = [self.steps(points)[:-1, :3] for points in written]
        return [
            np.pad(each, ((0, max(2 - len(each), len(each) % 2)), (0, 0))).reshape(-1, 6)
            for each in steps
        ]


def make_encoder(items: Sequence[Item], conditioned: bool, letters: str = "") -> Encoder:
    """Finds the characters, besides the given letters, and the scale of the training set."""
    vocabulary = Characters.of([*(item.text for item in items), letters])
    moves = np.concatenate([item.steps[1:, :2] for item in items])
    if not moves.any():
        raise ValueError(
            f"{items[0].place}: expected strokes of several points, got none in the training set."
        )
    return Encoder(vocabulary, float(moves.std()), conditioned)


def to_svg(texts: Sequence[np.ndarray]) -> str:
    """An SVG file of strokes `[T, 3]`, one text below the other."""
    lines, top, right = [], 0.0, 0.0
    for points in texts:
        path = points[:, :2].cumsum(0) * (1, -1)  # y is downwards
        path += (1 - path[:, 0].min(), top + 1 - path[:, 1].min())
        top, right = path[:, 1].max(), max(right, path[:, 0].max())
        for line in np.split(path, np.flatnonzero(points[:, 2] > 0.5) + 1):
            if len(line):
                lines.append(" ".join(f"{x:.2f},{y:.2f}" for x, y in line))
    style = 'fill="none" stroke="black" stroke-width="0.12" stroke-linecap="round"'
    drawn = "\n".join(f'<polyline {style} points="{line}"/>' for line in lines)
    size = f'viewBox="0 0 {right + 1:.2f} {top + 1:.2f}" width="{30 * (right + 1):.0f}"'
    return f'<svg xmlns="http://www.w3.org/2000/svg" {size}>\n{drawn}\n</svg>\n'
