"""Pictures of digits for digits.py: the files of MNIST, or pictures that it draws from strokes."""

from __future__ import annotations

import gzip
import pathlib
import struct
from typing import NamedTuple

import numpy as np

from recur.sequences import Example

SIDE = 16  # pixels of a drawn picture
KINDS = ("images-idx3", "labels-idx1")
VALID = 5000  # the last training digits of MNIST are validation data
STROKES = {  # corners (x, y) of lines, from 0 to 1, y downwards
    0: [[(0.3, 0.1), (0.7, 0.1), (0.9, 0.5), (0.7, 0.9), (0.3, 0.9), (0.1, 0.5), (0.3, 0.1)]],
    1: [[(0.3, 0.3), (0.55, 0.1), (0.55, 0.9)]],
    2: [[(0.15, 0.3), (0.4, 0.1), (0.8, 0.2), (0.8, 0.4), (0.15, 0.9), (0.85, 0.9)]],
    3: [[(0.2, 0.1), (0.8, 0.1), (0.45, 0.45), (0.85, 0.65), (0.6, 0.9), (0.15, 0.8)]],
    4: [[(0.6, 0.1), (0.1, 0.65), (0.9, 0.65)], [(0.65, 0.4), (0.65, 0.9)]],
    5: [[(0.8, 0.1), (0.25, 0.1), (0.2, 0.45), (0.7, 0.45), (0.85, 0.7), (0.6, 0.9), (0.15, 0.85)]],
    6: [[(0.7, 0.1), (0.25, 0.45), (0.2, 0.8), (0.5, 0.9), (0.8, 0.75), (0.6, 0.5), (0.25, 0.6)]],
    7: [[(0.15, 0.1), (0.85, 0.1), (0.4, 0.9)]],
    8: [
        [(0.5, 0.5), (0.2, 0.3), (0.5, 0.1), (0.8, 0.3), (0.5, 0.5)],
        [(0.5, 0.5), (0.85, 0.7), (0.5, 0.9), (0.15, 0.7), (0.5, 0.5)],
    ],
    9: [[(0.8, 0.35), (0.5, 0.5), (0.2, 0.3), (0.5, 0.1), (0.8, 0.35), (0.7, 0.9)]],
}


class Digits(NamedTuple):
    """Pictures of digits.

    Attributes:
      images: uint8 `[N, H, W]`.
      labels: uint8 `[N]`, 0 to 9.
    """

    images: np.ndarray
    labels: np.ndarray

    def first(self, count: int) -> Digits:
        """The first ones."""
        return Digits(self.images[:count], self.labels[:count])


class Split(NamedTuple):
    """Three sets of digits.

    Attributes:
      training: to fit.
      valid: to choose the best checkpoint.
      test: to evaluate.
    """

    training: Digits
    valid: Digits
    test: Digits


class Sequences:
    """Digits as examples: rows `[H, W]`, the image `[1, H * W]`, or pixels `[H * W, 1]` in order.

    Args:
      digits: the pictures.
      by: "rows", "pixels" or "image".
      order: of the pixels, int `[H * W]`; None for that of the picture.
    """

    def __init__(self, digits: Digits, by: str, order: np.ndarray | None = None):
        flat = digits.images.reshape(len(digits.images), -1)
        flat = flat if order is None else flat[:, order]
        ways = {"rows": digits.images, "pixels": flat[:, :, None], "image": flat[:, None]}
        self._steps, self._labels = ways[by], digits.labels

    def __len__(self) -> int:
        return len(self._labels)

    def __getitem__(self, number: int) -> Example:
        return Example(self._steps[number], label=self._labels[number])

    @property
    def lengths(self) -> np.ndarray:
        """The number of steps of each."""
        return np.full(len(self), self._steps.shape[1])


# --- Files ---------------------------------------------------------------------------------------


