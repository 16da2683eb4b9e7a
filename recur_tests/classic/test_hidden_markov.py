import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

from recur.classic import baum_welch, hidden_markov, markov
from recur.classic.hidden_markov import (
    HiddenMarkov,
    from_probabilities,
    init,
    log_likelihood,
    normalise,
    observe,
    sample,
)
from recur.train import init_state, make_step
from recur_tests.helpers import assert_close
from recur_tests.oracles.hidden_markov import enumerate_paths

INITIAL = np.array([0.6, 0.4, 0.0])
TRANSITION = np.array([[0.7, 0.3, 0.0], [0.1, 0.6, 0.3], [0.5, 0.0, 0.5]])
EMISSION = np.array([[0.9, 0.1, 0.0, 0.0], [0.1, 0.4, 0.5, 0.0], [0.0, 0.2, 0.2, 0.6]])


def model():
    return from_probabilities(INITIAL, TRANSITION, EMISSION)


def test_the_likelihood_of_symbols_is_that_of_all_paths():
    """In rows of all lengths; ids in the padding are of no vocabulary."""
    rows = [[0, 1, 3, 2, 2], [1, 1, 0], [3, 0]]
    xs = np.full((3, 5), -7)
    for row, symbols in zip(xs, rows, strict=True):
        row[: len(symbols)] = symbols
    lengths = jnp.array([len(row) for row in rows])

    def mean(logits):
        likelihoods = jax.vmap(log_likelihood, (None, 0, 0))(normalise(logits), xs, lengths)
        return jnp.where(jnp.isfinite(likelihoods), likelihoods, 0).sum(), likelihoods

    logits = jax.tree.map(lambda leaf: leaf + 3, model())
    (_, found), gradient = jax.jit(jax.value_and_grad(mean, has_aux=True))(logits)
    expected = [enumerate_paths(INITIAL, TRANSITION, EMISSION[:, row].T).likelihood for row in rows]
    assert_close(np.exp(found), np.array(expected), 1e-12)
    assert found[2] == -jnp.inf  # no state begins with the symbol 3
    for leaf, probabilities in zip(
        jax.tree.leaves(gradient), (INITIAL, TRANSITION, EMISSION), strict=True
    ):
        assert np.isfinite(leaf).all() and leaf.any()
        assert not leaf[probabilities == 0].any()  # so that what is impossible stays so


def test_what_is_observed_is_read_off_the_emissions():
    found = observe(model(), jnp.array([3, 0, 9]), 2)
    assert_close(np.exp(found), np.array([EMISSION[:, 3], EMISSION[:, 0], np.ones(3)]), 1e-12)


def test_a_model_may_be_of_numpy():
    log = [np.log(np.where(p > 0, p, 1e-9)) for p in (INITIAL, TRANSITION, EMISSION)]
    mine = HiddenMarkov(markov.MarkovChain(*log[:2]), log[2])
    xs = np.array([[0, 1, 2], [2, 2, 3]])
    theirs = jax.tree.map(jnp.asarray, mine)
    rows = [jax.vmap(lambda x, m=m: log_likelihood(m, x))(xs) for m in (mine, theirs)]
    assert_close(*rows)
    states, symbols = sample(mine, jax.random.key(0), 4)
    assert states.shape == symbols.shape == (4,)
    assert_close(*(baum_welch.update(m, xs)[0].log_emission for m in (mine, theirs)))
    assert log_likelihood(mine, []) == 0 == markov.log_likelihood(mine.chain, [])


def test_samples_are_of_the_model():
    steps = 20_000
    states, xs = jax.jit(sample, static_argnums=2)(model(), jax.random.key(0), steps)
    assert states.dtype == xs.dtype == jnp.int32
    joint = np.zeros((3, 4))
    np.add.at(joint, (np.asarray(states), np.asarray(xs)), 1)
    often = joint.sum(1, keepdims=True)
    deviation = np.sqrt(EMISSION * (1 - EMISSION) / often)
    assert (abs(joint / often - EMISSION) <= 4.5 * deviation).all()
    followed = np.zeros((3, 3))
    np.add.at(followed, (np.asarray(states[:-1]), np.asarray(states[1:])), 1)
    assert not followed[TRANSITION == 0].any() and followed[TRANSITION > 0].all()


