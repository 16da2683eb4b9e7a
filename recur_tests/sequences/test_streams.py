import json

import numpy as np
import pytest

from recur.sequences import Streams, whole_rows

DOCUMENTS = [np.arange(100 * i, 100 * i + n) for i, n in enumerate([7, 30, 2, 12, 9])]
WINDOWS = [(3, 4, 4), (3, 4, 7), (2, 5, 11), (1, 3, 3), (4, 1, 2)]
STEPS = sorted(int(token) for document in DOCUMENTS for token in document[:-1])


@pytest.mark.parametrize(("rows", "k1", "k2"), WINDOWS)
def test_every_step_is_new_once_an_epoch(rows, k1, k2):
    streams = Streams(DOCUMENTS, rows, k1, k2)
    for _ in range(2):
        new = []
        for _ in range(len(streams)):
            window = next(streams)
            assert {part.shape for part in window} == {(rows, k2)}
            assert (window.targets - window.inputs == 1)[window.mask].all()
            new += window.inputs[:, -k1:][window.mask[:, -k1:]].tolist()
        assert sorted(new) == STEPS


def test_windows_overlap_by_what_is_read_again():
    streams = Streams(DOCUMENTS, batch_size=2, k1=3, k2=8)
    before = next(streams)
    assert not before.mask[:, :5].any() and before.reset[:, 5].all()
    for _ in range(len(streams) - 1):
        window = next(streams)
        for part, earlier in zip(window, before, strict=True):
            assert (part[:, :5] == earlier[:, 3:]).all()
        before = window


def test_resets_stand_where_documents_and_streams_start_and_behind_padding():
    streams = Streams(DOCUMENTS, batch_size=3, k1=4, k2=6)
    windows = [next(streams) for _ in range(3 * len(streams))]
    starts = {int(document[0]) for document in DOCUMENTS}
    for row in range(3):
        new = [
            np.concatenate([part[row, -4:] for part in parts])
            for parts in zip(*windows, strict=True)
        ]
        inputs, _, reset, valid = new
        follows = np.concatenate([[False], (inputs[1:] - inputs[:-1] == 1) & valid[:-1]])
        assert (reset == ~follows)[valid].all()
        assert all(reset[t] for t in np.flatnonzero(valid) if int(inputs[t]) in starts)
        assert (valid[1:] <= valid[:-1] | reset[1:]).all()


def test_the_order_is_new_each_epoch_and_of_the_seed():
    def line(seed, epoch):
        streams = Streams(DOCUMENTS, batch_size=1, k1=5, seed=seed)
        count = len(streams)
        return np.concatenate(
            [streams.window(epoch * count + n).inputs[0] for n in range(count)]
        ).tolist()

    assert line(0, 0) == line(0, 0)
    assert line(0, 0) != line(0, 1)
    assert line(0, 0) != line(1, 0)


def test_goes_on_where_it_stood():
    streams, other = (Streams(DOCUMENTS, batch_size=2, k1=3, k2=5) for _ in range(2))
    for _ in range(len(streams) + 2):
        next(streams)
    other.set_state(streams.get_state())
    for _ in range(5):
        for part, same in zip(next(streams), next(other), strict=True):
            assert (part == same).all()


@pytest.mark.parametrize(
    ("change", "expected"),
    [
        ({"documents": [np.arange(500) % 7]}, "checksum of documents"),
        ({"documents": [*DOCUMENTS[:-1], DOCUMENTS[-1] + 1]}, "checksum of documents"),
        ({"batch_size": 3}, "batch_size 3, got one with batch_size 2"),
        ({"k1": 4}, "k1 4, got one with k1 3"),
        ({"k2": 6}, "k2 6, got one with k2 5"),
        ({"seed": 1}, "seed 1, got one with seed 0"),
    ],
)
def test_the_position_of_another_stream_is_refused(change, expected):
    options = {"documents": DOCUMENTS, "batch_size": 2, "k1": 3, "k2": 5}
    position = json.loads(json.dumps(Streams(**options).get_state()))
    other = Streams(**options | change)
    with pytest.raises(ValueError, match=f"Streams.set_state: .* stream with {expected}"):
        other.set_state(position)
    assert other.get_state()["window"] == 0


def test_whole_rows_cut_no_document():
    rows = whole_rows(DOCUMENTS, batch_size=3)
    assert rows.inputs.shape[0] == 3
    assert sorted(rows.inputs[rows.mask].tolist()) == STEPS
    assert (rows.targets - rows.inputs == 1)[rows.mask].all()
    starts = {int(document[0]) for document in DOCUMENTS}
    assert set(rows.inputs[rows.reset].tolist()) == starts
    assert rows.inputs.shape[1] == 29  # the longest
    assert whole_rows(DOCUMENTS, batch_size=99).inputs.shape[0] == len(DOCUMENTS)


@pytest.mark.parametrize(
    ("call", "error", "message"),
    [
        (lambda: Streams(DOCUMENTS, 2, 4, 3), ValueError, "k2 >= k1, got k1=4 and k2=3"),
        (lambda: Streams(DOCUMENTS, 2, 0), ValueError, "k1: expected a whole number of at least 1"),
        (lambda: Streams(DOCUMENTS, 6, 10), ValueError, "need at least 60 steps, got 55"),
        (lambda: Streams([], 1, 1), ValueError, "at least one document"),
        (lambda: Streams([np.ones(3)], 1, 1), TypeError, "document 0: expected integer tokens"),
        (
            lambda: Streams([np.arange(3), np.arange(1)], 1, 1),
            ValueError,
            "document 1: .* 2 tokens",
        ),
        (
            lambda: whole_rows(DOCUMENTS, 0),
            ValueError,
            "batch_size: expected a whole .* got 0",
        ),
    ],
)
def test_wrong_input(call, error, message):
    with pytest.raises(error, match=message):
        call()
