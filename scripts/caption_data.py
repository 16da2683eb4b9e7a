"""Pictures with captions for caption.py: scenes that it draws, or files with a list of captions.

A scene has one or two shapes on a noisy grey background. The caption of one shape says where it is;
two shapes have two captions, each beginning with one of them:

    a big red circle at the top left
    a small blue cross above a big yellow square
    a big yellow square below a small blue cross

A size, a color and a shape make 48 things. No training scene has one of the eight `UNSEEN` things,
nor one of a fifth of all pairs of two things.
"""

from __future__ import annotations

import os
import pathlib
import re
import zlib
from typing import NamedTuple

import numpy as np

from recur.text import read_lines

COLORS = {
    "red": (205, 40, 40),
    "green": (40, 150, 60),
    "blue": (40, 70, 200),
    "yellow": (240, 220, 50),
    "white": (250, 250, 250),
    "black": (20, 20, 20),
}
SHAPES = {  # the distance of a point from the center; the shape is where it is below 1
    "circle": lambda y, x: np.hypot(y, x),
    "square": lambda y, x: np.maximum(abs(y), abs(x)) / 0.88,
    "triangle": lambda y, x: np.maximum(2 * abs(x) - y, y / 0.7) / 1.1,
    "cross": lambda y, x: np.maximum(np.minimum(abs(y), abs(x)) / 0.32, np.maximum(abs(y), abs(x))),
}
SIZES = {"small": (0.11, 0.14), "big": (0.2, 0.24)}  # radii as shares of the side of the picture
UNSEEN = {  # each size, color and shape is in other combinations
    *(("big", "red", "square"), ("big", "blue", "circle"), ("big", "yellow", "cross")),
    *(("big", "black", "triangle"), ("small", "green", "circle"), ("small", "white", "square")),
    *(("small", "red", "triangle"), ("small", "blue", "cross")),
}
KINDS = ("seen", "unseen pairs", "unseen things")
PLACES = (
    ("at the top left", "at the top", "at the top right"),
    ("on the left", "in the middle", "on the right"),
    ("at the bottom left", "at the bottom", "at the bottom right"),
)


class Picture(NamedTuple):
    """A picture and what is said of it.

    Attributes:
      image: uint8 `[S, S, 3]`.
      captions: its captions.
      places: where each is written, such as a file and a line.
    """

    image: np.ndarray
    captions: list[str]
    places: list[str]


# --- Scenes --------------------------------------------------------------------------------------


class Thing(NamedTuple):
    """A shape in a scene, with its center and its radius as shares of the side."""

    size: str
    color: str
    shape: str
    y: float
    x: float
    radius: float

    def __str__(self) -> str:
        return f"a {self.size} {self.color} {self.shape}"


def make_scenes(count: int, side: int, seed: int, kind: str = KINDS[0]) -> list[Picture]:
    """Draws scenes of a kind: as in training, with an unseen thing, or with an unseen pair."""
    draws = np.random.default_rng((seed, KINDS.index(kind)))
    scenes = []
    while len(scenes) < count:
        things = [_thing(draws) for _ in range(1 + int(draws.random() < 0.75))]
        captions = describe(things)
        if captions and kind_of(things) == kind:
            places = [f"scene {len(scenes)}"] * len(captions)
            scenes.append(Picture(_draw(things, side, draws), captions, places))
    return scenes


def kind_of(things: list[Thing]) -> str:
    """Returns the kind of a scene; whether a pair is unseen depends on a hash of its names."""
    if any(thing[:3] in UNSEEN for thing in things):
        return "unseen things"
    names = "+".join(sorted(map(str, things)))
    is_unseen = len(things) == 2 and zlib.crc32(names.encode()) % 5 == 0
    return "unseen pairs" if is_unseen else "seen"


