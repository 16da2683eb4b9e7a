"""Labeled sequences of several kinds, read from files or made, and their splits, for classify.py.

    docs     sentences of Python's documentation; the class is the package they describe
    text     texts from a folder of NAME.txt files, from one TSV file, or from a file for each class
    dna      windows of generated DNA: a donor site, an acceptor site, or neither
    series   series of real vectors, from CSV files or in the format of the Japanese Vowels
    frames   short videos of a moving shape; the class is the movement

Every reader returns a list of `Item`. Wrong files are errors that name the file and the line.
"""

from __future__ import annotations

import collections
import csv
import hashlib
import math
import pathlib
from collections.abc import Iterable, Iterator, Sequence
from typing import Any, NamedTuple

import numpy as np
from scipy.special import logsumexp

from recur.text import documentation, read_lines, sentences

FOLDS = 10
PACKAGES = 10  # of Python's library, those with the most sentences
VOWEL_BLOCKS = {270: [30] * 9, 370: [31, 35, 88, 44, 29, 24, 40, 50, 29]}  # of speakers 1 to 9


class Item(NamedTuple):
    """A labeled sequence.

    Attributes:
      value: a text, or an array `[T, ...]`.
      label: its class.
      place: where it comes from, such as a file and a line.
    """

    value: Any
    label: str
    place: str


class Split(NamedTuple):
    """Three lists of items, without common values.

    Attributes:
      training: to fit.
      validation: to choose the best update.
      test: to evaluate.
    """

    training: list[Item]
    validation: list[Item]
    test: list[Item]


# --- Text ----------------------------------------------------------------------------------------


def read_docs() -> list[Item]:
    """Reads the sentences of Python's documentation in the packages that have the most of them."""
    found = collections.defaultdict(list)
    for name, text in documentation().items():
        package = name.split("/")[0].removesuffix(".py")
        if package != "topics":
            found[package] += [Item(sentence, package, name) for sentence in sentences(text)]
    most = sorted(found, key=lambda package: (-len(found[package]), package))[:PACKAGES]
    return [item for package in sorted(most) for item in found[package]]


def read_texts(paths: Sequence[pathlib.Path]) -> list[Item]:
    """Reads one text a line, from a folder, a file of texts and labels, or one file for a class."""
    if len(paths) == 1 and not paths[0].is_dir():
        return list(_read_table(paths[0]))
    if len(paths) == 1:
        folder, paths = paths[0], sorted(paths[0].glob("*.txt"))
        if len(paths) < 2:
            raise ValueError(
                f"{folder}: expected at least 2 files NAME.txt, one for each class, got "
                f"{len(paths)}."
            )
    names = [path.stem for path in paths]
    if len(set(names)) < len(names):  # reviews.pos and reviews.neg
        names = [path.suffix.removeprefix(".") for path in paths]
    if len(set(names)) < len(names):
        raise ValueError(f"--data: expected files with different names, got {names}.")
    return [
        Item(line.strip(), name, f"{path}:{number}")
        for name, path in zip(names, paths, strict=True)
        for number, line in enumerate(read_lines(path), 1)
        if line.strip()
    ]


def _read_table(path: pathlib.Path) -> Iterator[Item]:
    for number, line in enumerate(read_lines(path), 1):
        cells = [cell.strip() for cell in line.split("\t")]
        if line.strip() and (len(cells) != 2 or not all(cells)):
            raise ValueError(
                f"{path}:{number}: expected a text and its class, separated by a tab, got "
                f"{line[:60]!r}. Pass a folder, or one file for each class, of texts only."
            )
        if line.strip():
            yield Item(*cells, f"{path}:{number}")


# --- DNA -----------------------------------------------------------------------------------------

EXON, INTRON = [0.22, 0.28, 0.28, 0.22], [0.34, 0.16, 0.16, 0.34]  # A, C, G, T
DONOR = [  # the consensus MAG|GTRAGT
    *([0.35, 0.35, 0.18, 0.12], [0.6, 0.13, 0.14, 0.13], [0.09, 0.03, 0.8, 0.08]),
    *([0.01, 0.01, 0.97, 0.01], [0.01, 0.01, 0.01, 0.97], [0.55, 0.03, 0.39, 0.03]),
    *([0.7, 0.08, 0.12, 0.1], [0.08, 0.06, 0.8, 0.06], [0.16, 0.17, 0.2, 0.47]),
]
ACCEPTOR = [  # pyrimidines, then NYAG|G
    *[[0.08, 0.36, 0.08, 0.48]] * 12,
    *(EXON, [0.06, 0.62, 0.02, 0.3], [0.97, 0.01, 0.01, 0.01], [0.01, 0.01, 0.97, 0.01]),
    [0.24, 0.16, 0.5, 0.1],
]
SITES = {  # before the site, the site, and after it
    "acceptor": (INTRON, np.array(ACCEPTOR), EXON),
    "donor": (EXON, np.array(DONOR), INTRON),
    "neither": (EXON, np.empty((0, 4)), EXON),
}


