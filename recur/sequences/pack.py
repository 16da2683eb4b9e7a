"""Several sequences in a row, one behind the other, with resets at the seams."""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator

import numpy as np

from recur.checks import check_whole
from recur.sequences.layout import Layout, Plan, check_fits, groups_of

LOOKAHEAD = 4  # batches that the packer fills side by side: more leave no less padding


def pack(length: int, *, slots: int | None = None, cut: bool = False) -> Layout:
    """Lays out several sequences a row, each in the first row that still has room for it.

    Layers start afresh where `batch.reset` says, so that the numbers are those of the sequences
    alone. `unpack`, `segments`, `last_steps` and `first_steps` lead back to the sequences. Grain's
    packer decides which row a sequence goes to; it fills a few batches side by side.

    Args:
      length: T, the steps of a row. Longer rows leave less padding; two or three times the longest
        sequence leaves a few percent.
      slots: S, how many sequences a row holds at most; twice as many as fit on average when not
        given.
      cut: whether only the first T steps of a longer sequence are kept; without it one is an error.

    Returns:
      A `Layout`. A step is compiled once.

    Raises:
      ImportError: where it is used, without Grain.
      ValueError: when length or slots is below 1; where it is used, when a sequence is longer, or
        when examples have a context, which a layer is told once a row.

    Example:
      >>> import numpy as np
      >>> from recur.sequences import lay_out, pack
      >>> [batch] = lay_out([np.arange(n) for n in (3, 4, 2, 1)], pack(5))
      >>> batch.number.tolist(), batch.begin.tolist()
      ([[0, 2, -1, -1], [1, 3, -1, -1]], [[0, 3, 0, 0], [0, 4, 0, 0]])
    """
    length = check_whole("pack: length", length, 1)
    slots = None if slots is None else check_whole("pack: slots", slots, 1)

    def planner(lengths: np.ndarray, rows: int | None):
        check_fits(lengths, length, cut, "pack")
        kept = np.minimum(lengths, length)
        most = slots or math.ceil(2 * length / max(kept.mean(), 1))

        def plan(numbers: Iterable[int]) -> Iterator[Plan]:
            packed = _packed(kept, numbers, length, most, rows)
            for group in groups_of(rows, packed):
                yield Plan(group, rows or len(group), length, most)

        return plan

    name = f"pack(length={length}, slots={slots}, cut={cut})"
    return Layout(name, planner, shares_rows=True)


def _packed(
    lengths: np.ndarray, numbers: Iterable[int], length: int, slots: int, rows: int | None
) -> Iterator[list[int]]:
    """The numbers of the sequences of each row, by Grain's packer."""
    try:
        import grain  # here, for it takes longer than the rest of recur
    except ImportError as error:
        raise ImportError('pack needs Grain: pip install "recur[data]".') from error

    numbers = list(numbers)
    dataset = grain.MapDataset.source(numbers).map(
        lambda number: {"steps": np.empty(lengths[number], bool), "number": number}
    )
    packed = grain.experimental.FirstFitPackIterDataset(
        dataset.to_iter_dataset(grain.ReadOptions(num_threads=0, prefetch_buffer_size=0)),
        length_struct={"steps": length},
        num_packing_bins=len(numbers) if rows is None else LOOKAHEAD * rows,
        shuffle_bins=False,
        meta_features=("number",),
        max_sequences_per_bin=slots,
    )
    return (list(row["number"]) for row in packed)
