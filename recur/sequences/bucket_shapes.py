"""Shapes of buckets for examples with several sequences: little padding for a number of shapes."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

Area = Callable[[np.ndarray], np.ndarray]

_SHAPES = 1024  # cells of the grid on which shapes are merged and moved
_FINE_SHAPES = 4096  # cells of the grid on which single sizes are changed


def find_shapes(sizes: np.ndarray, area: Area, count: int) -> list[tuple[int, ...]]:
    """Finds shapes with little padding, such that each example fits into one of them.

        minimize  sum_n min {area(shape): shape ≥ size_n}

    The sizes are rounded up to a grid. Starting from one shape for each occupied cell, the two
    whose union adds the least area are merged until `count` are left. Then each shape moves to the
    cell that reduces the area most, and single sizes to those of a finer grid, until none does.

    Args:
      sizes: int64 `[N, K]`, at least 1.
      area: a function from sizes `[..., K]` to areas `[...]` that grows with each size.
      count: the largest number of shapes.

    Returns:
      The shapes, by ascending area. Each size is that of an example.
    """
    found, number = np.unique(sizes, axis=0, return_counts=True)
    if len(found) > count:
        cells, number_of_cells, ends = _round_up(found, number, _SHAPES)
        shapes = _merge(cells, number_of_cells, area, count)
        grid = np.stack([each.ravel() for each in np.meshgrid(*ends, indexing="ij")], axis=-1)
        shapes = _descend(cells, number_of_cells, shapes, area, lambda shape: grid)
        fine, number_of_fine, ends = _round_up(found, number, _FINE_SHAPES)
        shapes = _descend(fine, number_of_fine, shapes, area, lambda shape: _variants(shape, ends))
        chosen = place(found, shapes, area)
        found = np.stack([found[chosen == each].max(0) for each in np.unique(chosen)])
    return sorted(map(tuple, found.tolist()), key=lambda shape: (area(np.array(shape)), shape))


def place(sizes: np.ndarray, shapes: np.ndarray, area: Area) -> np.ndarray:
    """Returns the index of the smallest shape that each example fits into; -1 if there is none."""
    chosen, least = np.full(len(sizes), -1), np.full(len(sizes), np.inf)
    for number, shape in enumerate(shapes):
        better = (sizes <= shape).all(1) & (area(shape) < least)
        chosen[better], least[better] = number, area(shape)
    return chosen


def _round_up(
    sizes: np.ndarray, number: np.ndarray, most: int
) -> tuple[np.ndarray, np.ndarray, list[np.ndarray]]:
    """Rounds sizes up to a grid of at most about `most` cells.

    Returns:
      The occupied cells, the number of examples in each, and the sizes of the grid on each axis.
    """
    per_axis = round(most ** (1 / sizes.shape[1]))
    ends, rounded = [], []
    for column in sizes.T:
        there = np.unique(column)
        steps = np.linspace(0, len(there), min(per_axis, len(there)) + 1)[1:]
        ends.append(there[np.ceil(steps).astype(int) - 1])
        rounded.append(ends[-1][np.searchsorted(ends[-1], column)])
    cells, inverse = np.unique(np.stack(rounded, axis=1), axis=0, return_inverse=True)
    return cells, np.bincount(inverse.ravel(), number), ends


def _merge(sizes: np.ndarray, number: np.ndarray, area: Area, count: int) -> np.ndarray:
    """Merges the two shapes whose union adds the least area, until `count` are left."""
    shapes, number = sizes.copy(), number.copy()
    total = number * area(shapes)

    def added_to(row):
        union = area(np.maximum(shapes, shapes[row]))
        return (number + number[row]) * union - total - total[row]

    added = np.stack([added_to(row) for row in range(len(shapes))])
    added[np.tril_indices(len(added))] = np.inf
    alive = np.ones(len(shapes), bool)
    for _ in range(len(shapes) - count):
        kept, gone = np.unravel_index(added.argmin(), added.shape)
        shapes[kept] = np.maximum(shapes[kept], shapes[gone])
        number[kept] += number[gone]
        total[kept] = number[kept] * area(shapes[kept])
        alive[gone], added[gone], added[:, gone] = False, np.inf, np.inf
        row = np.where(alive, added_to(kept), np.inf)
        added[kept, kept + 1 :], added[:kept, kept] = row[kept + 1 :], row[:kept]
    return shapes[alive]


def _descend(
    sizes: np.ndarray,
    number: np.ndarray,
    shapes: np.ndarray,
    area: Area,
    candidates: Callable[[np.ndarray], np.ndarray],
) -> np.ndarray:
    """Moves one shape at a time to the best of its candidates, while the total area decreases."""

    def areas(shapes):
        """The area of each example in each shape, infinite where it does not fit."""
        return np.where((sizes[:, None] <= shapes).all(-1), area(shapes), np.inf)

    shapes, own = shapes.copy(), areas(shapes)
    least, before = number @ own.min(1), np.inf
    while least < before:
        before = least
        for row, shape in enumerate(shapes):
            others = np.delete(own, row, axis=1).min(1, initial=np.inf)
            choices = candidates(shape)
            each = areas(choices)
            totals = number @ np.minimum(each, others[:, None])
            best = totals.argmin()
            if totals[best] < least:
                shapes[row], own[:, row], least = choices[best], each[:, best], totals[best]
    return shapes


def _variants(shape: np.ndarray, ends: list[np.ndarray]) -> np.ndarray:
    """Returns the shape with each of its sizes changed to each size of the grid."""
    found = []
    for axis, values in enumerate(ends):
        variants = np.repeat(shape[None], len(values), axis=0)
        variants[:, axis] = values
        found.append(variants)
    return np.concatenate(found)