def make_dna(count: int, seed: int) -> list[Item]:
    """Draws windows of 50 to 80 bases, each with at most one site, anywhere in it."""
    draws = np.random.default_rng(seed)
    items = []
    for number in range(count):
        label = list(SITES)[number % len(SITES)]
        before, site, after = SITES[label]
        length = int(draws.integers(50, 81))
        begin = int(draws.integers(0, length - len(site) + 1))
        table = [[before] * begin, site, [after] * (length - begin - len(site))]
        chances = np.concatenate([np.reshape(part, (-1, 4)) for part in table])
        bases = (draws.random((length, 1)) > chances.cumsum(1)[:, :3]).sum(1)
        text = "".join("ACGT"[base] for base in bases)
        items.append(Item(text, label, f"window {number}"))
    return items


def bayes_class(text: str) -> str:
    """The class with the highest probability given a window: no classifier is right more often.

    p(class | x) ∝ mean over begins of prod_t p(x_t | class, begin), as `make_dna` draws.
    """
    bases = np.array(["ACGT".index(base) for base in text])
    scores = {}
    for label, (before, site, after) in SITES.items():
        left = np.concatenate([[0.0], np.log(before)[bases].cumsum()])
        right = np.concatenate([[0.0], np.log(after)[bases].cumsum()])
        begins = np.arange(len(bases) - len(site) + 1)
        of_site = np.log(site)[np.arange(len(site)), bases[begins[:, None] + np.arange(len(site))]]
        ends = begins + len(site)
        logs = left[begins] + of_site.sum(1) + right[-1] - right[ends]
        scores[label] = logsumexp(logs) - math.log(len(begins))
    return max(scores, key=scores.__getitem__)


# --- Series --------------------------------------------------------------------------------------


def read_series(paths: Sequence[pathlib.Path]) -> list[Item]:
    """Reads series from CSV files, or from files of the Japanese Vowels."""
    return [
        item
        for path in paths
        for item in (_read_csv if path.suffix == ".csv" else _read_vowels)(path)
    ]


def _read_vowels(path: pathlib.Path) -> Iterator[Item]:
    """Reads blocks of rows of numbers, separated by blank lines; their classes are in order."""
    blocks: list[list[tuple[str, list[str]]]] = [[]]
    for number, line in enumerate(read_lines(path), 1):
        if line.strip():
            blocks[-1].append((f"{path}:{number}", line.split()))
        elif blocks[-1]:
            blocks.append([])
    blocks = [block for block in blocks if block]
    if len(blocks) not in VOWEL_BLOCKS:
        raise ValueError(
            f"{path}: expected 270 or 370 blocks, as in the Japanese Vowels, got {len(blocks)}. "
            "Write other series as CSV, in a file NAME.csv."
        )
    labels = np.repeat(np.arange(1, 10), VOWEL_BLOCKS[len(blocks)])
    width = len(blocks[0][0][1])
    for label, block in zip(labels, blocks, strict=True):
        rows = [_numbers(cells, width, place) for place, cells in block]
        yield Item(np.array(rows, np.float32), f"speaker {label}", block[0][0])


def _read_csv(path: pathlib.Path) -> Iterator[Item]:
    """Reads a step a line: the series it belongs to, its class, and a number for each channel."""
    rows = csv.reader(read_lines(path))
    header = next(rows)
    if header[:2] != ["series", "label"] or len(header) < 3:
        raise ValueError(
            f"{path}:1: expected the columns series,label,CHANNEL,... got {','.join(header)[:60]}."
        )
    found: dict[str, tuple[str, str, list[list[float]]]] = {}
    for cells in rows:
        place = f"{path}:{rows.line_num}"
        if not cells:
            continue
        numbers = _numbers(cells[2:], len(header) - 2, place)
        label, _, steps = found.setdefault(cells[0], (cells[1], place, []))
        if label != cells[1]:
            raise ValueError(
                f"{place}: expected the class of the series {cells[0]!r}, {label!r}, got "
                f"{cells[1]!r}."
            )
        steps.append(numbers)
    for label, place, steps in found.values():
        yield Item(np.array(steps, np.float32), label, place)


def _numbers(cells: Sequence[str], width: int, place: str) -> list[float]:
    try:
        numbers = [float(cell) for cell in cells]
    except ValueError:
        numbers = []
    if len(cells) != width or len(numbers) != width or not np.isfinite(numbers).all():
        raise ValueError(f"{place}: expected {width} finite numbers, got {' '.join(cells)[:60]!r}.")
    return numbers


# --- Frames --------------------------------------------------------------------------------------

