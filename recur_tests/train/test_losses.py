import math

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from recur.train import bits, cross_entropy, masked_mean, perplexity
from recur_tests.helpers import assert_close

DRAWS = np.random.default_rng(0)
LOGITS = DRAWS.standard_normal((3, 5, 7))
TARGETS = DRAWS.integers(0, 7, (3, 5))
VALID = DRAWS.random((3, 5)) < 0.6


def by_hand(logits, targets):
    exponentials = np.exp(logits)
    chosen = np.take_along_axis(exponentials, targets[..., None], -1)[..., 0]
    return -np.log(chosen / exponentials.sum(-1))


def test_is_the_negative_log_likelihood():
    assert_close(cross_entropy(LOGITS, TARGETS), by_hand(LOGITS, TARGETS), 1e-12)
    expected = np.where(VALID, by_hand(LOGITS, TARGETS), 0)
    assert_close(cross_entropy(LOGITS, TARGETS, VALID), expected, 1e-12)


def test_what_stands_in_the_padding_never_matters_not_in_gradients_either():
    def loss(logits, targets):
        return masked_mean(cross_entropy(logits, targets, VALID), VALID)

    dirty = np.where(VALID[..., None], LOGITS, np.nan)
    outside = np.where(VALID, TARGETS, 99)
    value, gradient = jax.value_and_grad(loss)(dirty, outside)
    assert_close(value, by_hand(LOGITS, TARGETS)[VALID].mean(), 1e-12)
    clean = jax.grad(loss)(LOGITS, TARGETS)
    assert_close(gradient, clean, 1e-12)
    assert not gradient[~VALID].any()


@pytest.mark.parametrize("outside", [-1, -100, 7, 300])
def test_where_labels_are_not_known_one_outside_has_no_weight(outside):
    targets = np.where(VALID, TARGETS, outside)
    losses, gradient = jax.jit(jax.vmap(jax.value_and_grad(total)))(LOGITS, targets)
    assert_close(losses, np.where(VALID, by_hand(LOGITS, TARGETS), 0).sum(1), 1e-12)
    assert not gradient[~VALID].any() and gradient[VALID].any()
    known = jax.jit(lambda logits: cross_entropy(logits, targets))
    with pytest.raises(ValueError, match=f"0 to 6, got {outside} at step"):
        known(LOGITS)


def total(logits, targets):
    return cross_entropy(logits, targets).sum()


def test_half_precision_is_summed_in_float32():
    losses = cross_entropy(jnp.asarray(LOGITS, jnp.bfloat16), TARGETS)
    assert losses.dtype == jnp.float32
    assert cross_entropy(LOGITS, TARGETS).dtype == jnp.float64


WEIGHTS = DRAWS.random(7)


def smoothed_by_hand(logits, targets, weights, smoothing):
    """The formula of PyTorch's cross_entropy with weight, label_smoothing and reduction="none"."""
    log_shares = logits - np.log(np.exp(logits).sum(-1, keepdims=True))
    labels = (1 - smoothing) * np.eye(7)[targets] + smoothing / 7
    return -(weights * labels * log_shares).sum(-1)


@pytest.mark.parametrize("smoothing", [0.0, 0.1, 0.9])
@pytest.mark.parametrize("weights", [np.ones(7), WEIGHTS])
def test_class_weights_and_label_smoothing(weights, smoothing):
    found = cross_entropy(LOGITS, TARGETS, VALID, class_weights=weights, label_smoothing=smoothing)
    expected = smoothed_by_hand(LOGITS, TARGETS, weights, smoothing)
    assert_close(found, np.where(VALID, expected, 0), 1e-12)


@pytest.mark.parametrize("smoothing", [0.0, 0.3])
def test_padding_never_matters_with_weights_and_smoothing(smoothing):
    def loss(logits, weights, targets):
        options = {"class_weights": weights, "label_smoothing": smoothing}
        return masked_mean(cross_entropy(logits, targets, VALID, **options), VALID)

    differentiate = jax.jit(jax.value_and_grad(loss, (0, 1)))
    dirty = np.where(VALID[..., None], LOGITS, np.nan)
    found = differentiate(dirty, WEIGHTS, np.where(VALID, TARGETS, -1))
    assert_close(found, differentiate(LOGITS, WEIGHTS, TARGETS), 1e-12)
    assert not found[1][0][~VALID].any() and found[1][1].any()


