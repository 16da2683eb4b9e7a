import jax
import jax.numpy as jnp
import numpy as np
import pytest

from recur.classic.noise_distribution import draw_noise, unigram_noise


def test_tables_of_the_noise_hold_the_distribution():
    counts = np.append(np.random.default_rng(0).integers(0, 1000, 50), [0, 10**6, 1])
    kept, other = unigram_noise(counts)
    shares = kept.astype(float)
    np.add.at(shares, other, 1 - kept.astype(float))
    weights = counts**0.75
    np.testing.assert_allclose(shares / len(counts), weights / weights.sum(), atol=1e-7)
    assert not shares[counts == 0].any() and ((kept >= 0) & (kept <= 1)).all()


def test_draws_come_as_often_as_the_noise_says():
    noise = unigram_noise(np.array([16, 0, 81, 1]))
    drawn = jax.jit(lambda key: draw_noise(key, noise, (100, 300)))(jax.random.key(0))
    assert drawn.shape == (100, 300) and drawn.dtype == jnp.int32
    shares = np.bincount(np.ravel(drawn), minlength=4) / drawn.size
    np.testing.assert_allclose(shares, np.array([8, 0, 27, 1]) / 36, atol=0.01)


def test_wrong_input():
    with pytest.raises(TypeError, match="expected a typed key"):
        draw_noise(0, unigram_noise([1, 2]), (3,))
    for counts in ([[1, 2]], [1, -1], [0, 0], [], [np.nan, 1], [np.inf, 1]):
        with pytest.raises(ValueError, match="expected the count of each word"):
            unigram_noise(counts)