def read_mnist(folder: pathlib.Path) -> Split:
    """Reads the four files of MNIST, such as train-images-idx3-ubyte.gz.

    Args:
      folder: the folder of the files.

    Returns:
      The `Split`; the last training digits are the validation set.

    Raises:
      OSError: if a file is missing.
      ValueError: if one is not a gzip file of idx arrays of the right shape; it names it.
    """
    parts = []
    for name in ("train", "t10k"):
        image_file, label_file = (folder / f"{name}-{kind}-ubyte.gz" for kind in KINDS)
        images, labels = read_idx(image_file, 3), read_idx(label_file, 1)
        if len(images) != len(labels):
            raise ValueError(
                f"{label_file}: expected a label for each of {len(images)} images, got "
                f"{len(labels)}."
            )
        for number in np.flatnonzero(labels > 9)[:1]:
            raise ValueError(
                f"{label_file}: expected labels from 0 to 9, got {labels[number]} for image "
                f"{number}."
            )
        parts.append(Digits(images, labels))
    rest, test = parts
    count = len(rest.labels) - min(VALID, len(rest.labels) // 10)
    if count == len(rest.labels) or not len(test.labels):
        raise ValueError(f"{folder}: expected at least 10 training digits and a test digit.")
    if test.images.shape[1:] != rest.images.shape[1:]:
        raise ValueError(
            f"{folder}: expected images of one size, got {list(rest.images.shape[1:])} and "
            f"{list(test.images.shape[1:])}."
        )
    return Split(rest.first(count), Digits(rest.images[count:], rest.labels[count:]), test)


def read_idx(path: pathlib.Path, axes: int) -> np.ndarray:
    """Reads a gzip file with an array of bytes in the idx format."""
    try:
        with gzip.open(path) as file:
            data = file.read()
    except (gzip.BadGzipFile, EOFError) as error:
        raise ValueError(f"{path}: expected a whole gzip file, got another: {error}.") from error
    size = 4 + 4 * axes
    if len(data) < size or data[:4] != bytes([0, 0, 8, axes]):
        raise ValueError(
            f"{path}: expected an idx file of bytes with {axes} axes, got one that begins with "
            f"{data[:4].hex()!r}."
        )
    shape = struct.unpack(f">{axes}I", data[4:size])
    if len(data) - size != np.prod(shape, dtype=object):
        raise ValueError(
            f"{path}: expected the bytes of an array of shape {list(shape)}, got "
            f"{len(data) - size:,}."
        )
    return np.frombuffer(data, np.uint8, offset=size).reshape(shape)


# --- Drawings ------------------------------------------------------------------------------------


def make_digits(count: int, seed: int) -> Digits:
    """Draws digits from strokes, each turned, sheared, resized and shifted, with noise."""
    draws = np.random.default_rng(seed)
    labels = draws.integers(0, 10, count).astype(np.uint8)
    images = np.stack([_draw(int(label), draws) for label in labels])
    return Digits(images, labels)


def _draw(digit: int, draws: np.random.Generator) -> np.ndarray:
    angle, shear = draws.normal(0, 0.15), draws.normal(0, 0.2)
    turn = np.array([[np.cos(angle), -np.sin(angle)], [np.sin(angle), np.cos(angle)]])
    grow = turn @ np.array([[1, shear], [0, 1]]) * draws.uniform(0.5, 0.85, 2)
    middle, width = draws.uniform(0.42, 0.58, 2), draws.uniform(0.05, 0.1)
    pixels = (np.mgrid[:SIDE, :SIDE][::-1].reshape(2, -1).T + 0.5) / SIDE
    away = np.full(len(pixels), np.inf)
    for corners in STROKES[digit]:
        corners = np.array(corners) + draws.normal(0, 0.03, (len(corners), 2))
        corners = (corners - 0.5) @ grow.T + middle
        for begin, end in zip(corners[:-1], corners[1:], strict=True):
            along = np.clip((pixels - begin) @ (end - begin) / np.sum((end - begin) ** 2), 0, 1)
            nearest = begin + along[:, None] * (end - begin)
            away = np.minimum(away, np.linalg.norm(pixels - nearest, axis=1))
    ink = np.clip((width - away) * SIDE + 0.5, 0, 1) * draws.uniform(150, 255)
    image = ink + draws.normal(0, 25, ink.shape)
    return np.clip(image, 0, 255).astype(np.uint8).reshape(SIDE, SIDE)