def _thing(draws: np.random.Generator) -> Thing:
    size, color, shape = (str(draws.choice(list(each))) for each in (SIZES, COLORS, SHAPES))
    radius = draws.uniform(*SIZES[size])
    return Thing(size, color, shape, *draws.uniform(radius, 1 - radius, 2), radius)


def describe(things: list[Thing]) -> list[str]:
    """The captions of one or two things; none if they overlap, or where they are is not clear."""
    if len(things) == 1:
        (thing,) = things
        rows, columns = (np.abs(np.array([0.2, 0.5, 0.8]) - z) for z in (thing.y, thing.x))
        if max(rows.min(), columns.min()) > 0.1:  # between two places
            return []
        return [f"{thing} {PLACES[rows.argmin()][columns.argmin()]}"]
    first, second = things
    down, right = second.y - first.y, second.x - first.x
    if np.hypot(down, right) < 1.1 * (first.radius + second.radius):
        return []
    if abs(abs(down) - abs(right)) < 0.12:  # neither beside nor above each other
        return []
    if abs(down) > abs(right):
        words = ("above", "below") if down > 0 else ("below", "above")
    else:
        words = ("left of", "right of") if right > 0 else ("right of", "left of")
    return [f"{first} {words[0]} {second}", f"{second} {words[1]} {first}"]


def _draw(things: list[Thing], side: int, draws: np.random.Generator) -> np.ndarray:
    """Returns uint8 `[side, side, 3]`, with smooth edges and noise."""
    y, x = (np.mgrid[:side, :side] + 0.5) / side
    image = np.full((side, side, 3), draws.uniform(120, 170))
    for thing in things:
        away = SHAPES[thing.shape]((y - thing.y) / thing.radius, (x - thing.x) / thing.radius)
        cover = np.clip((1 - away) * thing.radius * side + 0.5, 0, 1)[..., None]
        image = cover * np.array(COLORS[thing.color]) + (1 - cover) * image
    return np.clip(image + draws.normal(0, 8, image.shape), 0, 255).astype(np.uint8)


# --- Files ---------------------------------------------------------------------------------------


def read_pictures(folder: pathlib.Path, captions: pathlib.Path, side: int) -> dict[str, Picture]:
    """Reads pictures from files, with the captions that a list has for them.

    Args:
      folder: the folder of the pictures.
      captions: the list, with a name of a file in the folder, a tab and a caption on each line. A
        picture may have several lines. "NAME#0", as in Flickr8k, is NAME.
      side: the side of the square to which pictures are resized.

    Returns:
      The picture of each name. Captions are words in lower case.

    Raises:
      OSError: if the list cannot be read.
      ValueError: if a line is wrong, or names a file that is not an image; it names the line.
    """
    found: dict[str, Picture] = {}
    for number, line in enumerate(read_lines(captions), 1):
        if not line.strip():
            continue
        place, cells = f"{captions}:{number}", line.split("\t")
        words = re.findall(r"\w+", cells[-1].lower())
        if len(cells) != 2 or not words:
            raise ValueError(
                f"{place}: expected the name of a file, a tab and a caption, got {line[:60]!r}."
            )
        name = re.sub(r"#\d+$", "", cells[0].strip())
        if name not in found:
            found[name] = Picture(read_image(folder / name, side, f"{place}: "), [], [])
        found[name].captions.append(" ".join(words))
        found[name].places.append(place)
    return found


def read_image(path: str | os.PathLike, side: int, place: str = "") -> np.ndarray:
    """Reads an image file, resized to uint8 `[side, side, 3]`; errors begin with the place."""
    from PIL import Image

    try:
        with Image.open(path) as image:
            return np.asarray(image.convert("RGB").resize((side, side), Image.Resampling.BILINEAR))
    except (OSError, ValueError, Image.DecompressionBombError) as error:
        reason = "no such file" if isinstance(error, FileNotFoundError) else "another file"
        raise ValueError(f"{place}expected an image, got {reason}: {path}.") from error
