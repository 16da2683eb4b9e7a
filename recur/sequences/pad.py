"""One sequence a row, padded behind."""

from __future__ import annotations

from collections.abc import Iterable, Iterator

import numpy as np

from recur.checks import check_whole
from recur.sequences.layout import Layout, Plan, check_fits, groups_of, one_a_row


def pad(length: int | None = None, *, cut: bool = False) -> Layout:
    """Lays out one sequence a row, padded to one length.

        T = length, or the longest of the batch

    Args:
      length: T of every batch. Without it each batch is as long as its longest sequence, and each
        new length is compiled anew: `bucket` bounds how often.
      cut: whether only the first T steps of a longer sequence are kept; without it one is an error.

    Returns:
      A `Layout`.

    Raises:
      ValueError: when length is below 1; where it is used, when a sequence is longer.

    Example:
      >>> import numpy as np
      >>> from recur.sequences import lay_out, pad
      >>> [batch] = lay_out([np.array([1, 2, 3]), np.array([4])], pad(4))
      >>> batch.steps.tolist(), batch.length.tolist()
      ([[1, 2, 3, 0], [4, 0, 0, 0]], [[3], [1]])
    """
    length = None if length is None else check_whole("pad: length", length, 1)

    def planner(lengths: np.ndarray, rows: int | None):
        if length is not None:
            check_fits(lengths, length, cut, "pad")

        def plan(numbers: Iterable[int]) -> Iterator[Plan]:
            for group in groups_of(rows, numbers):
                steps = max(int(lengths[group].max()), 1) if length is None else length
                yield one_a_row(group, rows, steps)

        return plan

    return Layout(f"pad(length={length}, cut={cut})", planner)
