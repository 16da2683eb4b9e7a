"""Padding: one sequence per row, padded at the end."""

from __future__ import annotations

from collections.abc import Iterable, Iterator

import numpy as np

from recur.checks import check_flag, check_whole
from recur.sequences.layout import Layout, Plan, check_fits, groups_of, one_a_row


def pad(length: int | None = None, *, cut: bool = False) -> Layout:
    """Pads sequences at the end to one length, one sequence per row.

        T = length, or the longest of the batch

    Args:
      length: T of every batch. By default each batch is as long as its longest sequence, and a
        training step is compiled for each different T; `bucket` limits their number.
      cut: whether to cut a longer sequence to its first T steps; by default it is an error.

    Returns:
      A `Layout`.

    Raises:
      TypeError: if `cut` is not a bool.
      ValueError: if length is below 1; when batches are made, if a sequence is longer.

    Example:
      >>> import numpy as np
      >>> from recur.sequences import make_batches, pad
      >>> [batch] = make_batches([np.array([1, 2, 3]), np.array([4])], pad(4))
      >>> batch.steps.tolist(), batch.length.tolist()
      ([[1, 2, 3, 0], [4, 0, 0, 0]], [[3], [1]])
    """
    length = None if length is None else check_whole("pad: length", length, 1)
    cut = check_flag("pad: cut", cut)

    def planner(lengths: np.ndarray, batch_size: int | None):
        if length is not None:
            check_fits(lengths, length, cut, "pad")

        def plan(numbers: Iterable[int]) -> Iterator[Plan]:
            for group in groups_of(batch_size, numbers):
                steps = max(int(lengths[group].max()), 1) if length is None else length
                yield one_a_row(group, batch_size, steps)

        return plan

    return Layout(f"pad(length={length}, cut={cut})", planner)
