import functools

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

from recur.classic.contexts import Contexts
from recur.classic.noise_distribution import unigram_noise
from recur.classic.word2vec import (
    ContextWindows,
    Word2Vec,
    cbow,
    init_word2vec,
    skip_gram,
    word2vec_loss,
)
from recur.classic.word_vectors import WordVectors
from recur.train import fit, init_state, make_step
from recur_tests.helpers import assert_close
from recur_tests.oracles import word2vec as oracle

DRAWS = np.random.default_rng(0)
PARAMS = Word2Vec(DRAWS.standard_normal((7, 4)), DRAWS.standard_normal((7, 4)))
WINDOWS = [(3, [1, 2, 1]), (0, [6]), (6, []), (3, [3, 4])]
NEGATIVES = np.array([[0, 5, 5], [0, 0, 2], [1, 2, 3], [4, 3, 0]])  # some are the center itself


def padded(windows):
    """The windows in four columns, with holes, and words of the vocabulary in them."""
    contexts = DRAWS.integers(0, 7, (len(windows), 4)).astype(np.int32)
    valid = np.zeros(contexts.shape, bool)
    for row, (_, words) in enumerate(windows):
        places = np.sort(DRAWS.permutation(4)[: len(words)])
        contexts[row, places], valid[row, places] = words, True
    return ContextWindows(np.array([center for center, _ in windows], np.int32), contexts, valid)


@pytest.mark.parametrize("objective", [skip_gram, cbow], ids=["skip_gram", "cbow"])
def test_losses_and_gradients_are_the_papers(objective):
    windows = padded(WINDOWS)
    weights = DRAWS.random(windows.mask.shape if objective is skip_gram else len(WINDOWS))

    def weighted(params):
        losses = objective(params, windows, NEGATIVES)
        return (jnp.asarray(weights) * losses).sum(), losses

    params = jax.tree.map(jnp.asarray, PARAMS)
    gradient, losses = jax.jit(jax.grad(weighted, has_aux=True))(params)
    if objective is skip_gram:
        rows = [row[valid] for row, valid in zip(weights, windows.mask, strict=True)]
        expected, *gradients = oracle.skip_gram(*PARAMS, WINDOWS, NEGATIVES, rows)
        assert not losses[~windows.mask].any()
        losses, expected = losses[windows.mask], np.concatenate(expected)
    else:
        expected, *gradients = oracle.cbow(*PARAMS, WINDOWS, NEGATIVES, weights)
    assert_close(losses, jnp.asarray(expected), 1e-12)
    assert_close(gradient, Word2Vec(*map(jnp.asarray, gradients)), 1e-12)


def test_params_start_as_in_the_original():
    params = init_word2vec(jax.random.key(0), words=300, features=5, dtype=jnp.float32)
    assert params.input.shape == params.output.shape == (300, 5)
    assert params.input.dtype == params.output.dtype == jnp.float32
    assert not params.output.any()
    assert 0.09 < params.input.max() <= 0.1 and -0.1 <= params.input.min() < -0.09


def test_the_loss_is_the_sum_and_reports_the_mean():
    windows, key = padded(WINDOWS), jax.random.key(3)
    only = unigram_noise(np.eye(7)[5])  # every negative is word 5
    params = jax.tree.map(jnp.asarray, PARAMS)
    for objective, count in ((skip_gram, 6), (cbow, 3)):
        total, (carry, metrics) = jax.jit(word2vec_loss(objective, only, 2))(
            params, None, windows, key
        )
        expected = jax.jit(objective)(params, windows, np.full((4, 2), 5)).sum()
        assert_close((total, metrics["nats"]), (expected, expected / count), 1e-12)
        assert carry is None


def test_the_sum_is_finite_in_half_precision():
    params = init_word2vec(jax.random.key(0), 9, 4, jnp.float16)
    windows = ContextWindows(
        np.zeros(4000, int), np.ones((4000, 10), int), np.ones((4000, 10), bool)
    )
    loss = word2vec_loss(skip_gram, unigram_noise(np.ones(9)))
    total, (_, metrics) = loss(params, None, windows, jax.random.key(0))
    assert 100_000 < float(total) < np.inf and 1 < float(metrics["nats"]) < 6 * np.log(2) + 0.1


def test_negatives_are_as_many_as_asked_for_and_new_with_each_key():
    seen = []

    def objective(params, windows, negatives):
        seen.append(negatives)
        return params.input[:, 0]

    loss = word2vec_loss(objective, unigram_noise(np.ones(7)), negatives=20)
    for seed in (0, 0, 1):
        loss(PARAMS, None, padded(WINDOWS), jax.random.key(seed))
    first, again, other = map(np.asarray, seen)
    assert first.shape == (4, 20) and len(np.unique(first)) == 7
    assert (first == again).all() and (first != other).any()


ROWS, COLUMNS = 4, 3