SIZE = 16  # pixels of a side
MOVES = ("left", "right", "up", "down", "clockwise", "anticlockwise", "growing", "shrinking")
SHAPES = {  # the distance of a pixel from the center, in units in which the shape ends at 1
    "disc": lambda y, x: np.hypot(y, x),
    "square": lambda y, x: np.maximum(abs(y), abs(x)) / 0.9,
    "diamond": lambda y, x: (abs(y) + abs(x)) / 1.2,
}


def make_frames(count: int, seed: int) -> list[Item]:
    """Draws videos of 8 to 14 frames, each of a shape that moves; no frame alone shows how."""
    draws = np.random.default_rng(seed)
    return [
        Item(_video(MOVES[number % len(MOVES)], draws), MOVES[number % len(MOVES)], f"{number}")
        for number in range(count)
    ]


def _video(move: str, draws: np.random.Generator) -> np.ndarray:
    """Frames `[T, SIZE, SIZE, 1]`, with noise."""
    time = np.linspace(-0.5, 0.5, int(draws.integers(8, 15)))
    path, radius = draws.uniform(5, 9) * time, draws.uniform(1.8, 3.2)
    y, x = (SIZE / 2 + draws.uniform(-2, 2) + 0 * time for _ in range(2))
    if move in ("left", "right"):
        x = x + (path if move == "right" else -path)
    elif move in ("up", "down"):
        y = y + (path if move == "down" else -path)
    elif move in ("clockwise", "anticlockwise"):
        turn = draws.uniform(0, 2 * np.pi) + (1 if move == "clockwise" else -1) * path
        x, y = x + 3.5 * np.cos(turn), y + 3.5 * np.sin(turn)
    else:
        radius = radius * np.exp((1 if move == "growing" else -1) * path / 6)
    shape = SHAPES[str(draws.choice(list(SHAPES)))]
    rows, columns = np.mgrid[:SIZE, :SIZE][:, None]
    y, x, radius = (np.broadcast_to(each, time.shape)[:, None, None] for each in (y, x, radius))
    inside = np.clip(radius * (1 - shape((rows - y) / radius, (columns - x) / radius)) + 0.5, 0, 1)
    frames = inside + 0.1 * draws.standard_normal(inside.shape)
    return frames[..., None].astype(np.float32)


# --- Splits --------------------------------------------------------------------------------------


def split(items: Sequence[Item], given: Sequence[Item] | None, fold: int) -> Split:
    """Splits items into training, validation and test set; values occur in one of them only.

    Each class is spread evenly over ten folds, in the order of a hash of the values. One fold is
    the test set, and the next one the validation set. A value and its label count once.

    Args:
      items: labeled sequences.
      given: a separate test set; None to take a fold.
      fold: the fold of the test set, from 0.

    Returns:
      The `Split`.

    Raises:
      ValueError: if there is one class only, a class has one example, a set would be empty, or the
        given test set has a class that the others lack.
    """
    unique = {(_digest(item.value), item.label): item for item in items}
    by_class: dict[str, list[str]] = collections.defaultdict(list)
    for digest, label in sorted(unique):
        by_class[label].append(digest)
    for digest, label in unique:
        if len(by_class[label]) < 2:
            raise ValueError(
                f"{unique[digest, label].place}: expected at least 2 different examples of a "
                f"class, got only this one of {label!r}. Add examples, or leave the class out."
            )
    if len(by_class) < 2:
        raise ValueError(f"{items[0].place}: expected at least 2 classes, got {list(by_class)}.")
    folds: dict[str, int] = {}
    for digests in by_class.values():
        for rank, digest in enumerate(digests):
            folds.setdefault(digest, rank * FOLDS // len(digests))
    parts: list[list[Item]] = [[], [], []]
    for (digest, _), item in unique.items():
        number = (folds[digest] - fold) % FOLDS  # 0: the test set
        parts[{0: 2 if given is None else 0, 1: 1}.get(number, 0)].append(item)
    found = Split(parts[0], parts[1], parts[2] if given is None else list(given))
    _check(found)
    return found


def _check(found: Split) -> None:
    for name, part in zip(found._fields, found, strict=True):
        if not part:
            raise ValueError(
                f"--data: expected enough examples for a {name} set, got none. Classes of at least "
                f"{FOLDS} examples suffice."
            )
    known = {item.label for item in found.training}
    for item in (*found.validation, *found.test):
        if item.label not in known:
            raise ValueError(
                f"{item.place}: expected a class of the training set "
                f"({', '.join(sorted(known))[:60]}), got {item.label!r}."
            )


def first_of_each(items: Iterable[Item], count: int) -> list[Item]:
    """The first items of each class, for a quick run."""
    seen: collections.Counter[str] = collections.Counter()
    kept = []
    for item in items:
        seen[item.label] += 1
        kept += [item] * (seen[item.label] <= count)
    return kept


def _digest(value: Any) -> str:
    data = value.encode() if isinstance(value, str) else value.tobytes()
    return hashlib.sha256(data).hexdigest()
