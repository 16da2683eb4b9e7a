"""Examples: what one sequence of a data set is made of, checked on the host as it is read."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

import jax
import numpy as np
from numpy.typing import ArrayLike

from recur.checks import describe


class Example(NamedTuple):
    """One sequence of a data set, and what belongs to it as a whole.

    Attributes:
      steps: a pytree of `[T, ...]` arrays: inputs, targets and whatever else changes over time.
      label: a pytree of arrays without a time axis: a class, a weight; None when there is none.
      context: what a layer is told once a sequence, by name; None when there is none.
    """

    steps: Any
    label: Any = None
    context: Any = None


class Examples:
    """A source of examples, each checked as it is read: all must be made alike.

    Args:
      source: anything with a length and numbered entries, such as a list or a data source of Grain;
        an entry is an `Example`, or the steps of one.
      lengths: how many steps each has, if that is known; without it all of them are read once.

    Raises:
      TypeError: when the source is nothing of the kind.
      ValueError: when it is empty, or as reading an example does.
    """

    def __init__(self, source: Sequence[Any], lengths: ArrayLike | None = None):
        numbered = hasattr(source, "__len__") and hasattr(source, "__getitem__")
        if not numbered or isinstance(source, Mapping | Example):
            raise TypeError(
                "expected a list of examples, or what has a length and numbered entries as a list "
                f"has, got {type(source).__name__}. One example goes into a list."
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
        """Example `number`, in NumPy.

        Raises:
          ValueError: when it is not made like the first, or not as long as was said.
        """
        example, count = self._read_alike(number)
        if count != self.lengths[number]:
            raise ValueError(
                f"example {number}: expected {self.lengths[number]} steps, as its length was "
                f"given, got {count}."
            )
        return example

    def _read_alike(self, number: int) -> tuple[Example, int]:
        """An example made like the first, and its length."""
        example, count = _read(self._source, number)
        found = describe(outline(example))
        if found != self._description:
            raise ValueError(
                f"example {number}: expected {self._description} as the first one is, the time "
                f"axis left out, got {found}."
            )
        return example, count


def _read(source: Sequence[Any], number: int) -> tuple[Example, int]:
    """An example in NumPy, and its length."""
    example = source[number]
    example = example if isinstance(example, Example) else Example(example)
    example = jax.tree.map(np.asarray, example)
    count = count_steps(example, number)
    for leaf in jax.tree.leaves(example):
        if leaf.dtype.kind not in "biufcV":  # V: bfloat16 and its like
            raise TypeError(
                f"example {number}: expected arrays of numbers, got {leaf.dtype}. Turn words into "
                "ids first."
            )
    if not isinstance(example.context, (Mapping, type(None))):
        raise TypeError(
            f"example {number}: expected a context as a mapping of names, got "
            f"{type(example.context).__name__}."
        )
    return example, count


def count_steps(example: Example, number: int) -> int:
    """T of an example, the one length of the time axes of its steps."""
    shapes = [leaf.shape for leaf in jax.tree.leaves(example.steps)]
    counts = {shape[:1] for shape in shapes}
    if len(counts) != 1 or () in counts:
        raise ValueError(
            f"example {number}: expected steps as arrays with one time axis in front, got the "
            f"shapes {[list(shape) for shape in shapes]}. A list of numbers becomes an array with "
            "numpy.asarray; what has no time axis is the label or the context of an Example."
        )
    return counts.pop()[0]


def outline(example: Example) -> Example:
    """Shapes and dtypes of an example, of one step of its steps."""

    def of(drop):
        return lambda leaf: jax.ShapeDtypeStruct(leaf.shape[drop:], leaf.dtype)

    whole = jax.tree.map(of(0), (example.label, example.context))
    return Example(jax.tree.map(of(1), example.steps), *whole)


def check_lengths(given: ArrayLike, count: int) -> np.ndarray:
    """Lengths as an array, when they are `count` integers of at least 0."""
    lengths = np.asarray(given)
    if not np.issubdtype(lengths.dtype, np.integer):
        raise TypeError(f"lengths: expected integers, got {lengths.dtype}.")
    if lengths.shape != (count,):
        raise ValueError(
            f"lengths: expected one for each of {count} examples, got the shape "
            f"{list(lengths.shape)}."
        )
    for number in np.flatnonzero(lengths < 0):
        raise ValueError(
            f"lengths: expected at least 0, got {lengths[number]} for example {number}."
        )
    return lengths.astype(np.int64)
