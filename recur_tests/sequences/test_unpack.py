"""Recovery of the sequences from the rows of a batch."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from recur.sequences import (
    TimeMajorBatch,
    bucket,
    first_steps,
    last_steps,
    make_batches,
    pack,
    pad,
    segments,
    unpack,
)

LENGTHS = [3, 0, 7, 1, 4, 4, 2]
SOURCE = [np.arange(n) + 10.0 * i for i, n in enumerate(LENGTHS)]
LAYOUTS = {"pad": pad(), "bucket": bucket((3, 7)), "pack": pack(8)}
every_layout = pytest.mark.parametrize("layout", LAYOUTS.values(), ids=LAYOUTS.keys())


@every_layout
def test_pieces_are_the_examples(layout):
    pieces = {}
    for batch in make_batches(SOURCE, layout, 2):
        pieces |= unpack({"x": jnp.asarray(batch.steps)}, batch)
    assert sorted(pieces) == list(range(len(SOURCE)))
    for number, piece in pieces.items():
        assert piece["x"].tolist() == SOURCE[number].tolist()


@every_layout
@pytest.mark.parametrize("function", [unpack, segments, last_steps, first_steps])
def test_time_major_batches_give_the_same(layout, function):
    majors = make_batches(SOURCE, layout, 2, time_major=True)
    for major, batch in zip(majors, make_batches(SOURCE, layout, 2), strict=True):
        assert isinstance(major, TimeMajorBatch) and not isinstance(batch, TimeMajorBatch)
        wide = np.repeat(batch.steps[..., None], 2, axis=-1)
        tree = {"x": batch.steps, "wide": wide}
        found = function(jax.tree.map(lambda leaf: leaf.swapaxes(0, 1), tree), major)
        assert jax.tree.all(jax.tree.map(np.array_equal, found, function(tree, batch)))
        on_device = jax.jit(lambda batch: batch)(major)
        assert isinstance(on_device, TimeMajorBatch)
        assert unpack(on_device.steps, on_device).keys() == unpack(batch.steps, batch).keys()


def test_arrays_of_a_time_major_batch_have_the_time_axis_first():
    [batch] = make_batches(SOURCE, pad(8), time_major=True)
    with pytest.raises(ValueError, match=r"unpack: expected arrays \[T, B, ...\] .* = \[8, 7\]"):
        unpack(np.ones((7, 8)), batch)


@every_layout
def test_segments_are_the_examples_padded(layout):
    for batch in make_batches(SOURCE, layout, 2):
        for steps in (None, 7):
            values, valid = jax.jit(segments, static_argnums=2)(batch.steps, batch, steps)
            values, valid = np.asarray(values), np.asarray(valid)
            assert (
                values.shape == valid.shape == (*batch.number.shape, steps or batch.mask.shape[1])
            )
            for (row, slot), number in np.ndenumerate(batch.number):
                expected = SOURCE[number] if number >= 0 else np.zeros(0)
                assert values[row, slot][valid[row, slot]].tolist() == expected.tolist()
                assert not values[row, slot][~valid[row, slot]].any()


@every_layout
def test_last_and_first_steps(layout):
    for batch in make_batches(SOURCE, layout, 2):
        rows = len(batch.mask)
        tree = {"x": batch.steps, "wide": np.repeat(batch.steps[..., None], 2, axis=-1)}
        empty = {"x": np.full(rows, -1.0), "wide": np.full((rows, 2), -1.0)}
        for function, at in ((last_steps, -1), (first_steps, 0)):
            for instead, value in ((None, 0.0), (empty, -1.0)):
                found = jax.device_get(function(tree, batch, instead))
                for (row, slot), number in np.ndenumerate(batch.number):
                    real = number >= 0 and LENGTHS[number]
                    expected = SOURCE[number][at] if real else value
                    assert found["x"][row, slot] == expected
                    assert found["wide"][row, slot].tolist() == [expected] * 2


def test_losses_of_steps_become_losses_of_sequences():
    [batch] = make_batches(SOURCE, pack(8))
    losses = segments(batch.steps, batch)[0].sum(-1)
    expected = [SOURCE[number].sum() for number in batch.number[batch.present]]
    assert losses[batch.present].tolist() == expected


@pytest.mark.parametrize("function", [unpack, segments, last_steps, first_steps])
def test_arrays_of_another_shape_are_an_error(function):
    [batch] = make_batches(SOURCE, pad())
    message = rf"{function.__name__}: expected arrays \[B, T, ...\] .* \[7, 7\], got .* \[7, 6\]"
    with pytest.raises(ValueError, match=message):
        function(np.ones((7, 6)), batch)


def test_segments_cut_nothing_off():
    [batch] = make_batches(SOURCE, pack(8))
    with pytest.raises(ValueError, match="length of row .*: expected from 0 to 6, .* got 7"):
        segments(batch.steps, batch, 6)


def test_what_stands_for_empty_sequences_has_an_entry_a_row():
    [batch] = make_batches(SOURCE, pack(8))
    with pytest.raises(ValueError, match=r"empty: expected one entry per row, of shape \[\d\]"):
        last_steps(batch.steps, batch, np.zeros((9, 1)))


def test_segments_of_no_steps_are_an_error():
    [batch] = make_batches(SOURCE, pad())
    with pytest.raises(ValueError, match="segments: steps: expected a whole number .* got 0"):
        segments(batch.steps, batch, 0)
