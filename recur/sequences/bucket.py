"""Bucketing: batches of sequences of similar length."""

from __future__ import annotations

import itertools
from collections.abc import Iterable, Iterator, Sequence
from typing import Any

import numpy as np
from numpy.typing import ArrayLike

from recur.checks import check_flag, check_ids, check_whole
from recur.sequences.bucket_shapes import find_shapes, place
from recur.sequences.examples import check_lengths
from recur.sequences.layout import Layout, Plan, check_fits, one_a_row
from recur.sequences.ragged import Sizes


def bucket(
    boundaries: Sequence[int] | Sequence[tuple[int, ...]] | None = None,
    *,
    count: int | None = None,
    cut: bool = False,
) -> Layout:
    """Groups sequences of similar length into batches, one sequence per row (bucketing).

        T of a sequence of length n = min {b in boundaries: b ≥ n}

    A training step is compiled once for each boundary. For examples with several sequences
    (`Padded`), a boundary is a tuple of sizes: T, then that of each `Padded` in the order of the
    pytree. An example is in the smallest bucket into which all its sequences fit.

    Args:
      boundaries: the lengths of batches, ascending; or tuples of sizes. With lengths only, other
        sequences get the size of the largest in the bucket.
      count: the number of boundaries to find instead, with little padding: see `find_boundaries`.
      cut: whether to cut a sequence that is longer than the last boundary; by default it is an
        error.

    Returns:
      A `Layout`. Batches are in the order in which they become full; partly filled ones come last.

    Raises:
      TypeError: if `cut` is not a bool.
      ValueError: unless either boundaries or count is given, and the boundaries ascend from at
        least 1; when batches are made, if an example does not fit, or the number of sizes is wrong.

    Example:
      >>> import numpy as np
      >>> from recur.sequences import bucket, make_batches
      >>> sequences = [np.arange(n) for n in (2, 9, 1, 10, 3)]
      >>> for batch in make_batches(sequences, bucket((3, 10)), batch_size=2):
      ...     print(batch.steps.shape, batch.number[:, 0])
      (2, 3) [0 2]
      (2, 10) [1 3]
      (2, 3) [ 4 -1]
    """
    if (boundaries is None) == (count is None):
        raise ValueError(
            "bucket: expected either boundaries or a count of boundaries to find, got "
            f"boundaries={boundaries} and count={count}."
        )
    count = None if count is None else check_whole("bucket: count", count, 1)
    cut = check_flag("bucket: cut", cut)
    given = () if boundaries is None else _check_boundaries(boundaries)

    def planner(sizes: Sizes, batch_size: int | None):
        shapes, buckets = _find_buckets(sizes, given, count, cut)

        def plan(numbers: Iterable[int]) -> Iterator[Plan]:
            waiting: list[list[int]] = [[] for _ in shapes]
            for number in numbers:
                group = waiting[buckets[number]]
                group.append(number)
                if len(group) == batch_size:
                    yield one_a_row(group, batch_size, shapes[buckets[number]])
                    waiting[buckets[number]] = []
            for group, shape in zip(waiting, shapes, strict=True):
                if group:
                    yield one_a_row(group, batch_size, shape)

        return plan

    return Layout(f"bucket(boundaries={given or None}, count={count}, cut={cut})", planner)


def _find_buckets(
    sizes: Sizes, given: tuple[Any, ...], count: int | None, cut: bool
) -> tuple[list[tuple[int, ...]], np.ndarray]:
    """Returns the shapes of the buckets, and the bucket of each example."""
    values = np.maximum(sizes.values, 1)
    if count is not None and values.shape[1] > 1:
        shapes = find_shapes(values, sizes.area, count)
        return shapes, place(values, np.array(shapes), sizes.area)
    if given and isinstance(given[0], tuple):
        return list(given), _place_in(sizes, given, cut)
    ends = given if count is None else find_boundaries(values[:, 0], count)
    check_fits(sizes, (ends[-1], *[None] * (values.shape[1] - 1)), cut, "bucket")
    buckets = np.searchsorted(ends, np.minimum(values[:, 0], ends[-1]))
    largest = [values[buckets == each].max(0, initial=1).tolist() for each in range(len(ends))]
    return [(end, *most[1:]) for end, most in zip(ends, largest, strict=True)], buckets