def test_class_weights_of_other_dtypes():
    narrow = jnp.asarray(LOGITS, jnp.bfloat16)
    weights = np.arange(7)
    for smoothing in (0.0, 0.1):
        options = {"class_weights": weights, "label_smoothing": smoothing}
        losses = cross_entropy(narrow, TARGETS, **options)
        assert losses.dtype == jnp.float32
        expected = smoothed_by_hand(np.asarray(narrow, float), TARGETS, weights, smoothing)
        assert_close(losses, expected.astype(np.float32), 1e-5)


def test_the_weighted_mean():
    values = np.array([1.0, np.nan, 4.0, np.inf])
    mask = np.array([True, False, True, True])
    weights = np.array([1.0, np.nan, 3.0, 0.0])
    value, gradient = jax.value_and_grad(masked_mean)(values, mask, weights)
    assert value == 3.25
    assert_close(gradient, np.array([0.25, 0.0, 0.75, 0.0]))
    assert masked_mean(values, mask, np.zeros(4)) == 0.0
    assert masked_mean(np.array([1, 2], np.int8), weights=np.array([100, 100], np.int8)) == 1.5
    many = np.ones(3000, np.float16)
    assert masked_mean(many, weights=many * 100) == 1.0


def test_the_weighted_mean_of_class_weights_is_that_of_pytorch():
    losses = cross_entropy(LOGITS, TARGETS, VALID)
    chosen = WEIGHTS[TARGETS][VALID]
    expected = (by_hand(LOGITS, TARGETS)[VALID] * chosen).sum() / chosen.sum()
    assert_close(masked_mean(losses, VALID, WEIGHTS[TARGETS]), expected, 1e-12)


def test_the_mean_counts_valid_steps_only():
    values = np.array([1.0, 2.0, np.nan, 9.0])
    assert masked_mean(values, np.array([True, True, False, True])) == 4.0
    assert masked_mean(np.array([1.0, 2.0])) == 1.5
    assert masked_mean(values, np.zeros(4, bool)) == 0.0
    assert not np.isnan(jax.grad(masked_mean)(values, np.zeros(4, bool))).any()


@pytest.mark.parametrize(
    ("values", "expected"),
    [
        (np.array([True, True, True, False]), 0.75),
        (np.full(300, 100, np.int8), 100.0),
        (np.full(3000, 100, np.float16), 100.0),
        (np.full(70_000, 1, np.float16), 1.0),
        (np.full(3000, 1.0, jnp.bfloat16), 1.0),
    ],
)
def test_a_mean_of_narrow_values_is_summed_in_at_least_float32(values, expected):
    found = masked_mean(values)
    assert found.item() == expected and found.dtype in (jnp.float32, jnp.float64)
    mask = np.arange(len(values)) < 2
    assert masked_mean(values, mask).item() == values[:2].astype(float).mean()


def test_perplexity_and_bits():
    assert_close(perplexity(math.log(12.5)), 12.5, 1e-12)
    assert_close(bits(math.log(8)), 3.0, 1e-7)


@pytest.mark.parametrize(
    ("call", "error", "message"),
    [
        (lambda: cross_entropy(LOGITS, TARGETS * 1.0), TypeError, "expected integer targets"),
        (lambda: cross_entropy(LOGITS, TARGETS[:, :4]), ValueError, r"targets of shape \[3, 5\]"),
        (lambda: cross_entropy(LOGITS, TARGETS, TARGETS), TypeError, "expected mask as bool"),
        (lambda: cross_entropy(LOGITS, TARGETS, VALID[0]), ValueError, r"shape \[3, 5\], got \[5"),
        (
            lambda: cross_entropy(LOGITS, TARGETS - 7 * (TARGETS == 0)),
            ValueError,
            "cross_entropy: expected targets that count from 0 to 6, got -7 at step . of row",
        ),
        (lambda: cross_entropy(LOGITS[0, 0], np.array(7)), ValueError, "0 to 6, got 7.$"),
        (lambda: masked_mean(LOGITS, VALID), ValueError, r"shape \[3, 5, 7\], got \[3, 5\]"),
    ],
)
def test_wrong_input(call, error, message):
    with pytest.raises(error, match=message):
        call()
