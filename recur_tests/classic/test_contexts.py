import json

import numpy as np
import pytest

from recur.classic.contexts import Contexts, keep_probability

LENGTHS = [1, 2, 5, 1, 9, 3, 0, 4]
BOUNDS = np.cumsum([0, *LENGTHS])
# Every word comes once, so that a window tells where it lies.
SENTENCES = [np.arange(*bounds) for bounds in zip(BOUNDS[:-1], BOUNDS[1:], strict=True)]
CENTERS = [word for sentence in SENTENCES if len(sentence) > 1 for word in sentence]


def take(contexts, count):
    """The next windows, each as its center and its valid contexts."""
    found = []
    while len(found) < count:
        windows = next(contexts)
        assert windows.centers.dtype == windows.contexts.dtype == np.int32
        rows = zip(windows.centers.tolist(), windows.contexts, windows.mask, strict=True)
        found += [(center, words[valid].tolist()) for center, words, valid in rows]
    return found


def test_windows_are_what_stands_around_a_word():
    contexts, reaches = Contexts(SENTENCES, batch_size=len(CENTERS), window=3, sample=None), []
    for _ in range(300):
        found = take(contexts, len(CENTERS))
        assert sorted(center for center, _ in found) == CENTERS  # each once an epoch
        for center, words in found:
            [sentence] = [each for each in SENTENCES if center in each]
            reach = max(abs(word - center) for word in words)
            assert words == [w for w in sentence if w != center and abs(w - center) <= reach]
            if min(center - sentence[0], sentence[-1] - center) >= 3:
                reaches.append(reach)
    shares = np.bincount(reaches)[1:] / len(reaches)
    np.testing.assert_allclose(shares, 1 / 3, atol=0.05)


def test_what_does_not_count_is_a_word_of_the_vocabulary():
    windows = next(Contexts(SENTENCES, batch_size=25, window=4, sample=None))
    assert windows.contexts.shape == windows.mask.shape == (25, 8)
    assert not windows.mask.all() and not windows.contexts[~windows.mask].any()
    assert windows.mask.any(1).all()


def test_frequent_words_are_dropped_before_windows_are_cut():
    sentences = [np.array([2 * n + 1, 0, 2 * n + 2]) for n in range(4000)]
    contexts = Contexts(sentences, batch_size=1000, window=1, sample=0.02)
    ratio = 0.02 * 3
    probability = np.sqrt(ratio) + ratio
    assert keep_probability(contexts.counts, 0.02)[0] == pytest.approx(probability)
    assert contexts.windows_per_epoch == int(8000 + 4000 * probability)
    found = take(contexts, 20_000)
    joined = np.mean([0 not in words for center, words in found if center])
    assert joined == pytest.approx(1 - probability, abs=0.02)
    for center, words in found:
        if center and 0 not in words:
            assert words == [center + 1 if center % 2 else center - 1]


def test_how_likely_words_are_kept():
    np.testing.assert_allclose(
        keep_probability(np.array([90, 9, 1, 0]), 0.01),
        [np.sqrt(1 / 90) + 1 / 90, np.sqrt(1 / 9) + 1 / 9, 1, 1],
    )
    assert (keep_probability([5, 0], None) == 1).all()


def test_goes_on_where_it_was():
    def contexts(seed=4):
        return Contexts(SENTENCES, batch_size=7, window=2, sample=0.05, seed=seed)

    one, found = contexts(), []
    for _ in range(9):
        state = json.loads(json.dumps(one.get_state()))
        windows = next(one)
        other = contexts()
        other.set_state(state)
        for expected, again in zip(windows, next(other), strict=True):
            np.testing.assert_array_equal(expected, again)
        found.append(windows.centers.tolist())
    assert one.get_state()["epoch"] > 1  # batches reach into the next epoch
    assert take(contexts(), 7) == take(contexts(), 7) != take(contexts(seed=5), 7)
    assert len({tuple(centers) for centers in found}) == 9
    assert [row.centers.tolist() for row, _ in zip(contexts(), range(9), strict=False)] == found


@pytest.mark.parametrize(
    ("change", "expected"),
    [
        ({"sentences": SENTENCES[::-1]}, "checksum of sentences"),
        ({"sentences": [np.arange(25)]}, "checksum of sentences"),
        ({"batch_size": 6}, "batch_size 6, got one with batch_size 7"),
        ({"window": 3}, "window 3, got one with window 2"),
        ({"sample": None}, "sample None, got one with sample 0.05"),
        ({"seed": 5}, "seed 5, got one with seed 4"),
    ],
)
def test_the_position_of_another_stream_is_refused(change, expected):
    options = {"sentences": SENTENCES, "batch_size": 7, "window": 2, "sample": 0.05, "seed": 4}
    position = json.loads(json.dumps(Contexts(**options).get_state()))
    with pytest.raises(ValueError, match=f"Contexts.set_state: .* stream with {expected}"):
        Contexts(**options | change).set_state(position)


def test_counts_are_of_all_words():
    contexts = Contexts([np.array([2, 2, 0]), [], np.array([2])], batch_size=1)
    assert contexts.counts.tolist() == [1, 0, 3]


def test_epochs_that_keep_nothing_are_told():
    contexts = Contexts(SENTENCES, batch_size=1, sample=1e-12)
    with pytest.raises(ValueError, match="1000 epochs kept too few neighbours .* Raise sample"):
        next(contexts)


@pytest.mark.parametrize(
    ("change", "error", "message"),
    [
        ({"sentences": [np.array([0.5, 1.0])]}, TypeError, "sentence 0: expected integer ids, got"),
        ({"sentences": [[1, 2], [1, -2]]}, ValueError, "sentence 1: expected a vector of ids from"),
        ({"sentences": [[[1, 2]]]}, ValueError, "sentence 0: expected a vector of ids from 0 on"),
        ({"sentences": []}, ValueError, "expected a sentence of at least two words, got none"),
        ({"sentences": [[1], [2]]}, ValueError, "expected a sentence of at least two words"),
        ({"batch_size": 0}, ValueError, "batch_size: expected a whole number of at least 1, got 0"),
        ({"window": 0}, ValueError, "window: expected a whole number of at least 1, got 0"),
        (
            {"batch_size": 10**10},
            ValueError,
            "batch_size of at most 25, the words .* got 10000000000",
        ),
        ({"seed": -1}, ValueError, "seed: expected a whole number of at least 0, got -1"),
        ({"sample": 0.0}, ValueError, "expected sample above 0, or None, got 0.0"),
    ],
)
def test_wrong_input(change, error, message):
    with pytest.raises(error, match=message):
        Contexts(**{"sentences": SENTENCES, "batch_size": 2, **change})
