"""Trees with a label at each node, for trees.py: nested list operations, and bracketed files."""

from __future__ import annotations

import collections
import pathlib
from collections.abc import Iterable, Iterator, Sequence
from typing import Any, NamedTuple

import numpy as np

from recur.sequences import Example, Node, parse_tree, post_order
from recur.text import read_lines

OPERATIONS = {
    "MAX": max,
    "MIN": min,
    "MED": lambda values: sorted(values)[len(values) // 2],  # of an even number, the upper one
    "SUM": lambda values: sum(values) % 10,
}
MOST_NODES = 50  # of a generated tree


class Label(NamedTuple):
    """The x of a node.

    Attributes:
      label: the label of the tree below it, such as "3".
      word: the word or operation; None for a node without one.
    """

    label: str
    word: str | None


class Item(NamedTuple):
    """A tree.

    Attributes:
      root: its root, whose nodes have a `Label`.
      depth: the number of nodes above the lowest leaf.
      place: where it comes from, such as a file and row.
    """

    root: Node
    depth: int
    place: str


class Split(NamedTuple):
    """Three disjoint lists of trees."""

    training: list[Item]
    validation: list[Item]
    test: list[Item]


def walk(root: Node) -> Iterator[tuple[Node, int, bool]]:
    """Visits each node before and after its children, without recursion.

    Yields the node, its level from 0, and whether its children were visited.
    """
    waiting = [(root, 0, False)]
    while waiting:
        node, level, is_after = waiting.pop()
        yield node, level, is_after
        if not is_after:
            waiting.append((node, level, True))
            waiting += [(child, level + 1, False) for child in reversed(node.children)]


def flatten(root: Node) -> list[tuple[str, str | None]]:
    """The bracketed tokens of a tree; a word and a closing bracket have the label of their node."""
    tokens: list[tuple[str, str | None]] = []
    for node, _, is_after in walk(root):
        if not node.children:
            tokens += [] if is_after else [(node.x.word, node.x.label)]
        elif is_after:
            tokens.append((")", node.x.label))
        else:
            tokens += [(word, None) for word in ("(", node.x.word) if word is not None]
    return tokens


# --- List operations -----------------------------------------------------------------------------


def make_split(count: int, depths: int, deepest: int, seed: int, held_out: int = 200) -> Split:
    """Draws list operations, the same number for each depth.

    Trees of the validation and test sets are in no other set; the training set may repeat a tree.

    Args:
      count: the number of training trees for each depth.
      depths: the largest depth of the training set and of the validation set, from 1.
      deepest: the largest depth of the test set.
      seed: the seed.
      held_out: the number of test trees for each depth, twice that of validation trees.
    """
    draws, taken = np.random.default_rng(seed), set()
    parts: dict[str, list[Item]] = {}
    for name, each, most in (
        ("test", held_out, deepest),
        ("validation", held_out // 2, depths),
        ("training", count, depths),
    ):
        items = parts[name] = []
        for depth in range(1, most + 1):
            while len(items) < each * depth:
                root = draw_tree(depth, draws)
                text = " ".join(token for token, _ in flatten(root))
                if text not in taken and sum(after for _, _, after in walk(root)) <= MOST_NODES:
                    items.append(Item(root, depth, f"{name} tree {len(items) + 1}"))
                    taken |= {text} if name != "training" else set()
    return Split(**parts)


def draw_tree(depth: int, draws: np.random.Generator) -> Node:
    """Draws an operation on 2 or 3 digits or operations, of which one has the depth below."""
    if depth == 0:
        digit = str(draws.integers(10))
        return Node(Label(digit, digit))
    size = draws.integers(2, 4)
    below = np.where(draws.random(size) < 0.6, 0, draws.integers(0, depth, size))
    below[draws.integers(size)] = depth - 1
    children = tuple(draw_tree(int(each), draws) for each in below)
    operation = str(draws.choice(list(OPERATIONS)))
    value = OPERATIONS[operation]([int(child.x.label) for child in children])
    return Node(Label(str(value), operation), children)


# --- Files ---------------------------------------------------------------------------------------


def read_split(paths: Sequence[pathlib.Path]) -> Split:
    """Reads the trees of three files."""
    found = Split(*map(read_trees, paths))
    known = {node.x.label for item in found.training for node, _, _ in walk(item.root)}
    for item in (*found.validation, *found.test):
        for node, _, _ in walk(item.root):
            if node.x.label not in known:
                raise ValueError(
                    f"{item.place}: expected a label of the training set "
                    f"({', '.join(sorted(known))[:60]}), got {node.x.label!r}."
                )
    return found


def read_trees(path: pathlib.Path) -> list[Item]:
    """Reads a bracketed tree from each line, such as (3 (2 It) (4 works))."""
    items = []
    for row, line in enumerate(read_lines(path), start=1):
        if not line.strip():
            continue
        try:
            root = parse_tree(line, Label)
        except ValueError as error:
            reason = str(error).removeprefix("parse_tree: ")
            raise ValueError(f"{path}:{row}: {reason}") from error
        items.append(Item(root, max(level for _, level, _ in walk(root)), f"{path}:{row}"))
    if not items:
        raise ValueError(f"{path}: expected a tree on each line, got none.")
    return items


# --- Examples ------------------------------------------------------------------------------------


class Encoder(NamedTuple):
    """From trees to examples.

    Attributes:
      labels: the labels of the training set.
      ids: the id of each word; 0 is that of other words.
      arity: the largest number of children of a node.
    """

    labels: list[str]
    ids: dict[str | None, int]
    arity: int

    def __call__(self, items: Iterable[Item], flat: bool, root_only: bool) -> list[Example]:
        """Encodes trees as nodes, or flat, as their bracketed tokens.

        The steps of an example are its inputs, their labels (0 where there is none) and whether the
        label counts in the loss.
        """
        return [self._encode(item.root, flat, root_only) for item in items]

    def _encode(self, root: Node, flat: bool, root_only: bool) -> Example:
        tokens = flatten(root)
        if flat:
            inputs: Any = np.array([self.ids.get(word, 0) for word, _ in tokens], np.int32)
            labels = [label for _, label in tokens]
        else:
            nodes: list[Node] = []  # of the children that wait for their parent
            for node, _, is_after in walk(root):
                if is_after:
                    first = len(nodes) - len(node.children)
                    own = np.int32(self.ids.get(node.x.word, 0))
                    nodes[first:] = [Node(own, tuple(nodes[first:]))]
            inputs = post_order(nodes[0], self.arity)
            labels = [label for _, label in tokens if label is not None]  # in post-order
        counts = np.array([label is not None for label in labels])
        if root_only:
            counts[:-1] = False
        known = [0 if label is None else self.labels.index(label) for label in labels]
        return Example({"inputs": inputs, "label": np.array(known, np.int32), "counts": counts})


def make_encoder(split: Split, min_count: int) -> Encoder:
    """Finds the labels and the words of the training set, and the arity of all trees."""
    counts = collections.Counter(
        word for item in split.training for word, _ in (*flatten(item.root), *_words(item.root))
    )
    kept = sorted((w for w, n in counts.items() if n >= min_count), key=lambda word: word or "")
    labels = {node.x.label for item in split.training for node, _, _ in walk(item.root)}
    arity = max(
        len(node.children) for part in split for item in part for node, _, _ in walk(item.root)
    )
    ids = {word: number for number, word in enumerate(kept, start=1)}
    return Encoder(sorted(labels), ids, max(1, arity))


def _words(root: Node) -> Iterator[tuple[None, None]]:
    """Inner nodes without a word, whose word is None."""
    for node, _, is_after in walk(root):
        if is_after and node.x.word is None:
            yield None, None
