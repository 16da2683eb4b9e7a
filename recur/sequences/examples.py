"""Examples, the sequences of a data set, checked on the host when they are read."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

import jax
import numpy as np
from numpy.typing import ArrayLike

from recur.checks import describe


class Example(NamedTuple):
    """One sequence of a data set, with its label and its context.

    Attributes:
      steps: a pytree of `[T, ...]` arrays: inputs, targets and whatever else varies over time.
      label: a pytree of arrays without a time axis, such as a class or a weight; or None.
      context: a mapping of names to values that do not change over time, for the layer; or None.
    """

    steps: Any
    label: Any = None
    context: Any = None


class Examples:
    """A source of examples, each checked when it is read: all must have the same structure.

    Args:
      source: a sequence, such as a list or a Grain data source; each entry is an `Example`, or the
        steps of one.
      lengths: the number of steps of each, if known; otherwise all examples are read once.

    Raises:
      TypeError: if the source is not a sequence.
      ValueError: if it is empty, or an example is wrong.
    """

    def __init__(self, source: Sequence[Any], lengths: ArrayLike | None = None):
        numbered = hasattr(source, "__len__") and hasattr(source, "__getitem__")
        if not numbered or isinstance(source, Mapping | Example):
            raise TypeError(
                "expected a list of examples, or another sequence, got "
                f"{type(source).__name__}. Put a single example in a list."
            )
        if not len(source):
            raise ValueError("expected at least one example, got an empty data set.")
        self._source = source
        self.outline = outline(_read(source, 0)[0])
        self._description = describe(self.outline)
        if lengths is None:
            lengths = [self._read_alike(number)[1] for number in range(len(source))]
        self.lengths = check_lengths(lengths, len(source))

    def __getitem__(self, number: int) -> Example:
        """Returns an example in NumPy.

        Raises:
          ValueError: if its structure differs from the first, or its length from the given one.
        """
        example, count = self._read_alike(number)
        if count != self.lengths[number]:
            raise ValueError(
                f"example {number}: expected the given length of {self.lengths[number]} steps, got "
                f"{count}."
            )
        return example

    def _read_alike(self, number: int) -> tuple[Example, int]:
        """Reads an example and checks its structure; returns it with its length."""
        example, count = _read(self._source, number)
        found = describe(outline(example))
        if found != self._description:
            raise ValueError(
                f"example {number}: expected {self._description} like the first one, without the "
                f"time axis, got {found}."
            )
        return example, count


def _read(source: Sequence[Any], number: int) -> tuple[Example, int]:
    """Reads an example into NumPy; returns it with its length."""
    example = source[number]
    example = example if isinstance(example, Example) else Example(example)
    example = jax.tree.map(np.asarray, example)
    count = count_steps(example, number)
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
    return example, count


def count_steps(example: Example, number: int) -> int:
    """Returns T, the length of the time axis of an example."""
    shapes = [leaf.shape for leaf in jax.tree.leaves(example.steps)]
    counts = {shape[:1] for shape in shapes}
    if len(counts) != 1 or () in counts:
        raise ValueError(
            f"example {number}: expected steps as arrays with one leading time axis, got the "
            f"shapes {[list(shape) for shape in shapes]}. Convert a list of numbers with "
            "numpy.asarray; pass values without a time axis as the label or context of an Example."
        )
    return counts.pop()[0]


def outline(example: Example) -> Example:
    """Returns the shapes and dtypes of an example, without the time axis of its steps."""

    def of(drop):
        return lambda leaf: jax.ShapeDtypeStruct(leaf.shape[drop:], leaf.dtype)

    whole = jax.tree.map(of(0), (example.label, example.context))
    return Example(jax.tree.map(of(1), example.steps), *whole)


def check_lengths(given: ArrayLike, count: int | None = None) -> np.ndarray:
    """Returns lengths as an array; they must be nonnegative integers, `count` of them if given."""
    try:
        lengths = np.asarray(given)
    except ValueError as error:
        raise ValueError("lengths: expected a list of integers, got lists of lists.") from error
    if lengths.size and not np.issubdtype(lengths.dtype, np.integer):
        raise TypeError(f"lengths: expected integers, got {lengths.dtype}.")
    if lengths.ndim != 1:
        raise ValueError(
            f"lengths: expected a list of integers, got the shape {list(lengths.shape)}."
        )
    if count is not None and len(lengths) != count:
        raise ValueError(
            f"lengths: expected one for each of {count} examples, got the shape "
            f"{list(lengths.shape)}."
        )
    for number in np.flatnonzero(lengths < 0):
        raise ValueError(
            f"lengths: expected at least 0, got {lengths[number]} for example {number}."
        )
    return lengths.astype(np.int64)