def test_gradients_find_what_baum_and_welch_find():
    """Optax in the logits, from the same start, with the step that trains everything else."""
    true = from_probabilities([0.8, 0.2], [[0.9, 0.1], [0.2, 0.8]], [[0.8, 0.2], [0.1, 0.9]])
    optimizer = optax.sgd(0.3, momentum=0.8)

    def mean(model, xs):
        return jax.vmap(log_likelihood, (None, 0))(model, xs).mean()

    def loss(logits, carry, xs, key):
        return -mean(normalise(logits), xs), (carry, {})

    step = make_step(loss, optimizer)

    @jax.jit
    def fit_both_ways(logits):
        keys = jax.random.split(jax.random.key(0), 20)
        xs = jax.vmap(lambda key: sample(true, key, 30)[1])(keys)
        state = init_state(logits, optimizer, jax.random.key(1))
        _, means = jax.lax.scan(
            lambda model, _: baum_welch.update(model, xs), normalise(logits), length=60
        )
        _, metrics = jax.lax.scan(lambda state, _: step(state, xs), state, length=60)
        return means, -metrics["loss"], mean(true, xs)

    counted, descended, of_the_truth = fit_both_ways(init(jax.random.key(0), 2, 2))
    assert_close(counted[0], descended[0], 1e-12)
    assert counted[0] < of_the_truth - 1
    assert counted[-1] > of_the_truth + 0.3  # as the fit to so little data must be
    assert abs(counted[-1] - descended[-1]) < 0.01


def test_what_is_shared_is_at_hand():
    assert all(hasattr(hidden_markov, name) for name in hidden_markov.__all__)
    assert list(hidden_markov.__all__) == sorted(hidden_markov.__all__)


@pytest.mark.parametrize(
    ("call", "error", "message"),
    [
        (lambda: from_probabilities([1], [[1]], [[0.5, 0.6]]), ValueError, "emission: .* 1.1. Div"),
        (lambda: from_probabilities([1], [[1]], np.eye(2)), ValueError, r"of \[1, V\], .*\[2, 2\]"),
        (lambda: observe(model(), jnp.array([0, 4])), ValueError, "0 to 3, got 4 at step 1"),
        (lambda: observe(model(), jnp.array([0.5])), TypeError, "integer symbols, got float64"),
        (lambda: observe(model(), jnp.array([[0]])), ValueError, r"symbols of \[T\], got \[1, 1\]"),
        (lambda: log_likelihood(model().chain, [0]), TypeError, "HiddenMarkov, got MarkovChain"),
        (lambda: log_likelihood(model(), jnp.array([0]), 2), ValueError, "length: expected from 0"),
        (lambda: sample(EMISSION, jax.random.key(0), 1), TypeError, "HiddenMarkov, got ndarray"),
        (lambda: sample(model(), 0, 1), TypeError, "expected a typed key, got 0"),
        (lambda: sample(model(), jax.random.key(0), 0.5), ValueError, "steps: expected a whole"),
        (lambda: init(jax.random.key(0), 0, 2), ValueError, "states: expected a whole number"),
        (lambda: init(jax.random.key(0), 2, 0), ValueError, "symbols: expected a whole number"),
        (lambda: init(None, 2, 2), TypeError, "expected a typed key, got None"),
        (
            lambda: sample(HiddenMarkov(1, 2), jax.random.key(0), 1),
            TypeError,
            "MarkovChain, got in",
        ),
    ],
)
def test_wrong_input(call, error, message):
    with pytest.raises(error, match=message):
        call()


@pytest.mark.parametrize("outside", [-1, 3, 99])
def test_where_symbols_are_not_known_one_outside_is_a_missing_observation(outside):
    model = hidden_markov.from_probabilities([0.6, 0.4], [[0.7, 0.3], [0.4, 0.6]], EMITTED)
    xs = jnp.array([0, outside, 2])
    with pytest.raises(ValueError, match=f"from 0 to 2, got {outside} at step 1"):
        hidden_markov.observe(model, xs)
    log_scores = jax.jit(hidden_markov.observe)(model, xs)
    assert not log_scores[1].any()
    np.testing.assert_array_equal(log_scores[::2], np.log(np.array(EMITTED)).T[[0, 2]])
    updated, _ = jax.jit(baum_welch.update)(model, xs[None])
    assert_close(jnp.exp(updated.log_emission[:, 1]), np.zeros(2), 1e-12)


EMITTED = [[0.1, 0.4, 0.5], [0.6, 0.3, 0.1]]
