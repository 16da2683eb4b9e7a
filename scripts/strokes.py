"""Pen strokes of made-up handwriting, in a single-stroke font; for transcribe.py and handwrite.py.

Each letter is a few smooth curves through points. A writer has a slant, a size, a width, a spacing
and a spread of the points, so writers can be held out.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

# A point is x and y in base 36; the baseline is at y = 6, an x is 6 high. A space separates points,
# a slash strokes; a point that is written twice is a corner.
GLYPHS = {
    " ": "",
    "a": "6a 4c 2c 0a 08 26 46 69 6c 6c 68 76 86",
    "b": "0i 0c 06 06 0a 2c 4c 6a 68 46 26 08",
    "c": "5b 3c 1b 09 17 36 56 67",
    "d": "6a 4c 2c 0a 08 26 46 69 6i 6i 68 76 86",
    "e": "09 39 69 6b 4c 2c 0a 08 26 46 67",
    "f": "6h 5i 3i 2g 2c 26 / 0c 0c 5c",
    "g": "6a 4c 2c 0a 08 26 46 69 6c 6c 64 41 20 02",
    "h": "0i 0c 06 06 0a 2c 4c 69 66",
    "i": "1c 19 17 26 36 / 1f 1g",
    "j": "3c 38 33 10 01 / 3f 3g",
    "k": "0i 0c 06 / 5c 08 08 56",
    "l": "1i 1c 18 26 36",
    "m": "0c 06 06 0a 2c 4b 46 46 4a 6c 8b 86",
    "n": "0c 06 06 0a 2c 4c 69 66",
    "o": "3c 1b 09 17 36 57 69 5b 3c",
    "p": "0c 06 00 00 0a 2c 4c 6a 68 46 26 08",
    "q": "6a 4c 2c 0a 08 26 46 69 6c 6c 65 60 60 82",
    "r": "0c 06 06 09 2c 4c 5b",
    "s": "5b 3c 1c 0b 2a 49 58 46 26 07",
    "t": "2g 2c 28 36 56 / 0c 0c 5c",
    "u": "0c 08 26 46 6a 6c 6c 68 76 86",
    "v": "0c 0c 36 36 6c",
    "w": "0c 0c 26 26 4b 4b 66 66 8c",
    "x": "0c 0c 66 / 6c 6c 06",
    "y": "0c 0c 36 / 6c 6c 36 11 00",
    "z": "0c 0c 6c 6c 06 06 66",
}
ALPHABET = "".join(GLYPHS)
_SPACE, _GAP = 5.0, 2.5  # of a grid whose x is 6 high


class Writer(NamedTuple):
    """How somebody writes.

    Attributes:
      slant: the shift to the right per unit of height.
      size: the height of an x.
      width: the width of a letter relative to its height.
      spacing: the gap between two letters, relative to the usual one.
      spread: the standard deviation of the points of a letter, relative to the height of an x.
      speed: the distance of two points, relative to the height of an x.
      tremor: the standard deviation of each point, relative to the height of an x.
    """

    slant: float
    size: float
    width: float
    spacing: float
    spread: float
    speed: float
    tremor: float


def draw_writer(rng: np.random.Generator) -> Writer:
    """Draws a writer."""
    return Writer(
        slant=rng.normal(0.15, 0.2),
        size=np.exp(rng.normal(0.0, 0.15)),
        width=np.exp(rng.normal(0.0, 0.12)),
        spacing=rng.uniform(0.7, 1.5),
        spread=rng.uniform(0.02, 0.06),
        speed=rng.uniform(0.22, 0.34),
        tremor=rng.uniform(0.0, 0.012),
    )


def draw_text(text: str, rng: np.random.Generator, writer: Writer | None = None) -> np.ndarray:
    """Writes a text by hand.

    Args:
      text: characters of `ALPHABET`.
      rng: the source of all randomness.
      writer: the writer; another one each time by default.

    Returns:
      float32 `[T, 3]`: for each point of the pen (dx, dy, pen_up). dx and dy are the distance from
      the point before, (0, 0) for the first, in heights of an x of the usual size, y upwards;
      pen_up is 1 at the last point of a stroke, else 0.

    Raises:
      ValueError: if a character is not in the alphabet, or nothing is to be drawn.
    """
    for number, character in enumerate(text, start=1):
        if character not in GLYPHS:
            raise ValueError(
                f"draw_text: expected characters of {ALPHABET!r}, got {character!r}, which is "
                f"number {number}."
            )
    if not text.strip():
        raise ValueError(f"draw_text: expected a text with a letter in it, got {text!r}.")
    writer = draw_writer(rng) if writer is None else writer
    left, strokes = 0.0, []
    for character in text:
        glyph = [_points(stroke) for stroke in GLYPHS[character].split("/") if stroke]
        if not glyph:
            left += _SPACE * writer.width * rng.uniform(0.9, 1.2)
            continue
        right = max(points[:, 0].max() for points in glyph)
        shift = rng.normal(0, 6 * writer.spread, 2) * (0.5, 1.0)  # the letter as a whole
        for points in glyph:
            place = points + rng.normal(0, 6 * writer.spread, points.shape)[_number(points)]
            place = (place + shift) * (writer.width, 1.0) + (left, -6.0)
            strokes.append(_curve(place / 6, writer.speed))
        left += writer.width * (right + _GAP * writer.spacing)
    ends = np.concatenate([np.arange(len(stroke)) == len(stroke) - 1 for stroke in strokes])
    path = np.concatenate(strokes)
    path += rng.normal(0, writer.tremor, path.shape)
    path = writer.size * path @ np.array([[1.0, 0.0], [writer.slant, 1.0]])
    moves = np.diff(path, axis=0, prepend=path[:1])
    return np.column_stack([moves, ends]).astype(np.float32)


def to_lines(strokes: np.ndarray) -> list[np.ndarray]:
    """Returns the points `[N, 2]` of each stroke of `[T, 3]`, to draw them."""
    path, ends = strokes[:, :2].cumsum(0), np.flatnonzero(strokes[:, 2] > 0.5) + 1
    return [line for line in np.split(path, ends) if len(line)]


def _points(stroke: str) -> np.ndarray:
    """The points `[N, 2]` of a stroke."""
    return np.array([[int(digit, 36) for digit in point] for point in stroke.split()], float)


def _number(points: np.ndarray) -> np.ndarray:
    """The first place of each point, so that both points of a corner move alike."""
    same = (points[1:] == points[:-1]).all(-1)
    return np.arange(len(points)) - np.concatenate([[False], same])


def _curve(points: np.ndarray, distance: float) -> np.ndarray:
    """A Catmull-Rom spline through points, at points of equal distance along it."""
    padded = np.concatenate([points[:1], points, points[-1:]])
    t = np.linspace(0, 1, 12, endpoint=False)[:, None, None]
    a, b, c, d = padded[:-3], padded[1:-2], padded[2:-1], padded[3:]
    dense = b + 0.5 * t * (c - a + t * (2 * a - 5 * b + 4 * c - d + t * (3 * (b - c) + d - a)))
    dense = np.concatenate([dense.transpose(1, 0, 2).reshape(-1, 2), points[-1:]])
    along = np.concatenate([[0], np.hypot(*np.diff(dense, axis=0).T).cumsum()])
    places = np.linspace(0, along[-1], max(2, 1 + round(along[-1] / distance)))
    return np.column_stack([np.interp(places, along, axis) for axis in dense.T])
