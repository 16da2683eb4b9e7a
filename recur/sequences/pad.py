"""Padding: one sequence per row, padded at the end."""

from __future__ import annotations

from collections.abc import Iterable, Iterator

import numpy as np

from recur.checks import check_flag, check_whole
from recur.sequences.layout import (
    Layout,
    Plan,
    check_size,
    fixed_sizes,
    groups_of,
    one_a_row,
)
from recur.sequences.ragged import Sizes


def pad(
    length: int | tuple[int | None, ...] | None = None, *, multiple_of: int = 1, cut: bool = False
) -> Layout:
    """Pads sequences at the end to one length, one sequence per row.

        T = length, or the longest of the batch, rounded up to a multiple

    Args:
      length: T of every batch; other sequences of an example (`Padded`) get the size of the largest
        in the data set, so a training step is compiled once. A tuple sets the size of each: T, then
        that of each `Padded` in the order of the pytree, None for the largest. By default each
        batch is as long as its longest sequences, and a training step is compiled for each
        different shape; `multiple_of` and `bucket` limit their number.
      multiple_of: without a length, the sizes of a batch are rounded up to multiples of it.
      cut: whether to cut a longer sequence to its first T steps; by default it is an error.

    Returns:
      A `Layout`.

    Raises:
      TypeError: if `cut` is not a bool.
      ValueError: if a length or multiple_of is below 1, or both are given; when batches are made,
        if a sequence is longer.

    Example:
      >>> import numpy as np
      >>> from recur.sequences import make_batches, pad
      >>> [batch] = make_batches([np.array([1, 2, 3]), np.array([4])], pad(4))
      >>> batch.steps.tolist(), batch.length.tolist()
      ([[1, 2, 3, 0], [4, 0, 0, 0]], [[3], [1]])
    """
    length = None if length is None else check_size("pad: length", length)
    multiple_of = check_whole("pad: multiple_of", multiple_of, 1)
    cut = check_flag("pad: cut", cut)
    if length is not None and multiple_of > 1:
        raise ValueError(
            f"pad: expected either a length or multiple_of, got length={length} and "
            f"multiple_of={multiple_of}."
        )

    def planner(sizes: Sizes, batch_size: int | None):
        fixed = None if length is None else fixed_sizes(sizes, length, cut, "pad")

        def plan(numbers: Iterable[int]) -> Iterator[Plan]:
            for group in groups_of(batch_size, numbers):
                longest = np.maximum(sizes.values[group].max(0), 1)
                rounded = (-(-longest // multiple_of) * multiple_of).tolist()
                yield one_a_row(group, batch_size, fixed or rounded)

        return plan

    return Layout(f"pad(length={length}, multiple_of={multiple_of}, cut={cut})", planner)
