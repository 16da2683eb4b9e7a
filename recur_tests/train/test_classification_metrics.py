import warnings

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from recur.train import accuracy, confusion_matrix, f1_score, top_k_accuracy
from recur_tests.helpers import assert_close

DRAWS = np.random.default_rng(0)
SIZE = 6
LOGITS = DRAWS.standard_normal((7, 9, SIZE))
TARGETS = DRAWS.integers(0, SIZE - 1, (7, 9))  # the last class is never a target
MASK = DRAWS.random((7, 9)) < 0.6
WEIGHTS = DRAWS.random((7, 9))
PREDICTED = LOGITS.argmax(-1)


def confusion_by_hand(weights):
    counts = np.zeros((SIZE, SIZE))
    for target, predicted, weight in zip(
        TARGETS[MASK], PREDICTED[MASK], weights[MASK], strict=True
    ):
        counts[target, predicted] += weight
    return counts


def f1_by_hand(weights, average):
    counts = confusion_by_hand(weights)
    if average == "micro":
        return np.trace(counts) / counts.sum()
    scores = []
    for label in range(SIZE):
        found, actual = counts[:, label].sum(), counts[label].sum()
        if found + actual:
            precision = counts[label, label] / found if found else 0
            recall = counts[label, label] / actual if actual else 0
            both = precision + recall
            scores.append(2 * precision * recall / both if both else 0)
    return np.mean(scores)


each_weights = pytest.mark.parametrize("weights", [None, WEIGHTS], ids=["counts", "weights"])


@pytest.mark.parametrize("predicted", [LOGITS, PREDICTED, PREDICTED.astype(np.int8)])
@each_weights
def test_accuracy(predicted, weights):
    w = np.ones_like(WEIGHTS) if weights is None else weights
    expected = (w * (PREDICTED == TARGETS))[MASK].sum() / w[MASK].sum()
    assert_close(accuracy(predicted, TARGETS, MASK, weights).value(), expected, 1e-12)
    assert_close(jax.jit(accuracy)(predicted, TARGETS, MASK, weights).value(), expected, 1e-12)


@pytest.mark.parametrize("k", [1, 2, 5, 6, 9])
@each_weights
def test_top_k_accuracy(k, weights):
    w = np.ones_like(WEIGHTS) if weights is None else weights
    best = np.argsort(-LOGITS, axis=-1)[..., :k]
    hits = (best == TARGETS[..., None]).any(-1)
    expected = (w * hits)[MASK].sum() / w[MASK].sum()
    assert_close(top_k_accuracy(LOGITS, TARGETS, MASK, weights, k=k).value(), expected, 1e-12)


def test_equal_logits_have_the_order_of_top_k():
    logits = jnp.asarray(np.round(LOGITS) + 0.0, jnp.bfloat16)  # no -0.0
    best = np.asarray(jax.lax.top_k(logits, 2)[1])
    expected = (best == TARGETS[..., None]).any(-1)
    assert_close(top_k_accuracy(logits, TARGETS, k=2).value(), np.mean(expected), 1e-6)
    top = top_k_accuracy(logits, TARGETS, MASK, k=1)
    assert_close(top.value(), accuracy(logits, TARGETS, MASK).value(), 1e-6)


def test_logits_that_are_not_numbers_are_wrong():
    logits = np.full((3, 2), np.nan)
    targets = np.array([0, 1, 0])
    assert accuracy(logits, targets).value() == 0
    assert top_k_accuracy(logits, targets, k=1).value() == 0
    assert top_k_accuracy(logits, targets, k=2).value() == 0
    assert f1_score(logits, targets, num_classes=2).value() == 0
    assert not confusion_matrix(logits, targets, num_classes=2).counts.any()


@each_weights
def test_confusion_matrix(weights):
    expected = confusion_by_hand(np.ones_like(WEIGHTS) if weights is None else weights)
    for predicted in (LOGITS, PREDICTED):
        found = confusion_matrix(predicted, TARGETS, MASK, weights, num_classes=SIZE).value()
        assert_close(np.asarray(found, float), expected, 1e-12)


@pytest.mark.parametrize("average", ["macro", "micro"])
@each_weights
def test_f1_score(average, weights):
    expected = f1_by_hand(np.ones_like(WEIGHTS) if weights is None else weights, average)
    for size in (SIZE, SIZE + 3):  # classes that do not occur do not count
        found = f1_score(PREDICTED, TARGETS, MASK, weights, num_classes=size, average=average)
        assert_close(found.value(), expected, 1e-6)


def test_precision_and_recall_by_class():
    counts = confusion_by_hand(np.ones_like(WEIGHTS))
    score = f1_score(PREDICTED, TARGETS, MASK, num_classes=SIZE + 1)
    right = np.append(np.diag(counts), 0)
    with np.errstate(invalid="ignore"):
        assert_close(score.precision(), right / np.append(counts.sum(0), 0), 1e-6)
        assert_close(score.recall(), right / np.append(counts.sum(1), 0), 1e-6)
    assert np.isnan(score.f1()[SIZE]) and score.f1()[SIZE - 1] == 0


def test_unknown_classes_outside_are_not_counted():
    predicted, targets = np.array([0, 1, 7, -1]), np.array([0, -2, 1, 1])
    found = jax.jit(lambda *ids: f1_score(*ids, num_classes=2))(predicted, targets)
    assert found.correct.tolist() == [1, 0]
    assert found.predicted.tolist() == [1, 1]
    assert found.actual.tolist() == [1, 2]
    counts = jax.jit(lambda *ids: confusion_matrix(*ids, num_classes=2))(predicted, targets).counts
    assert counts.tolist() == [[1, 0], [0, 0]]


@each_weights
def test_scikit_learn(weights):
    metrics = pytest.importorskip("sklearn.metrics")
    options = {"sample_weight": None if weights is None else weights[MASK]}
    truth, found = TARGETS[MASK], PREDICTED[MASK]
    assert_close(
        accuracy(LOGITS, TARGETS, MASK, weights).value(),
        metrics.accuracy_score(truth, found, **options),
        1e-12,
    )
    labels = list(range(SIZE))
    for k in (2, 3):
        assert_close(
            top_k_accuracy(LOGITS, TARGETS, MASK, weights, k=k).value(),
            metrics.top_k_accuracy_score(truth, LOGITS[MASK], k=k, labels=labels, **options),
            1e-12,
        )
    matrix = metrics.confusion_matrix(truth, found, labels=labels, **options)
    counts = confusion_matrix(LOGITS, TARGETS, MASK, weights, num_classes=SIZE).counts
    assert_close(np.asarray(counts, float), matrix.astype(float), 1e-12)
    for average in ("macro", "micro"):
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            expected = metrics.f1_score(truth, found, average=average, **options)
        score = f1_score(PREDICTED, TARGETS, MASK, weights, num_classes=9, average=average)
        assert_close(score.value(), expected, 1e-6)
    score = f1_score(LOGITS, TARGETS, MASK, weights, num_classes=SIZE)
    rows = metrics.precision_recall_fscore_support(
        truth, found, labels=labels, zero_division=np.nan, **options
    )
    assert_close((score.precision(), score.recall()), rows[:2], 1e-6)