def planted():
    """Sentences over a grid of words: each is between words of its row and of its column."""
    grid = np.arange(ROWS * COLUMNS).reshape(ROWS, COLUMNS)
    of_row = 100 + np.arange(3 * ROWS).reshape(ROWS, 3)
    of_column = 200 + np.arange(3 * COLUMNS).reshape(COLUMNS, 3)
    sentences = []
    for _ in range(2500):
        i, j = DRAWS.integers(ROWS), DRAWS.integers(COLUMNS)
        sentences.append([DRAWS.choice(of_row[i]), grid[i, j], DRAWS.choice(of_column[j])])
    used, ids = np.unique(sentences, return_inverse=True)
    return [str(word) for word in used], ids.reshape(-1, 3)


@functools.cache
def learned(objective):
    """The vectors that an objective finds in the planted sentences."""
    words, sentences = planted()
    contexts = Contexts(list(sentences), batch_size=500, window=1, sample=None, seed=1)
    optimizer = optax.adagrad(0.3)
    params = init_word2vec(jax.random.key(0), len(words), 8)
    step = jax.jit(make_step(word2vec_loss(objective, unigram_noise(contexts.counts)), optimizer))
    state = init_state(params, optimizer, jax.random.key(1))
    state = fit(step, state, contexts, steps=120, report_every=60)
    return WordVectors(tuple(words), np.asarray(state.params.input))


@pytest.mark.parametrize("objective", [skip_gram, cbow], ids=["skip_gram", "cbow"])
def test_words_of_the_same_contexts_come_near_each_other(objective):
    vectors = learned(objective)
    for first in [*range(100, 112, 3), *range(200, 209, 3)]:
        group = {str(first + n) for n in range(3)}
        for word in group:
            assert {near for near, _ in vectors.nearest(word, 2)} == group - {word}


@pytest.mark.parametrize("objective", [skip_gram, cbow], ids=["skip_gram", "cbow"])
def test_analogies_of_the_grid_come_out(objective):
    vectors = learned(objective)
    right = [
        vectors.analogy(str(COLUMNS * i + j), str(COLUMNS * i + n), str(COLUMNS * m + j))[0][0]
        == str(COLUMNS * m + n)
        for i in range(ROWS)
        for m in range(ROWS)
        for j in range(COLUMNS)
        for n in range(COLUMNS)
        if i != m and j != n
    ]
    assert np.mean(right) > 0.9


def test_wrong_input():
    windows, key = padded(WINDOWS), jax.random.key(0)
    for bad in (NEGATIVES[:3], NEGATIVES[0]):
        with pytest.raises(ValueError, match=r"a row of negatives for each of the 4 windows"):
            skip_gram(PARAMS, windows, bad)
    with pytest.raises(ValueError, match="words: expected a whole number of at least 1, got 0"):
        init_word2vec(key, 0, 3)
    with pytest.raises(ValueError, match="features: expected a whole number of at least 1"):
        init_word2vec(key, 3, 0.5)
    with pytest.raises(TypeError, match="expected a typed key"):
        init_word2vec(jax.random.PRNGKey(0), 3, 3)
    with pytest.raises(ValueError, match="negatives: expected a whole number of at least 1, got 0"):
        word2vec_loss(cbow, unigram_noise([1, 2]), 0)
    with pytest.raises(ValueError, match="params of the 2 words of the noise, got 7"):
        word2vec_loss(cbow, unigram_noise([1, 2]))(PARAMS, None, windows, key)


@pytest.mark.parametrize("objective", [skip_gram, cbow])
def test_words_outside_the_vocabulary_are_refused_or_do_not_count(objective):
    draws = np.random.default_rng(0)
    params = Word2Vec(*map(jnp.asarray, draws.standard_normal((2, 5, 3))))
    mask, negatives = np.array([[True, True], [True, False]]), np.array([[0, 1], [2, 3]])
    centers, contexts = np.array([1, 2]), np.array([[3, 4], [0, 9]])
    good = ContextWindows(centers, contexts, mask)
    expected = objective(params, good, negatives)  # what is masked may be outside
    for change, kept, what in (
        ({"centers": np.array([1, -1])}, mask & [[True], [False]], "centers"),
        ({"contexts": np.array([[3, 5], [0, 9]])}, mask & [[True, False]] * 2, "contexts that"),
    ):
        windows = good._replace(**change)
        with pytest.raises(ValueError, match=f"expected {what} .*from 0 to 4, got"):
            objective(params, windows, negatives)
        found = jax.jit(objective)(params, windows, negatives)
        assert_close(found, objective(params, good._replace(mask=kept), negatives), 1e-12)
    with pytest.raises(ValueError, match="word2vec: expected negatives from 0 to 4, got 5"):
        objective(params, good, negatives + 2)
    own = np.array([[0, 1], [2, 2]])  # a negative that is the center does not count
    found = jax.jit(objective)(params, good, np.where(own == negatives, own, 99))
    assert_close(found, objective(params, good, own), 1e-12)
    assert expected.shape == found.shape
