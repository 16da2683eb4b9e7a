import jax
import jax.numpy as jnp
import numpy as np
import pytest
import scipy.stats

from recur.train import gaussian_mixture_nll, gaussian_nll, masked_mean, quantile_loss
from recur_tests.helpers import assert_close

DRAWS = np.random.default_rng(0)
MASK = DRAWS.random((3, 5)) < 0.6
TARGETS = DRAWS.standard_normal((3, 5, 2))
MEANS, STDDEVS = DRAWS.standard_normal((3, 5, 2)), DRAWS.uniform(0.1, 3, (3, 5, 2))
LOGITS = DRAWS.standard_normal((3, 5, 4))
MANY_MEANS = DRAWS.standard_normal((3, 5, 4, 2))
MANY_STDDEVS = DRAWS.uniform(0.1, 3, (3, 5, 4, 2))
QUANTILES = (0.1, 0.5, 0.9)
PREDICTED = DRAWS.standard_normal((3, 5, 3))


def quantiles_loss(predicted, targets, mask=None):
    return quantile_loss(predicted, targets, mask, quantiles=QUANTILES)


def gaussian_by_hand():
    return -scipy.stats.norm.logpdf(TARGETS, MEANS, STDDEVS).sum(-1)


def mixture_by_hand():
    shares = np.exp(LOGITS) / np.exp(LOGITS).sum(-1, keepdims=True)
    densities = scipy.stats.norm.pdf(TARGETS[..., None, :], MANY_MEANS, MANY_STDDEVS).prod(-1)
    return -np.log((shares * densities).sum(-1))


def quantiles_by_hand():
    losses = np.zeros((3, 5))
    for place in np.ndindex(3, 5):
        for q, p in zip(QUANTILES, PREDICTED[place], strict=True):
            error = TARGETS[*place, 0] - p
            losses[place] += (q * error if error > 0 else (q - 1) * error) / 3
    return losses


CASES = {
    "gaussian": (gaussian_nll, (MEANS, STDDEVS, TARGETS), gaussian_by_hand),
    "mixture": (
        gaussian_mixture_nll,
        (LOGITS, MANY_MEANS, MANY_STDDEVS, TARGETS),
        mixture_by_hand,
    ),
    "quantiles": (quantiles_loss, (PREDICTED, TARGETS[..., 0]), quantiles_by_hand),
}
each_case = pytest.mark.parametrize(("loss", "arrays", "by_hand"), CASES.values(), ids=CASES)


@each_case
def test_equals_the_formula(loss, arrays, by_hand):
    assert_close(loss(*arrays), by_hand(), 1e-12)
    assert_close(loss(*arrays, MASK), np.where(MASK, by_hand(), 0), 1e-12)
    assert_close(jax.jit(loss)(*(each[0, 0] for each in arrays)), by_hand()[0, 0], 1e-12)


@each_case
def test_padding_never_matters(loss, arrays, by_hand):
    def mean(*arrays):
        return masked_mean(loss(*arrays, MASK), MASK)

    every = tuple(range(len(arrays)))
    dirty = [np.where(MASK.reshape(3, 5, *[1] * (a.ndim - 2)), a, np.nan) for a in arrays]
    value, gradients = jax.jit(jax.value_and_grad(mean, every))(*dirty)
    assert_close(value, by_hand()[MASK].mean(), 1e-12)
    clean = jax.grad(mean, every)(*arrays)
    assert_close(gradients, clean, 1e-12)
    for gradient in gradients:
        assert gradient[MASK].any() and not gradient[~MASK].any()


@each_case
def test_padding_is_not_computed_with(loss, arrays, by_hand):
    """Masked zeros are allowed as stddevs, and no step makes a NaN for `jax.debug_nans`."""
    padded = [np.where(MASK.reshape(3, 5, *[1] * (a.ndim - 2)), a, 0) for a in arrays]
    with jax.debug_nans(True), jax.debug_infs(True):
        assert_close(loss(*padded, MASK), np.where(MASK, by_hand(), 0), 1e-12)


@each_case
def test_gradients_are_differences(loss, arrays, by_hand):
    def total(*arrays):
        return loss(*arrays, MASK).sum()

    jax.test_util.check_grads(total, arrays, order=1, modes=["rev"], atol=1e-5, rtol=1e-5)


@each_case
def test_half_precision_is_computed_in_float32(loss, arrays, by_hand):
    narrow = [jnp.asarray(each, jnp.bfloat16) for each in arrays]
    wide = [each.astype(jnp.float32) for each in narrow]
    assert loss(*narrow).dtype == jnp.float32
    assert_close(loss(*narrow), loss(*wide), 1e-6)
    mixed = loss(*narrow[:-1], arrays[-1])
    assert mixed.dtype == jnp.float64


def test_a_mixture_far_from_its_target_does_not_underflow():
    means = np.array([[1e3], [2e3]])
    found, gradient = jax.value_and_grad(gaussian_mixture_nll, 1)(
        np.zeros(2), means, np.ones((2, 1)), np.zeros(1)
    )
    assert_close(found, 1e6 / 2 + np.log(2 * np.pi) / 2 + np.log(2), 1e-12)
    assert_close(gradient, np.array([[1e3], [0.0]]), 1e-12)


def test_a_component_without_probability_does_not_matter():
    logits = np.array([0.0, -np.inf])
    means, stddevs = np.array([[1.0], [5.0]]), np.ones((2, 1))
    found, gradients = jax.value_and_grad(gaussian_mixture_nll, (0, 1, 2))(
        logits, means, stddevs, np.zeros(1)
    )
    assert_close(found, gaussian_nll(means[0], stddevs[0], np.zeros(1)), 1e-12)
    assert all(np.isfinite(gradient).all() for gradient in gradients)


def test_a_mixture_of_one_is_a_gaussian():
    found = gaussian_mixture_nll(
        LOGITS[..., :1], MEANS[..., None, :], STDDEVS[..., None, :], TARGETS
    )
    assert_close(found, gaussian_by_hand(), 1e-12)


def test_the_mean_quantile_loss_is_that_of_scikit_learn():
    metrics = pytest.importorskip("sklearn.metrics")
    expected = [
        metrics.mean_pinball_loss(TARGETS[..., 0][MASK], PREDICTED[..., i][MASK], alpha=q)
        for i, q in enumerate(QUANTILES)
    ]
    found = masked_mean(quantiles_loss(PREDICTED, TARGETS[..., 0], MASK), MASK)
    assert_close(found, np.mean(expected), 1e-12)
