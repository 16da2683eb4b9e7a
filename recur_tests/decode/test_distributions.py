"""Samples of Gaussians, mixtures and Bernoulli distributions against SciPy's distributions."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from scipy import stats

from recur.decode import bernoulli, gaussian, gaussian_mixture
from recur.train import gaussian_mixture_nll, gaussian_nll

DRAWS = 20_000
MEANS, STDDEVS = np.array([0.5, -2.0]), np.array([0.4, 2.0])
LOGITS = np.array([0.3, -0.4, 1.1])
MIXED = np.array([[-3.0, 0.0], [0.0, 1.0], [2.0, -4.0]])
SPREADS = np.array([[0.6, 1.0], [1.2, 0.4], [0.4, 1.5]])
TEMPERATURES = [0.3, 1.0, 2.5]


def draw(next_input, y):
    keys = jax.random.split(jax.random.key(0), DRAWS)
    return np.asarray(jax.jit(jax.vmap(next_input, (None, 0)))(y, keys))


@pytest.mark.parametrize("temperature", TEMPERATURES)
def test_gaussian(temperature):
    drawn = draw(gaussian(temperature), (jnp.asarray(MEANS), jnp.asarray(STDDEVS)))
    scale = np.sqrt(temperature) * STDDEVS
    for d in range(2):
        assert stats.kstest(drawn[:, d], stats.norm(MEANS[d], scale[d]).cdf).pvalue > 1e-3
    assert abs(np.corrcoef(drawn.T)[0, 1]) < 4.5 / np.sqrt(DRAWS)  # independent


@pytest.mark.parametrize("temperature", TEMPERATURES)
def test_gaussian_mixture(temperature):
    """The component is the same for all dimensions of a sample."""
    y = tuple(map(jnp.asarray, (LOGITS, MIXED, SPREADS)))
    drawn = draw(gaussian_mixture(temperature), y)
    shares = np.exp(LOGITS / temperature)
    shares /= shares.sum()
    scales = np.sqrt(temperature) * SPREADS
    components = stats.norm(MIXED, scales)
    for d in range(2):

        def cdf(x, d=d):
            return stats.norm(MIXED[:, d], scales[:, d]).cdf(x[:, None]) @ shares

        assert stats.kstest(drawn[:, d], cdf).pvalue > 1e-3
    joint = components.pdf(drawn[:, None]).prod(-1) * shares
    posterior = joint / joint.sum(-1, keepdims=True)
    deviation = np.sqrt(shares * (1 - shares) / DRAWS)
    assert (abs(posterior.mean(0) - shares) < 4.5 * deviation).all()


@pytest.mark.parametrize("temperature", TEMPERATURES)
def test_bernoulli(temperature):
    drawn = draw(bernoulli(temperature), jnp.asarray(LOGITS))
    assert drawn.dtype == bool
    p = 1 / (1 + np.exp(-LOGITS / temperature))
    assert (abs(drawn.mean(0) - p) < 4.5 * np.sqrt(p * (1 - p) / DRAWS)).all()
    assert abs(np.corrcoef(drawn.T)[~np.eye(3, dtype=bool)]).max() < 4.5 / np.sqrt(DRAWS)


def test_a_temperature_of_0_is_the_mode_and_needs_no_key():
    for zero in (0, 0.0, jnp.zeros(())):
        np.testing.assert_array_equal(gaussian(zero)((MEANS, STDDEVS), None), MEANS)
        found = gaussian_mixture(zero)((LOGITS, MIXED, SPREADS), None)
        np.testing.assert_array_equal(found, MIXED[2])
        np.testing.assert_array_equal(bernoulli(zero)(LOGITS, None), [True, False, True])


def test_temperatures_may_be_traced():
    key = jax.random.key(0)
    given = {
        gaussian: (MEANS, STDDEVS),
        gaussian_mixture: (LOGITS, MIXED, SPREADS),
        bernoulli: LOGITS,
    }
    for make, y in given.items():
        expected = make(0.6)(y, key)
        found = jax.jit(lambda value, make=make, y=y: make(value)(y, key))(0.6)
        np.testing.assert_allclose(found, expected, rtol=1e-12)


def test_leading_axes_are_independent():
    """Several mixtures at once, as one for each joint of a body."""
    y = tuple(np.repeat(leaf[None], 4000, axis=0) for leaf in (LOGITS, MIXED, SPREADS))
    drawn = np.asarray(gaussian_mixture()(y, jax.random.key(1)))
    shares = np.exp(LOGITS) / np.exp(LOGITS).sum()

    def cdf(x):
        return stats.norm(MIXED[:, 0], SPREADS[:, 0]).cdf(x[:, None]) @ shares

    assert drawn.shape == (4000, 2)
    assert stats.kstest(drawn[:, 0], cdf).pvalue > 1e-3


def test_half_precision_is_sampled_in_float32():
    y = jnp.zeros(4000, jnp.bfloat16), jnp.ones(4000, jnp.bfloat16)
    drawn = gaussian()(y, jax.random.key(0))
    assert drawn.dtype == jnp.float32 and len(np.unique(drawn)) > 3900


def test_gradients_are_those_of_the_parameters():
    """A sample is mean + stddev · ε, so its derivative by the stddev is ε."""

    def sample(means, stddevs):
        return gaussian(4.0)((means, stddevs), jax.random.key(0))

    x = sample(MEANS, STDDEVS)
    by_mean, by_stddev = jax.jacobian(sample, (0, 1))(MEANS, STDDEVS)
    np.testing.assert_allclose(by_mean, np.eye(2), atol=1e-12)
    np.testing.assert_allclose(by_stddev, np.diag((x - MEANS) / STDDEVS), atol=1e-12)


@pytest.mark.parametrize("name", ["gaussian", "gaussian_mixture"])
def test_samples_have_the_likelihood_of_the_loss(name):
    """The loss of the same outputs is minus the log of SciPy's density."""
    y, make, nll = {
        "gaussian": ((MEANS, STDDEVS), gaussian, gaussian_nll),
        "gaussian_mixture": ((LOGITS, MIXED, SPREADS), gaussian_mixture, gaussian_mixture_nll),
    }[name]
    drawn = draw(make(), tuple(map(jnp.asarray, y)))
    rows = [np.broadcast_to(leaf, (DRAWS, *leaf.shape)) for leaf in y]
    losses = np.asarray(nll(*rows, drawn))
    parts = y if name == "gaussian_mixture" else (np.zeros(1), MEANS[None], STDDEVS[None])
    shares = np.exp(parts[0]) / np.exp(parts[0]).sum()
    densities = stats.norm(*parts[1:]).pdf(drawn[:, None]).prod(-1) @ shares
    np.testing.assert_allclose(losses, -np.log(densities), rtol=1e-9)
