"""Packing: several sequences in a row, one after the other, with resets where each begins."""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator

import numpy as np

from recur.checks import check_flag, check_whole
from recur.sequences.layout import Layout, Plan, check_fits, groups_of

LOOKAHEAD = 4  # batches that the packer fills at the same time: more leave no less padding


def pack(length: int, *, slots: int | None = None, cut: bool = False) -> Layout:
    """Packs several sequences into a row, each into the first row that still has room for it.

    Layers start from the initial carry where `batch.reset` is True, so the results are those of
    each sequence alone. `unpack`, `segments`, `last_steps` and `first_steps` recover the sequences.
    Grain's packer chooses the row of a sequence; it fills a few batches at the same time.

    Args:
      length: T, the steps of a row. Longer rows leave less padding; two or three times the longest
        sequence leaves a few percent.
      slots: S, how many sequences a row holds at most; by default twice as many as fit on average.
      cut: whether a longer sequence is cut to its first T steps; by default it is an error.

    Returns:
      A `Layout`. A training step is compiled once.

    Raises:
      ImportError: when batches are made, without Grain.
      TypeError: if cut is no bool.
      ValueError: if length or slots is below 1; when batches are made, if a sequence is longer, or
        if examples have a context, of which a layer takes one a row.

    Example:
      >>> import numpy as np
      >>> from recur.sequences import make_batches, pack
      >>> [batch] = make_batches([np.arange(n) for n in (3, 4, 2, 1)], pack(5))
      >>> batch.number.tolist(), batch.begin.tolist()
      ([[0, 2, -1, -1], [1, 3, -1, -1]], [[0, 3, 0, 0], [0, 4, 0, 0]])
    """
    length = check_whole("pack: length", length, 1)
    slots = None if slots is None else check_whole("pack: slots", slots, 1)
    cut = check_flag("pack: cut", cut)

    def planner(lengths: np.ndarray, batch_size: int | None):
        check_fits(lengths, length, cut, "pack")
        kept = np.minimum(lengths, length)
        most = slots or math.ceil(2 * length / max(kept.mean(), 1))

        def plan(numbers: Iterable[int]) -> Iterator[Plan]:
            packed = _packed(kept, numbers, length, most, batch_size)
            for group in groups_of(batch_size, packed):
                yield Plan(group, batch_size or len(group), length, most)

        return plan

    name = f"pack(length={length}, slots={slots}, cut={cut})"
    return Layout(name, planner, shares_rows=True)


def _packed(
    lengths: np.ndarray, numbers: Iterable[int], length: int, slots: int, batch_size: int | None
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
        num_packing_bins=len(numbers) if batch_size is None else LOOKAHEAD * batch_size,
        shuffle_bins=False,
        meta_features=("number",),
        max_sequences_per_bin=slots,
    )
    return (list(row["number"]) for row in packed)
