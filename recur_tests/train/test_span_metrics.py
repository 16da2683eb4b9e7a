import itertools

import jax
import numpy as np
import pytest

from recur.train import span_f1
from recur_tests.helpers import assert_close

DRAWS = np.random.default_rng(0)
SCHEMES = {
    "BIO": ("O", "B-PER", "I-PER", "B-LOC", "I-LOC", "B-A-B", "I-A-B"),
    "IOBES": tuple(["O", *(f"{p}-{t}" for p in "BIES" for t in ("PER", "LOC"))]),
    "BILOU": tuple(["O", *(f"{p}-{t}" for p in "BILU" for t in ("PER", "LOC"))]),
    "BMES": tuple(["O", *(f"{p}-{t}" for p in "BMES" for t in ("PER", "LOC"))]),
    "no types": ("O", "B", "I"),
}
LENGTHS = DRAWS.integers(1, 12, 40)
MASK = np.arange(12) < LENGTHS[:, None]
AS_IOBES = {"L": "E", "U": "S", "M": "I"}


def spans_of(tags):
    """The spans of a sentence by the rules of conlleval.pl, written as a loop over its steps."""
    spans, before, kind_before, start = set(), "O", "", None
    for step, tag in enumerate([*tags, "O"]):
        prefix, _, kind = tag.partition("-")
        prefix = AS_IOBES.get(prefix, prefix)
        ends = before in ("E", "S") or (before in ("B", "I") and prefix in ("B", "S", "O"))
        ends |= before != "O" and kind_before != kind
        if ends:
            spans.add((kind_before or "_", start, step - 1))
        begins = prefix in ("B", "S") or (before in ("E", "S", "O") and prefix in ("E", "I"))
        begins |= prefix != "O" and kind_before != kind
        if begins:
            start = step
        before, kind_before = prefix, kind
    return spans


def scores_by_hand(predicted, targets, average):
    found, actual = (
        {(row, *span) for row, tags in enumerate(rows) for span in spans_of(tags)}
        for rows in (predicted, targets)
    )

    def score(found, actual):
        return 2 * len(found & actual) / (len(found) + len(actual))

    if average == "micro":
        return score(found, actual)
    kinds = {span[1] for span in found | actual}
    return np.mean(
        [
            score({s for s in found if s[1] == kind}, {s for s in actual if s[1] == kind})
            for kind in kinds
        ]
    )


def draw(tags):
    """Random tags, and predictions of which most are right."""
    targets = DRAWS.integers(0, len(tags), (40, 12))
    wrong = DRAWS.random((40, 12)) < 0.15
    return np.where(wrong, DRAWS.integers(0, len(tags), (40, 12)), targets), targets


def as_names(ids, tags):
    return [
        [tags[i] for i in row[:length]] for row, length in zip(ids, LENGTHS.tolist(), strict=True)
    ]


each_scheme = pytest.mark.parametrize("tags", SCHEMES.values(), ids=SCHEMES)
each_average = pytest.mark.parametrize("average", ["micro", "macro"])


@each_scheme
@each_average
def test_equals_a_loop_over_the_steps(tags, average):
    predicted, targets = draw(tags)
    found = span_f1(predicted, targets, MASK, tags=tags, average=average)
    expected = scores_by_hand(as_names(predicted, tags), as_names(targets, tags), average)
    assert 0.2 < expected < 0.95
    assert_close(found.value(), expected, 1e-6)


def test_all_short_sentences():
    tags = ("O", "B-X", "I-X", "E-X", "S-X", "I-Y")
    every = np.array(list(itertools.product(range(6), repeat=3)))
    predicted, targets = every[DRAWS.permutation(216)], every
    names = [[[tags[i] for i in row] for row in ids] for ids in (predicted, targets)]
    found = span_f1(predicted, targets, tags=tags)
    assert_close(found.value(), scores_by_hand(*names, "micro"), 1e-6)


def test_known_counts():
    tags = ("O", "B-PER", "I-PER", "B-LOC", "I-LOC")
    targets = np.array([1, 2, 0, 3, 4, 1, 0])
    predicted = np.array([1, 2, 2, 3, 4, 1, 1])
    found = span_f1(predicted, targets, tags=tags)
    assert found.names == ("LOC", "PER")
    assert found.correct.tolist() == [1, 1]
    assert found.predicted.tolist() == [1, 3]
    assert found.actual.tolist() == [1, 2]
    assert found.recall().tolist() == [1, 0.5]


def test_logits_and_jit():
    tags = SCHEMES["BIO"]
    predicted, targets = draw(tags)
    logits = np.eye(len(tags))[predicted]
    expected = span_f1(predicted, targets, MASK, tags=tags)
    found = jax.jit(lambda *arrays: span_f1(*arrays, tags=tags))(
        np.where(MASK[..., None], logits, np.nan), np.where(MASK, targets, -1), MASK
    )
    assert_close(found, expected)


def test_packed_rows_equal_padded_rows():
    tags = SCHEMES["BIO"]
    predicted, targets = draw(tags)
    flat = [ids[MASK][None] for ids in (predicted, targets)]
    reset = np.concatenate([np.arange(length) == 0 for length in LENGTHS])[None]
    found = span_f1(*flat, reset=reset, tags=tags)
    assert_close(found, span_f1(predicted, targets, MASK, tags=tags))
    assert found.actual.sum() != span_f1(*flat, tags=tags).actual.sum()


def test_a_row_without_steps():
    found = span_f1(np.zeros((3, 0), int), np.zeros((3, 0), int), tags=("O", "B-X"))
    assert found.actual.tolist() == [0]


@pytest.mark.parametrize("tags", [SCHEMES["BIO"], SCHEMES["IOBES"]], ids=["BIO", "IOBES"])
@each_average
def test_seqeval(tags, average):
    seqeval = pytest.importorskip("seqeval.metrics")
    predicted, targets = draw(tags)
    pair = as_names(targets, tags), as_names(predicted, tags)
    found = span_f1(predicted, targets, MASK, tags=tags, average=average)
    assert_close(found.value(), seqeval.f1_score(*pair, average=average), 1e-6)
    each = seqeval.precision_score(*pair, average=None), seqeval.recall_score(*pair, average=None)
    assert_close((found.precision(), found.recall()), each, 1e-6)
