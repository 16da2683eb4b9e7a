"""Trees as arrays: nodes in post-order, with the distance back to each child."""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import Any, NamedTuple

import jax
import numpy as np

from recur.checks import check_function, check_whole, describe


class Node(NamedTuple):
    """A node of a tree, on the host."""

    x: Any  # its input: a number, an array, or a pytree of them; alike for all nodes
    children: tuple[Node | None, ...] = ()  # in their order; None where there is none


class Nodes(NamedTuple):
    """A tree as arrays, children before their parents: the inputs of `recur.tree`.

    A distance of 0, as in padding, means that there is no child, and distances do not depend on
    where in a row a tree begins: so trees are padded, bucketed and packed like other examples.
    """

    x: Any  # [N, ...] each
    back: Any  # integer [N, C], how many nodes back each child is; 0 where there is none


def post_order(root: Node, arity: int | None = None) -> Nodes:
    """Converts a tree to arrays with each node after its children, which keep their order.

        back[n, c] = n - number of the c-th child of node n,    root = node N - 1

    Args:
      root: the tree, of any depth.
      arity: C, the most children a node of the data set has; by default that of this tree. Trees
        of one batch need the same, and the shape of params may depend on it.

    Returns:
      `Nodes`, in NumPy.

    Raises:
      TypeError: if a node is not a `Node`, its children are no tuple, or its x does not hold
        numbers.
      ValueError: if the xs of nodes differ in structure, or a node has more children than arity.

    Example:
      >>> from recur.sequences import Node, post_order
      >>> nodes = post_order(Node(7, (Node(3, (Node(1), Node(2))), Node(4))))
      >>> nodes.x.tolist()
      [1, 2, 3, 4, 7]
      >>> nodes.back.tolist()
      [[0, 0], [0, 0], [2, 1], [0, 0], [2, 1]]
    """
    # Parents before their children, these from the last to the first: post-order, reversed.
    visited: list[tuple[Node, int, int]] = []  # with the parent, and the place below it
    waiting: list[tuple[Any, int, int]] = [(root, 0, 0)]
    while waiting:
        visited.append(waiting.pop())
        node, own = visited[-1][0], len(visited) - 1
        if not isinstance(node, Node):
            raise TypeError(
                f"post_order: expected a Node, got {type(node).__name__}. Children are a tuple of "
                "nodes, of one too: Node(x, (child,))."
            )
        if not isinstance(node.children, (tuple, list)):
            raise TypeError(
                f"post_order: expected children as a tuple, got {type(node.children).__name__}. Of "
                "a node without any it is empty: Node(x)."
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
    """Reads a tree in brackets, as treebanks write them.

    A tree is `(label word)` or `(label tree ... tree)`, as in the Stanford Sentiment Treebank and
    the Penn Treebank; brackets within words are written -LRB- and -RRB- there. Labels and words are
    separated by spaces, tabs and ends of lines; other white space of Unicode, such as U+3000, is
    text.

    Args:
      text: one tree.
      read: `read(label, word) -> x` of a node; word is None for a node with children. Without it
        x is the pair of both.

    Returns:
      The root.

    Raises:
      TypeError: when the text is no string, or `read` no function.
      ValueError: when the text is not one tree; it names the position.

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
    """The node of what stands between two brackets."""
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
    """The most children there is room for."""
    most = max(len(node.children) for node in nodes)
    if given is not None and most > check_whole("post_order: arity", given, 0):
        raise ValueError(f"post_order: expected up to {given} children a node, got {most}.")
    return most if given is None else int(given)


def _check_alike(xs: list[Any]) -> None:
    """Raises an error unless all hold numbers, in the structure, shapes and dtypes of the first."""
    if not jax.tree.leaves(xs[0]):
        raise TypeError("post_order: x of node 0: expected numbers, got nothing.")
    expected = describe(xs[0])
    for number, x in enumerate(xs):
        for leaf in jax.tree.leaves(x):
            if leaf.dtype.kind not in "biufcV":  # V: bfloat16 and its like
                raise TypeError(
                    f"post_order: x of node {number}: expected numbers, got {leaf.dtype}. Turn "
                    "words into ids first."
                )
        if describe(x) != expected:
            raise ValueError(
                f"post_order: x of node {number}: expected {expected} as x of node 0, got "
                f"{describe(x)}. Give a node without an input zeros, or a special id."
            )
