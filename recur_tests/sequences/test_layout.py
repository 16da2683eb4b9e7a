"""`pad`, `bucket` and `pack`: the place of every step of every example."""

import itertools

import hypothesis
import jax
import numpy as np
import pytest
from hypothesis import strategies as st

from recur.sequences import Example, Layout, bucket, find_boundaries, make_batches, pack, pad

LENGTHS = [3, 0, 7, 1, 4, 4, 2, 6, 5]
LAYOUTS = {
    "pad": pad(),
    "pad-length": pad(9),
    "bucket": bucket((3, 7)),
    "bucket-count": bucket(count=3),
    "pack": pack(8),
    "pack-slots": pack(10, slots=2),
    "pack-cut": pack(4, cut=True),
}


def examples(lengths):
    """Draws examples in which every step has a unique number."""
    ends = np.cumsum(lengths)
    return [
        Example(
            steps={"a": np.arange(end - n, end) + 1, "b": np.full((n, 2), end, np.float32)},
            label=np.int16(end),
        )
        for n, end in zip(lengths, ends, strict=True)
    ]


def check(source, lengths, layout, rows, longest):
    """Checks that each example is in the batches once and complete; the rest is zero."""
    batches = make_batches(source, layout, rows)
    seen = []
    for batch in batches:
        count, steps = batch.mask.shape
        assert rows is None or count == rows
        assert batch.steps["a"].shape == (count, steps)
        assert batch.steps["b"].shape == (count, steps, 2)
        assert batch.steps["b"].dtype == np.float32 and batch.label.dtype == np.int16
        assert batch.number.shape == batch.begin.shape == batch.label.shape
        expected = np.zeros((count, steps), int)
        starts = np.zeros((count, steps), bool)
        for row, slot in np.argwhere(batch.present):
            number, begin = batch.number[row, slot], batch.begin[row, slot]
            length = min(lengths[number], longest)
            assert batch.length[row, slot] == length
            assert batch.label[row, slot] == source[number].label
            assert not expected[row, begin : begin + length].any()
            expected[row, begin : begin + length] = source[number].steps["a"][:length]
            starts[row, begin : begin + min(length, 1)] = True
            seen.append(int(number))
        assert (batch.steps["a"] == expected).all()
        assert (batch.mask == (expected > 0)).all()
        assert (batch.steps["b"][..., 0] > 0).tolist() == batch.mask.tolist()
        assert (batch.mask[:, 1:] <= batch.mask[:, :-1]).all()  # padding at the end alone
        if batch.number.shape[1] > 1:
            assert (batch.reset == starts).all()
        else:
            assert batch.reset is None
    assert sorted(seen) == list(range(len(source)))
    return batches


@pytest.mark.parametrize("rows", [None, 1, 2, 4])
@pytest.mark.parametrize("name", LAYOUTS)
def test_every_step_of_every_example_is_there_once(name, rows):
    longest = 4 if name == "pack-cut" else 99
    batches = check(examples(LENGTHS), LENGTHS, LAYOUTS[name], rows, longest)
    shapes = {batch.mask.shape[1] for batch in batches}
    limit = {"bucket": {3, 7}, "pad-length": {9}, "pack": {8}, "pack-slots": {10}, "pack-cut": {4}}
    assert shapes <= limit.get(name, shapes)
    assert name != "pack-slots" or max(batch.present.sum(1).max() for batch in batches) == 2


@hypothesis.given(
    lengths=st.lists(st.integers(0, 12), min_size=1, max_size=20),
    rows=st.none() | st.integers(1, 5),
    name=st.sampled_from(["pad", "bucket-count", "pack"]),
    room=st.integers(12, 30),
)
@hypothesis.settings(max_examples=60)
def test_random_lengths(lengths, rows, name, room):
    layout = pack(room) if name == "pack" else LAYOUTS[name]
    check(examples(lengths), lengths, layout, rows, 99)


def test_a_layout_prints_as_its_call():
    assert repr(pad(4)) == "pad(length=4, multiple_of=1, cut=False)"


def test_pad_pads_to_the_longest_of_each_batch_or_to_the_length():
    source = examples(LENGTHS)
    assert [b.mask.shape for b in make_batches(source, pad(), 4)] == [(4, 7), (4, 6), (4, 5)]
    assert [b.mask.shape for b in make_batches(source, pad(8), 5)] == [(5, 8), (5, 8)]


def test_a_bucket_holds_what_is_about_as_long():
    for batch in make_batches(examples(LENGTHS), bucket((2, 4, 7)), 3):
        shorter = {2: -1, 4: 2, 7: 4}[batch.mask.shape[1]]
        assert (batch.length[batch.present] > shorter).all()


def test_packing_leaves_little_padding():
    lengths = np.random.default_rng(0).geometric(1 / 16, 400).clip(max=64).tolist()
    batches = make_batches(examples(lengths), pack(128), 4)
    full = batches[: len(batches) - 1]
    assert sum(b.mask.sum() for b in full) > 0.95 * sum(b.mask.size for b in full)


@hypothesis.given(st.lists(st.integers(0, 9), min_size=1, max_size=12), st.integers(1, 5))
@hypothesis.settings(max_examples=60)
def test_boundaries_are_the_best_there_are(lengths, count):
    """Against all possible choices."""
    ends = sorted({max(n, 1) for n in lengths})

    def padding(boundaries):
        return sum(min(b for b in boundaries if b >= n) - n for n in lengths)

    choices = [
        (*chosen, ends[-1])
        for size in range(min(count, len(ends)))
        for chosen in itertools.combinations(ends[:-1], size)
    ]
    found = find_boundaries(lengths, count)
    assert list(found) == sorted(set(found)) and len(found) <= count
    assert padding(found) == min(map(padding, choices))


