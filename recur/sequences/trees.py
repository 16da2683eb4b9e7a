"""Trees as arrays: nodes in post-order, with the distance from each node back to its children."""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import Any, NamedTuple

import jax
import numpy as np

from recur.checks import check_function, check_whole, describe


class Node(NamedTuple):
    """A node of a tree, on the host.

    Attributes:
      x: the input of the node: a number, an array, or a pytree of them, with the same structure,
        shapes and dtypes for all nodes.
      children: the children in order, a tuple of `Node`; None for an absent child.
    """

    x: Any
    children: tuple[Node | None, ...] = ()


class Nodes(NamedTuple):
    """A tree of N nodes as arrays, children before parents: the inputs of `recur.tree`.

    A distance of 0, as in padding, means that there is no child, and distances do not depend on the
    position of a tree in a row. So trees are padded, bucketed and packed like other examples.

    Attributes:
      x: the inputs of the nodes, each `[N, ...]`.
      back: integer `[N, C]`, the distance from a node back to each child; 0 for an absent child.
    """

    x: Any
    back: Any


def post_order(root: Node, arity: int | None = None) -> Nodes:
    """Converts a tree to arrays in post-order: each node comes after its children.

        back[n, c] = n - number of the c-th child of node n,    root = node N - 1

    Args:
      root: the root of the tree, of any depth.
      arity: C, the largest number of children of a node in the data set; by default that of this
        tree. Trees of one batch need the same, and the shapes of params may depend on it.

    Returns:
      `Nodes`, in NumPy.

    Raises:
      TypeError: if a node is not a `Node`, its children are not a tuple, or its x does not hold
        numbers.
      ValueError: if the inputs of nodes differ in structure, or a node has more children than
        arity.

    Example:
      >>> from recur.sequences import Node, post_order
      >>> nodes = post_order(Node(7, (Node(3, (Node(1), Node(2))), Node(4))))
      >>> nodes.x.tolist()
      [1, 2, 3, 4, 7]
      >>> nodes.back.tolist()
      [[0, 0], [0, 0], [2, 1], [0, 0], [2, 1]]
    """
    # Parents before children, and children from last to first, give reversed post-order.
    visited: list[tuple[Node, int, int]] = []  # node, its parent, its position among the children
    waiting: list[tuple[Any, int, int]] = [(root, 0, 0)]
    while waiting:
        visited.append(waiting.pop())
        node, own = visited[-1][0], len(visited) - 1
        if not isinstance(node, Node):
            raise TypeError(
                f"post_order: expected a Node, got {type(node).__name__}. Pass children as a tuple "
                "of nodes, also a single one: Node(x, (child,))."
            )
        if not isinstance(node.children, (tuple, list)):
            raise TypeError(
                f"post_order: expected children as a tuple, got {type(node.children).__name__}. A "
                "node without children is Node(x)."
            )
        waiting += [(child, own, c) for c, child in enumerate(node.children) if child is not None]

    nodes = [node for node, _, _ in reversed(visited)]
    back = np.zeros((len(nodes), _arity(nodes, arity)), np.int32)
    for own, (_, parent, place) in enumerate(visited[1:], start=1):
        back[len(nodes) - 1 - parent, place] = own - parent
    xs = [jax.tree.map(np.asarray, node.x) for node in nodes]
    _check_alike(xs)
    return Nodes(jax.tree.map(lambda *leaves: np.stack(leaves), *xs), back)


def parse_tree(
    text: str, read: Callable[[str, str | None], Any] = lambda label, word: (label, word)
) -> Node:
    """Parses a tree in the bracket notation of treebanks.

    A tree is `(label word)` or `(label tree ... tree)`, as in the Stanford Sentiment Treebank and
    the Penn Treebank, where brackets within words are written -LRB- and -RRB-. Labels and words are
    separated by ASCII white space; other Unicode white space, such as U+3000, is text.

    Args:
      text: one tree.
      read: `read(label, word) -> x` of a node; word is None for a node with children. By default x
        is the pair `(label, word)`.

    Returns:
      The root, a `Node`.

    Raises:
      TypeError: if the text is not a string, or `read` is not a function.
      ValueError: if the text is not one tree; the message gives the position.

    Example:
      >>> from recur.sequences import parse_tree, post_order
      >>> text = "(3 (2 It) (4 (4 works) (2 .)))"
      >>> parse_tree(text).children[0]
      Node(x=('2', 'It'), children=())
      >>> ids = {None: 0, "It": 1, "works": 2, ".": 3}
      >>> nodes = post_order(parse_tree(text, lambda label, word: (int(label), ids[word])))
      >>> labels, words = nodes.x
      >>> labels.tolist(), words.tolist()
      ([2, 4, 2, 4, 3], [1, 2, 3, 0, 0])
    """
    if not isinstance(text, str):
        raise TypeError(f"parse_tree: expected a tree as a string, got {type(text).__name__}.")
    check_function("parse_tree: read", read)
    opened: list[tuple[int, list[str | Node]]] = []
    root = None
    for match in re.finditer(r"[()]|[^\s()]+", text, re.ASCII):
        token, position = match.group(), match.start()
        if root is not None or not (opened or token == "("):
            raise _unreadable(text, position, "one tree in brackets")
        if token == "(":
            opened.append((position, []))
        elif token == ")":
            root = _close(text, *opened.pop(), read)
            if opened:
                opened[-1][1].append(root)
                root = None
        else:
            opened[-1][1].append(token)
    if root is None:
        raise _unreadable(text, len(text), "')'" if opened else "one tree in brackets")
    return root


def _close(text: str, position: int, parts: list[str | Node], read: Callable) -> Node:
    """Returns the node of the parts between two brackets."""
    match parts:
        case [str(label), str(word)]:
            return Node(read(label, word))
        case [str(label), *rest]:
            children = tuple(part for part in rest if isinstance(part, Node))
            if rest and len(children) == len(rest):
                return Node(read(label, None), children)
    raise _unreadable(text, position, "(label word) or (label tree ... tree)")


def _unreadable(text: str, position: int, expected: str) -> ValueError:
    came = repr(text[position : position + 20]) if position < len(text) else "the end"
    return ValueError(f"parse_tree: position {position}: expected {expected}, got {came}.")


def _arity(nodes: list[Node], given: int | None) -> int:
    """Returns C, the number of columns of `back`."""
    most = max(len(node.children) for node in nodes)
    if given is not None and most > check_whole("post_order: arity", given, 0):
        raise ValueError(f"post_order: expected up to {given} children a node, got {most}.")
    return most if given is None else int(given)


def _check_alike(xs: list[Any]) -> None:
    """Raises an error unless all hold numbers, with the structure and shapes of the first."""
    if not jax.tree.leaves(xs[0]):
        raise TypeError("post_order: x of node 0: expected numbers, got nothing.")
    expected = describe(xs[0])
    for number, x in enumerate(xs):
        for leaf in jax.tree.leaves(x):
            if leaf.dtype.kind not in "biufcV":  # V: bfloat16 and similar dtypes
                raise TypeError(
                    f"post_order: x of node {number}: expected numbers, got {leaf.dtype}. Convert "
                    "words to ids first."
                )
        if describe(x) != expected:
            raise ValueError(
                f"post_order: x of node {number}: expected {expected}, like x of node 0, got "
                f"{describe(x)}. For a node without an input, pass zeros or a special id."
            )
