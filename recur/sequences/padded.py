"""Padded sequences that keep their own lengths."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, NamedTuple

import jax
import numpy as np

from recur.checks import describe
from recur.masks import leading_shape


class Padded(NamedTuple):
    """A padded sequence with its own length, or several of them on leading axes.

    In an `Example`, it is a sequence that has other steps than the example: in the context, such as
    the source sentence beside a target sentence; in the label, such as a transcript; or in the
    steps, one sequence per step, such as the characters of each word. A batch has a batch axis in
    front.

    Attributes:
      steps: a pytree of arrays `[S, ...]`, or `[T, C, ...]` for one sequence in each of T steps.
      length: integer, or `[T]`, the number of steps that count. In an example, None means all S
        steps.

    Example:
      >>> import numpy as np
      >>> from recur.sequences import Padded
      >>> words = Padded.stack([np.array([7, 8]), np.array([9])])
      >>> words.steps.tolist(), words.length.tolist(), words.mask.tolist()
      ([[7, 8], [9, 0]], [2, 1], [[True, True], [True, False]])
    """

    steps: Any
    length: Any = None

    @property
    def mask(self) -> Any:
        """Bool `[..., S]`, True where the step counts."""
        axes = 0 if self.length is None else np.ndim(self.length)
        size = jax.tree.leaves(self.steps)[0].shape[axes]
        if self.length is None:
            return np.ones(size, bool)
        length = np.asarray(self.length) if isinstance(self.length, int) else self.length
        steps = np.arange(size, dtype=length.dtype).reshape((1,) * axes + (size,))
        return length[..., None] > steps

    @classmethod
    def stack(cls, sequences: Sequence[Any]) -> Padded:
        """Pads sequences to the longest and stacks them on a leading axis, in NumPy.

        Args:
          sequences: pytrees of arrays `[C, ...]`, each with its own C.

        Returns:
          A `Padded` with steps `[T, C, ...]` and length `[T]`, for T sequences.

        Raises:
          TypeError: if the sequences are not a list.
          ValueError: if there are none, or they differ in more than their lengths.
        """
        if not isinstance(sequences, Sequence) or isinstance(sequences, (str, bytes)):
            raise TypeError(
                f"Padded.stack: expected a list of arrays, got {type(sequences).__name__}."
            )
        if not sequences:
            raise ValueError(
                "Padded.stack: expected at least one sequence, got none. For an example without "
                "steps, pass arrays of shape [0, 0, ...] and a length of shape [0] to Padded."
            )
        rows = [jax.tree.map(np.asarray, sequence) for sequence in sequences]
        for number, row in enumerate(rows):
            try:
                leading_shape(row, 0)
            except ValueError as error:
                raise ValueError(
                    f"Padded.stack: sequence {number}: expected arrays [C, ...] with one leading "
                    f"axis, got {describe(row)}. Convert a list of numbers with numpy.asarray."
                ) from error
        kinds = [describe(jax.tree.map(lambda leaf: leaf[:0], row)) for row in rows]
        for number, kind in enumerate(kinds):
            if kind != kinds[0]:
                raise ValueError(
                    f"Padded.stack: expected sequences that differ only in length, got "
                    f"{describe(rows[0])} and {describe(rows[number])} for sequence {number}."
                )
        length = np.array([leading_shape(row, 0)[0] for row in rows], np.int32)

        def padded(*leaves):
            stacked = np.zeros((len(rows), length.max(), *leaves[0].shape[1:]), leaves[0].dtype)
            for row, leaf in zip(stacked, leaves, strict=True):
                row[: len(leaf)] = leaf
            return stacked

        return cls(jax.tree.map(padded, *rows), length)
