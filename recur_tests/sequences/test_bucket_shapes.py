"""Bucketing by several lengths: the padding, against all ways to group the examples."""

import hypothesis
import numpy as np
import pytest
from hypothesis import strategies as st

from recur.sequences import Example, Padded, bucket, find_boundaries, make_batches
from recur.sequences.bucket_shapes import find_shapes


def total_sum(shapes):
    return shapes.sum(-1)


def nested_area(shapes):
    """The area of words, their characters, and a source sentence."""
    return shapes[..., 0] + shapes[..., 0] * shapes[..., 1] + shapes[..., 2]


def partitions(items, count):
    """Yields all ways to divide items into at most `count` groups."""
    if not items:
        yield []
        return
    first, *others = items
    for groups in partitions(others, count):
        for number in range(len(groups)):
            yield [*groups[:number], [first, *groups[number]], *groups[number + 1 :]]
        if len(groups) < count:
            yield [[first], *groups]


def least(sizes, area, count):
    """Computes the least area of all examples, by brute force."""
    sizes = np.array(sizes)
    return min(
        sum(len(group) * area(sizes[group].max(0)) for group in groups)
        for groups in partitions(list(range(len(sizes))), count)
    )


def area_in(sizes, shapes, area):
    """Computes the area of examples that are each in the smallest shape that fits."""
    return sum(
        min(area(np.array(shape)) for shape in shapes if all(np.array(shape) >= own))
        for own in sizes
    )


def draw(seed, axes):
    draws = np.random.default_rng(seed)
    first = draws.integers(1, 20, 8)
    others = [np.clip(first + draws.integers(-8, 9, 8), 1, None) for _ in range(axes - 1)]
    return np.stack([first, *others], axis=1)


@pytest.mark.parametrize(("area", "axes"), [(total_sum, 2), (total_sum, 3), (nested_area, 3)])
def test_padding_is_close_to_the_least(area, axes):
    ratios = []
    for seed in range(20):
        sizes = draw(seed, axes)
        for count in (2, 3, 4):
            shapes = find_shapes(sizes, area, count)
            assert len(shapes) <= count
            ratios.append(area_in(sizes, shapes, area) / least(sizes, area, count))
    assert min(ratios) >= 1 and max(ratios) < 1.08 and np.mean(ratios) < 1.002


@hypothesis.given(
    st.lists(st.tuples(*3 * [st.integers(1, 9)]), min_size=1, max_size=20), st.integers(1, 6)
)
@hypothesis.settings(max_examples=60)
def test_every_example_fits_and_every_shape_is_needed(sizes, count):
    shapes = find_shapes(np.array(sizes), nested_area, count)
    assert 1 <= len(shapes) <= count and len(set(shapes)) == len(shapes)
    areas = [nested_area(np.array(shape)) for shape in shapes]
    assert areas == sorted(areas)
    area_in(sizes, shapes, nested_area)  # an error if an example does not fit
    for column, of_shapes in zip(np.array(sizes).T, np.array(shapes).T, strict=True):
        assert set(of_shapes) <= set(column) and of_shapes.max() == column.max()


def test_enough_shapes_leave_no_padding():
    sizes = draw(0, 2)
    distinct = sorted({tuple(each) for each in sizes.tolist()})
    assert sorted(find_boundaries(sizes, len(distinct))) == distinct


def test_more_data_than_cells_of_the_grid():
    """Less padding than buckets of the first length alone, which is exact."""
    draws = np.random.default_rng(0)
    first = np.clip(draws.lognormal(2.9, 0.6, 20_000), 1, 100).astype(int)
    second = np.clip(first * draws.lognormal(0, 0.25, 20_000), 1, 120).astype(int)
    sizes = np.stack([first, second], axis=1)
    assert len(np.unique(sizes, axis=0)) > 1024
    source = sizes.tolist()
    found = find_boundaries(sizes, 8)
    ends = find_boundaries(first, 8)
    groups = np.searchsorted(ends, first)
    simple = sum(
        (groups == k).sum() * (end + second[groups == k].max()) for k, end in enumerate(ends)
    )
    best = area_in(source[:2000], found, total_sum) / sizes[:2000].sum()
    assert best < 1.32 < 1.5 < simple / sizes.sum()


def words_area(shapes):
    """The area of words and their characters."""
    return shapes[..., 0] + shapes[..., 0] * shapes[..., 1]


def test_a_bucket_of_words_counts_the_area_of_their_characters():
    ratios = []
    for seed in range(10):
        sizes = draw(seed, 2)
        source = [
            Example({"word": np.ones(n), "chars": Padded.stack([np.ones(c)] * n)}) for n, c in sizes
        ]
        made = make_batches(source, bucket(count=3), 1)
        arrays = [(batch.steps["word"], batch.steps["chars"].steps) for batch in made]
        area = sum(word.size + chars.size for word, chars in arrays)
        ratios.append(area / least(sizes, words_area, 3))
    assert min(ratios) >= 1 and max(ratios) < 1.05
