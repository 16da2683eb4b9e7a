"""Packing: several sequences in succession in one row, with a reset at the start of each."""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator

import numpy as np

from recur.checks import check_flag, check_whole
from recur.sequences.layout import Layout, Plan, check_size, fixed_sizes, groups_of
from recur.sequences.ragged import Sizes

LOOKAHEAD = 4  # batches that the packer fills at the same time; more do not reduce padding


def pack(
    length: int | tuple[int | None, ...], *, slots: int | None = None, cut: bool = False
) -> Layout:
    """Packs several sequences into each row (first-fit packing).

    Each sequence goes into the first row that has room for it. Layers start from the initial carry
    where `batch.reset` is True, so the results are those of each sequence alone. `unpack`,
    `segments`, `last_steps` and `first_steps` recover the sequences. Rows are chosen by Grain's
    packer, which fills a few batches at the same time.

    Args:
      length: T, the number of steps of a row. Longer rows have less padding: with two or three
        times the longest sequence, padding is a few percent. Other sequences of an example
        (`Padded`) get the size of the largest in the data set; a tuple sets it, as in `pad`.
      slots: S, the largest number of sequences per row; by default twice as many as fit on average.
      cut: whether to cut a longer sequence to its first T steps; by default it is an error.

    Returns:
      A `Layout`. A training step is compiled once.

    Raises:
      ImportError: when batches are made, if Grain is not installed.
      TypeError: if `cut` is not a bool.
      ValueError: if a length or slots is below 1; when batches are made, if a sequence is longer,
        or if examples have a context, since a layer takes one context per row.

    Example:
      >>> import numpy as np
      >>> from recur.sequences import make_batches, pack
      >>> [batch] = make_batches([np.arange(n) for n in (3, 4, 2, 1)], pack(5))
      >>> batch.number.tolist(), batch.begin.tolist()
      ([[0, 2, -1, -1], [1, 3, -1, -1]], [[0, 3, 0, 0], [0, 4, 0, 0]])
    """
    length = check_size("pack: length", length)
    slots = None if slots is None else check_whole("pack: slots", slots, 1)
    cut = check_flag("pack: cut", cut)

    def planner(sizes: Sizes, batch_size: int | None):
        fixed = fixed_sizes(sizes, length, cut, "pack")
        kept = np.minimum(sizes.values[:, 0], fixed[0])
        most = slots or math.ceil(2 * fixed[0] / max(kept.mean(), 1))

        def plan(numbers: Iterable[int]) -> Iterator[Plan]:
            packed = _packed(kept, numbers, fixed[0], most, batch_size)
            for group in groups_of(batch_size, packed):
                yield Plan(group, batch_size or len(group), fixed, most)

        return plan

    name = f"pack(length={length}, slots={slots}, cut={cut})"
    return Layout(name, planner, shares_rows=True)


def _packed(
    lengths: np.ndarray, numbers: Iterable[int], length: int, slots: int, batch_size: int | None
) -> Iterator[list[int]]:
    """Iterates over the numbers of the sequences of each row, by Grain's packer."""
    try:
        import grain  # here, since it takes longer than the rest of recur
    except ImportError as error:
        raise ImportError('pack needs Grain: pip install "recur-jax[data]".') from error

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