def test_a_bare_pytree_is_an_example_without_label_and_context():
    [batch] = make_batches([(np.ones(2), np.zeros((2, 1), int))], pad())
    assert batch.label is None and batch.context is None
    assert [leaf.shape for leaf in batch.steps] == [(1, 2), (1, 2, 1)]


def test_contexts_come_by_row_and_are_layer_kwargs():
    source = [Example(np.ones(n), context={"image": np.full(3, n)}) for n in (2, 1)]
    for layout in (pad(), bucket((2,))):
        [batch] = make_batches(source, layout, batch_size=3)
        assert batch.context["image"].tolist() == [[2] * 3, [1] * 3, [0] * 3]
        assert (
            batch.layer_kwargs["context"] is batch.context and batch.layer_kwargs["reset"] is None
        )


def test_a_batch_is_a_pytree():
    [batch] = make_batches(examples(LENGTHS), pack(8))
    again = jax.jit(lambda batch: batch)(batch)
    assert jax.tree.all(jax.tree.map(lambda a, b: (a == b).all(), again, batch))
    assert (again.present == batch.present).all()


TWO = [np.ones((2, 3)), np.ones((4, 3))]


@pytest.mark.parametrize(
    ("call", "error", "message"),
    [
        (lambda: make_batches([], pad()), ValueError, "at least one example, got an empty"),
        (lambda: make_batches(TWO, pad), TypeError, "expected a layout, such as pad"),
        (
            lambda: make_batches(TWO, pad(), 0),
            ValueError,
            "batch_size: expected a whole number of at least 1, got 0",
        ),
        (
            lambda: make_batches([*TWO, np.ones((2, 4))], pad()),
            ValueError,
            r"2: .*\[3\].*\[4\]",
        ),
        (
            lambda: make_batches([*TWO, np.ones((2, 3), int)], pad()),
            ValueError,
            "2: .*int64",
        ),
        (
            lambda: make_batches([*TWO, (np.ones((2, 3)),)], pad()),
            ValueError,
            "2: expected Ex",
        ),
        (
            lambda: make_batches([Example(TWO[0], 1), Example(TWO[1])], pad()),
            ValueError,
            "example 1: .*label=int64.* got .*label=None",
        ),
        (lambda: make_batches([[1, 2, 3]], pad()), ValueError, "example 0: .* numpy.asarray"),
        (lambda: make_batches([{}], pad()), ValueError, "example 0: expected steps as arrays"),
        (
            lambda: make_batches([{"a": np.ones(2), "b": np.ones(3)}], pad()),
            ValueError,
            "example 0: expected arrays with the same number of steps, got a 2, b 3. Pass a",
        ),
        (
            lambda: make_batches(TWO, pad(3)),
            ValueError,
            "pad: expected examples of at most 3 steps, got 4 in example 1",
        ),
        (lambda: make_batches(TWO, bucket((1, 3))), ValueError, "bucket: .* 4 in example 1"),
        (
            lambda: make_batches(TWO, pack(3)),
            ValueError,
            "pack: .* example 1. Allow 4 steps, .* cut=True",
        ),
        (
            lambda: make_batches([Example(TWO[0], context={"image": 1})], pack(9)),
            ValueError,
            "example 0 has a context .'image'.: .* Use pad or bucket, or put the context",
        ),
        (
            lambda: make_batches(TWO, pad(), 2.0),
            ValueError,
            "batch_size: expected .* got 2.0",
        ),
        (lambda: make_batches(iter(TWO), pad()), TypeError, "got list_iterator. Put a"),
        (
            lambda: make_batches({"x": TWO[0]}, pad()),
            TypeError,
            "expected a list of .* dict",
        ),
        (lambda: make_batches(Example(TWO[0]), pad()), TypeError, "got Example. Put a single"),
        (lambda: make_batches([np.array(["a"])], pad()), TypeError, "example 0: .* words to ids"),
        (
            lambda: make_batches([Example(TWO[0], context=3)], pad()),
            TypeError,
            "example 0: expected a context as a mapping of names to values, got ndarray",
        ),
        (lambda: pad(0), ValueError, "pad: length: expected a whole number of at least 1, got 0"),
        (lambda: pad(2.5), ValueError, "pad: length: expected a whole number"),
        (lambda: pack(0), ValueError, "pack: length: expected a whole number of at least 1"),
        (lambda: pack(3, slots=0), ValueError, "pack: slots: expected a whole number"),
        (lambda: bucket(), ValueError, "either boundaries or a count"),
        (lambda: bucket((1,), count=1), ValueError, "either boundaries or a count"),
        (lambda: bucket(count=0), ValueError, "bucket: count: expected .* at least 1, got 0"),
        (lambda: bucket(5), ValueError, "got 5. To find a number of boundaries, pass count"),
        (lambda: bucket((1.5, 2)), ValueError, "whole numbers that ascend"),
        (lambda: bucket((3, 3)), ValueError, r"ascend from at least 1, got \(3, 3\)"),
        (lambda: bucket(()), ValueError, "ascend from at least 1"),
        (lambda: bucket((0, 2)), ValueError, "ascend from at least 1"),
        (lambda: find_boundaries([], 2), ValueError, "at least one length, got none"),
        (lambda: find_boundaries([1, -1], 2), ValueError, "got -1 for example 1"),
        (lambda: find_boundaries([2.5, 3.7], 2), TypeError, "expected integers, got float64"),
    ],
)
def test_wrong_input(call, error, message):
    with pytest.raises(error, match=message):
        call()


def test_an_empty_context_is_none():
    [batch] = make_batches([Example(TWO[0], context={})], pack(9))
    assert not batch.context


def test_a_layout_is_a_value():
    assert isinstance(pack(3), Layout)
    assert pack(3).shares_rows and not pad().shares_rows
