"""Examples, the sequences of a data set, checked on the host when they are read."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

import jax
import numpy as np
from numpy.typing import ArrayLike

from recur.checks import describe, leaf_name, signature
from recur.sequences.padded import Padded
from recur.sequences.ragged import Sizes, complete, find_sizes, has_padded, outline
from recur.sequences.sliding import Sliding


class Example(NamedTuple):
    """One sequence of a data set, with its label and its context.

    A value may be a sequence with its own length, as a `Padded`: `Padded(array)` in the context or
    the label, such as a source sentence or a transcript, and `Padded.stack(arrays)` in the steps,
    for one sequence in each step, such as the characters of each word.

    Attributes:
      steps: a pytree of `[T, ...]` arrays: inputs, targets and whatever else varies over time.
      label: a pytree of arrays without the time axis, such as a class or a weight; or None.
      context: a mapping of names to values without the time axis, for the layer; or None.
    """

    steps: Any
    label: Any = None
    context: Any = None


class Examples:
    """A source of examples, each checked when it is read: all must have the same structure.

    Args:
      source: a sequence, such as a list or a Grain data source; each entry is an `Example`, or the
        steps of one. Or a `Sliding`: its windows are the steps, its targets the labels.
      lengths: the number of steps of each, if known, or `[N, K]`, the size of each of K sequences;
        otherwise all examples are read once.

    Attributes:
      outline: shapes and dtypes of an example, without time axes.
      sizes: the sizes of all examples.

    Raises:
      TypeError: if the source is not a sequence.
      ValueError: if it is empty, or an example is wrong.
    """

    def __init__(self, source: Sequence[Any] | Sliding, lengths: ArrayLike | None = None):
        if isinstance(source, Sliding):
            source = _Windows(source)
            lengths = source.lengths if lengths is None else lengths
        numbered = hasattr(source, "__len__") and hasattr(source, "__getitem__")
        if not numbered or isinstance(source, Mapping | Example | Padded):
            raise TypeError(
                "expected a list of examples, or another sequence, got "
                f"{type(source).__name__}. Put a single example in a list."
            )
        if not len(source):
            raise ValueError("expected at least one example, got an empty data set.")
        self._source = source
        first = _read(source, 0)
        self.outline: Example = _outline(first)
        leaves, own = jax.tree.leaves(first), jax.tree.leaves(self.outline)
        self._axes = [leaf.ndim - len(it.shape) for leaf, it in zip(leaves, own, strict=True)]
        self._signature = signature(self.outline)
        self._has_padded = has_padded(first)
        names, parents, _ = zip(*_find_sizes(first), strict=True)
        if lengths is None:
            values = np.array([self._read_alike(number)[1] for number in range(len(source))])
        else:
            values = _check_sizes(lengths, len(source), names)
        self.sizes = Sizes(values, names, parents)

    def __len__(self) -> int:
        return len(self._source)

    def __getitem__(self, number: int) -> Example:
        """Returns an example in NumPy.

        Raises:
          ValueError: if its structure differs from the first, or its lengths from the given ones.
        """
        example, own = self._read_alike(number)
        for name, given, size in zip(self.sizes.names, self.sizes.values[number], own, strict=True):
            if given != size:
                where = "" if name == "steps" else f" in {name}"
                raise ValueError(
                    f"example {number}: expected the given length of {given} steps{where}, got "
                    f"{size}."
                )
        return example

    def _read_alike(self, number: int) -> tuple[Example, list[int]]:
        """Reads an example and checks its structure; returns it with its sizes."""
        example = _read(self._source, number)
        leaves, structure = jax.tree.flatten(example)
        found = [
            (leaf.shape[axes:], leaf.dtype) for leaf, axes in zip(leaves, self._axes, strict=False)
        ]
        if (structure, found) != self._signature:
            raise ValueError(
                f"example {number}: expected {describe(self.outline)} like the first one, without "
                f"the time axis, got {describe(_outline(example))}."
            )
        if not self._has_padded:
            return example, [len(leaves[0])]
        return example, [size for _, _, size in _find_sizes(example)]


class _Windows(Sequence[Example]):
    """The windows of a series, as examples."""

    def __init__(self, windows: Sliding):
        self._windows = windows
        count, steps = jax.tree.leaves(windows.inputs)[0].shape[:2]
        self.lengths = np.full(count, steps)

    def __len__(self) -> int:
        return len(self.lengths)

    def __getitem__(self, number: Any) -> Example:
        return Example(*jax.tree.map(lambda leaf: leaf[number], tuple(self._windows)))


def _read(source: Sequence[Any], number: int) -> Example:
    """Reads an example into NumPy and checks it."""
    example = source[number]
    example = example if isinstance(example, Example) else Example(example)
    example = jax.tree.map(np.asarray, example)
    check_steps(example, number)
    for leaf in jax.tree.leaves(example):
        if leaf.dtype.kind not in "biufcV":  # V: bfloat16 and similar dtypes
            raise TypeError(
                f"example {number}: expected arrays of numbers, got {leaf.dtype}. Convert words to "
                "ids first."
            )
    if not isinstance(example.context, (Mapping, type(None))):
        raise TypeError(
            f"example {number}: expected a context as a mapping of names to values, got "
            f"{type(example.context).__name__}."
        )
    if not has_padded(example):
        return example
    try:
        return _without_root(complete(_with_root(example), ""))
    except (TypeError, ValueError) as error:
        raise type(error)(f"example {number}: {error}") from error


def check_steps(example: Example, number: int) -> None:
    """Raises a ValueError unless all steps of an example share one leading time axis."""
    named = jax.tree_util.tree_leaves_with_path(example.steps)
    shapes = [leaf.shape for _, leaf in named]
    counts = {shape[:1] for shape in shapes}
    if len(counts) > 1 and () not in counts:
        found = ", ".join(f"{leaf_name(path)} {len(leaf)}" for path, leaf in named)
        raise ValueError(
            f"example {number}: expected arrays with the same number of steps, got {found}. Pass a "
            "sequence of another length as a Padded in the label or context of an Example."
        )
    if len(counts) != 1 or () in counts:
        raise ValueError(
            f"example {number}: expected steps as arrays with one leading time axis, got the "
            f"shapes {[list(shape) for shape in shapes]}. Convert a list of numbers with "
            "numpy.asarray, and strings to ids; pass values without a time axis as the label or "
            "context of an Example."
        )


def _with_root(example: Example) -> Example:
    """Returns the example with its steps as a `Padded`, so that all sequences are alike."""
    count = len(jax.tree.leaves(example.steps)[0])
    return example._replace(steps=Padded(example.steps, np.asarray(count)))


def _without_root(example: Example) -> Example:
    return example._replace(steps=example.steps.steps)


def _outline(example: Example) -> Example:
    """Returns the shapes and dtypes of an example, without time axes."""
    return _without_root(outline(_with_root(example)))


def _find_sizes(example: Example) -> list[tuple]:
    """Returns the name, the parent and the size of each sequence of an example."""
    return find_sizes(_with_root(example), "")


def check_lengths(given: ArrayLike) -> np.ndarray:
    """Returns lengths as an array of nonnegative integers, `[N]` or `[N, K]`."""
    try:
        lengths = np.asarray(given)
    except ValueError as error:
        raise ValueError("lengths: expected a list of integers, got lists of lists.") from error
    if lengths.size and not np.issubdtype(lengths.dtype, np.integer):
        raise TypeError(f"lengths: expected integers, got {lengths.dtype}.")
    if lengths.ndim not in (1, 2):
        raise ValueError(
            f"lengths: expected a list of integers, got the shape {list(lengths.shape)}."
        )
    for number in np.argwhere(lengths < 0)[:, 0]:
        raise ValueError(
            f"lengths: expected at least 0, got {lengths[number].min()} for example {number}."
        )
    return lengths.astype(np.int64)


def _check_sizes(given: ArrayLike, count: int, names: Sequence[str]) -> np.ndarray:
    """Returns the sizes of `count` examples `[N, K]`, of the sequences with these names."""
    lengths = check_lengths(given)
    if len(lengths) != count:
        raise ValueError(
            f"lengths: expected one for each of {count} examples, got the shape "
            f"{list(lengths.shape)}."
        )
    lengths = lengths[:, None] if lengths.ndim == 1 else lengths
    if lengths.shape[1] != len(names):
        raise ValueError(
            f"lengths: expected {len(names)} sizes for each example, of {', '.join(names)}, got "
            f"the shape {list(np.shape(given))}."
        )
    return lengths
