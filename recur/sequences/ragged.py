"""Pytrees with `Padded` sequences of different sizes (ragged axes): their sizes, zeros, copies."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, NamedTuple

import jax
import numpy as np

from recur.checks import describe, leaf_name
from recur.masks import expand_like
from recur.sequences.padded import Padded


class Sizes(NamedTuple):
    """The number of steps of every sequence of every example.

    Attributes:
      values: int64 `[N, K]`, for N examples of K sequences: the steps of the example first, then
        each `Padded` in the order of the pytree, with its longest sequence.
      names: the names of the sequences, such as `"steps"` and `"context/source"`.
      parents: for each, the index of the sequence that has it in each of its steps; -1 for none.
    """

    values: np.ndarray
    names: tuple[str, ...]
    parents: tuple[int, ...]

    def area(self, shapes: np.ndarray) -> np.ndarray:
        """Returns the number of steps in rows of these sizes `[..., K]`, of all sequences."""
        counts: list[np.ndarray] = []
        for number, parent in enumerate(self.parents):
            outer = 1 if parent < 0 else counts[parent]
            counts.append(np.asarray(shapes)[..., number] * outer)
        return np.sum(counts, axis=0)


def map_padded(function: Any, tree: Any) -> Any:
    """Maps `function(name, leaf)` over a pytree in which each `Padded` is a leaf with a name."""

    def named(path, leaf):
        name = leaf_name(path) if _is_padded(leaf) else ""
        return function(name, leaf)

    return jax.tree_util.tree_map_with_path(named, tree, is_leaf=_is_padded)


def complete(tree: Any, where: str, leading: tuple[int, ...] = ()) -> Any:
    """Adds missing lengths to each `Padded`, and drops the steps that no sequence has.

    Args:
      tree: a pytree of NumPy arrays.
      where: its name, for errors.
      leading: the axes before those of one sequence: `(T,)` in the steps of an example.

    Raises:
      TypeError: if a length is not an integer.
      ValueError: if the arrays and the length of a `Padded` do not fit together.
    """

    def of(path, leaf):
        if not isinstance(leaf, Padded):
            return leaf
        name, axes = join(where, path), len(leading)
        counts = {inner.shape[: axes + 1] for inner in jax.tree.leaves(leaf.steps)}
        *before, size = (counts.pop() if len(counts) == 1 else ()) or (-1,)
        if tuple(before) != leading or size < 0:
            outer = "".join(f"{count}, " for count in leading)
            raise ValueError(
                f"{name}: expected a Padded with steps [{outer}S, ...], got {describe(leaf)}."
            )
        length = np.asarray(size) if leaf.length is None and not axes else leaf.length
        if length is None or length.shape != leading:
            raise ValueError(
                f"{name}: expected a Padded with a length of shape {list(leading)}, got "
                f"{describe(leaf)}. Padded.stack makes one of a list of one array per step."
            )
        if length.dtype.kind not in "iu":
            raise TypeError(f"{name}: expected an integer length, got {length.dtype}.")
        if ((length < 0) | (length > size)).any():
            raise ValueError(
                f"{name}: expected lengths from 0 to {size}, the number of steps, got "
                f"{length.tolist()}."
            )
        whole = Padded(leaf.steps, length.astype(np.int32))
        steps = _zeros_in_padding(whole) if axes else leaf.steps
        return Padded(complete(steps, name, (*leading, size)), whole.length)

    return trim(map_padded(of, tree), len(leading))


def outline(tree: Any, axes: int = 0) -> Any:
    """Returns shapes and dtypes without the leading axes and the axes of `Padded` sequences."""

    def of(_, leaf):
        if isinstance(leaf, Padded):
            return Padded(outline(leaf.steps, axes + 1), outline(leaf.length, axes))
        return jax.ShapeDtypeStruct(leaf.shape[axes:], leaf.dtype)

    return map_padded(of, tree)


def find_sizes(tree: Any, where: str, parent: int = -1, begin: int = 0) -> list[tuple]:
    """Returns the name, the parent and the size of each `Padded`, in the order of the pytree.

    Args:
      tree: a pytree of NumPy arrays, as `complete` returns.
      where: its name.
      parent: the index of the sequence in whose steps the tree is; -1 if there is none.
      begin: the index of the first sequence.
    """
    found: list[tuple] = []

    def of(path, leaf):
        if isinstance(leaf, Padded):
            name, number = join(where, path), begin + len(found)
            found.append((name, parent, int(leaf.length.max(initial=0))))
            found.extend(find_sizes(leaf.steps, name, number, number + 1))

    map_padded(of, tree)
    return found


def zeros(shape: tuple[int, ...], kind: Any, sizes: Iterator[int]) -> Any:
    """Returns zeros for an outline, with leading axes and the sizes of each `Padded` in turn."""

    def of(_, leaf):
        if isinstance(leaf, Padded):
            size = next(sizes)
            return Padded(
                zeros((*shape, size), leaf.steps, sizes), zeros(shape, leaf.length, sizes)
            )
        return np.zeros((*shape, *leaf.shape), leaf.dtype)

    return map_padded(of, kind)


def write(arrays: Any, at: tuple, values: Any) -> None:
    """Writes values into arrays at an index, at the start of their axes; what is longer is cut."""
    for array, value in zip(jax.tree.leaves(arrays), jax.tree.leaves(values), strict=True):
        target = array[(*at, ...)]  # a view, also of one number
        own = tuple(map(slice, target.shape))
        target[tuple(map(slice, value.shape))] = value[own]


def limit_lengths(tree: Any) -> None:
    """Limits the lengths of each `Padded` to its size, in place."""

    def of(_, leaf):
        if isinstance(leaf, Padded):
            size = jax.tree.leaves(leaf.steps)[0].shape[leaf.length.ndim]
            np.minimum(leaf.length, size, out=leaf.length)
            limit_lengths(leaf.steps)

    map_padded(of, tree)


def has_padded(tree: Any) -> bool:
    """Whether a pytree has a `Padded`."""
    return any(map(_is_padded, jax.tree.leaves(tree, is_leaf=_is_padded)))


def trim(tree: Any, axes: int = 1) -> Any:
    """Cuts each `Padded` to its longest sequence; `axes` counts the axes before its own."""

    def of(_, leaf):
        if not isinstance(leaf, Padded):
            return leaf
        longest = (slice(None),) * axes + (slice(int(leaf.length.max(initial=0))),)
        return Padded(
            trim(jax.tree.map(lambda inner: inner[longest], leaf.steps), axes + 1), leaf.length
        )

    return map_padded(of, tree)


def join(where: str, path: str) -> str:
    """Returns the name of an entry of a pytree; the pytree itself is one sequence in each step."""
    if not where:
        return path
    return f"{where}/{path}" if path else f"{where}[t]"


def _zeros_in_padding(padded: Padded) -> Any:
    """Returns the steps, zero beyond the length."""

    def of(leaf):
        return np.where(expand_like(padded.mask, leaf), leaf, np.zeros((), leaf.dtype))

    return jax.tree.map(of, padded.steps)


def _is_padded(value: Any) -> bool:
    return isinstance(value, Padded)