def _place_in(sizes: Sizes, shapes: tuple[tuple[int, ...], ...], cut: bool) -> np.ndarray:
    """Returns the bucket of each example, of given shapes; with `cut`, the largest if none fits."""
    if len(shapes[0]) != len(sizes.names):
        raise ValueError(
            f"bucket: expected boundaries as tuples of {len(sizes.names)} sizes, of "
            f"{', '.join(sizes.names)}, got {shapes[0]}."
        )
    buckets = place(sizes.values, np.array(shapes), sizes.area)
    for number in [] if cut else np.flatnonzero(buckets < 0):
        raise ValueError(
            f"bucket: expected examples that fit a boundary, the sizes of {', '.join(sizes.names)},"
            f" got {tuple(sizes.values[number].tolist())} in example {number}. Add a boundary of at"
            f" least {tuple(sizes.values.max(0).tolist())}, or pass cut=True to cut to the largest "
            "boundary."
        )
    return np.where(buckets < 0, sizes.area(np.array(shapes)).argmax(), buckets)


def find_boundaries(lengths: ArrayLike, count: int) -> tuple[Any, ...]:
    """Finds the bucket boundaries that minimize padding.

        argmin over b_1 < ... < b_count of  sum_n min {b ≥ length_n} - length_n

    The minimum is exact, by dynamic programming over the distinct lengths. Empty rows in the last
    batch of a bucket are not counted. For examples of several sequences, boundaries are tuples with
    a size for each, and padding is summed over all sequences; it is reduced by local search, and
    may be above the minimum.

    Args:
      lengths: nonnegative integers `[N]`, the lengths of the sequences; or `[N, K]`, those of the K
        sequences of each example.
      count: the largest number of boundaries; fewer are found if there are fewer distinct lengths.

    Returns:
      The boundaries, ascending; the last is the longest length, or 1 if that is 0. For K sequences
      they are tuples of K sizes, by ascending sum.

    Raises:
      TypeError: if the lengths are not integers.
      ValueError: if there are no lengths, one is below 0, or count is below 1.

    Example:
      >>> from recur.sequences import find_boundaries
      >>> find_boundaries([2, 3, 3, 3, 9, 10, 30], 3)
      (3, 10, 30)
      >>> find_boundaries([[2, 9], [3, 8], [8, 9], [9, 2]], 2)
      ((3, 9), (9, 9))

    References:
      Bellman 1961, On the Approximation of Curves by Line Segments Using Dynamic Programming,
      https://doi.org/10.1145/366573.366611
    """
    count = check_whole("find_boundaries: count", count, 1)
    known = check_lengths(lengths)
    if not known.size:
        raise ValueError("find_boundaries: expected at least one length, got none.")
    if known.ndim == 2:
        return tuple(find_shapes(np.maximum(known, 1), lambda sizes: sizes.sum(-1), count))
    ends, many = np.unique(np.maximum(known, 1), return_counts=True)
    below = np.concatenate([[0], np.cumsum(many)])  # the number of sequences up to the i-th end
    # cost[i]: the number of steps, padding included, of all sequences up to the i-th end, in k
    # buckets. The last of these buckets begins after the j-th end: cost_k[i] = min_j cost_{k-1}[j]
    # + (below[i] - below[j]) ends[i - 1]. The number of real steps is fixed, so the least cost is
    # the least padding.
    cost = np.concatenate([[0.0], np.full(len(ends), np.inf)])
    begins = []
    for _ in range(min(count, len(ends))):
        before, cost = cost, np.full(len(cost), np.inf)
        begins.append(np.zeros(len(cost), int))
        for i in range(1, len(cost)):
            choices = before[:i] + (below[i] - below[:i]) * float(ends[i - 1])
            begins[-1][i] = choices.argmin()
            cost[i] = choices.min()
    boundaries: list[int] = []
    end = len(ends)
    for begin in reversed(begins):
        boundaries.insert(0, int(ends[end - 1]))
        end = begin[end]
    return tuple(boundaries)


def _check_boundaries(boundaries: Sequence[Any]) -> tuple[Any, ...]:
    """Returns boundaries as ints or as tuples of ints."""
    if isinstance(boundaries, Sequence) and boundaries and isinstance(boundaries[0], tuple):
        return _check_tuples(boundaries)
    try:
        given = [0, *check_ids("bucket", boundaries)]
    except (TypeError, ValueError):
        given = []
    if len(given) < 2 or not all(low < high for low, high in itertools.pairwise(given)):
        raise ValueError(
            "bucket: expected boundaries as whole numbers that ascend from at least 1, got "
            f"{boundaries!r}. To find a number of boundaries, pass count."
        )
    return tuple(given[1:])


def _check_tuples(boundaries: Sequence[Any]) -> tuple[tuple[int, ...], ...]:
    count = len(boundaries[0])
    if not all(isinstance(each, tuple) and len(each) == count for each in boundaries):
        raise ValueError(
            "bucket: expected boundaries as tuples of one size for each sequence, got "
            f"{boundaries!r}."
        )
    return tuple(
        tuple(check_whole("bucket: boundaries", size, 1) for size in each) for each in boundaries
    )
