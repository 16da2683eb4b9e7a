import jax
import jax.numpy as jnp
import numpy as np
import pytest

from recur.classic.markov import (
    MarkovChain,
    fit_chain,
    from_probabilities,
    log_likelihood,
    sample,
    stationary,
)
from recur_tests.helpers import assert_close

INITIAL = np.array([0.5, 0.0, 0.5])
TRANSITION = np.array([[0.2, 0.8, 0.0], [0.5, 0.25, 0.25], [0.0, 0.9, 0.1]])
SEQUENCES = [np.array([0, 1, 1, 2, 1]), np.array([], int), np.array([2]), [0, 1, 0]]


def chain():
    return from_probabilities(INITIAL, TRANSITION)


def by_hand(states):
    probability = INITIAL[states[0]]
    for before, state in zip(states[:-1], states[1:], strict=True):
        probability *= TRANSITION[before, state]
    return probability


def test_the_likelihood_is_a_product_whose_gradient_counts():
    """What is impossible is counted too: without NaN, and so it stays impossible."""
    rows = np.array([[0, 1, 1, 2, 1], [2, 2, 1, -1, 99], [0, 2, 2, 1, 1], [7, 7, 7, 7, 7]])
    both = jax.vmap(jax.value_and_grad(log_likelihood), (None, 0, 0))
    found, gradient = jax.jit(both)(chain(), rows, np.array([5, 3, 4, 0]))
    expected = [by_hand([0, 1, 1, 2, 1]), by_hand([2, 2, 1]), 0.0, 1.0]
    assert_close(np.exp(found), np.array(expected), 1e-12)
    assert found[2] == -np.inf
    assert_close(np.asarray(gradient.log_initial), np.eye(4)[[0, 2, 0, 3], :3])
    counts = np.array([[0.0, 0, 1], [0, 0, 0], [0, 1, 1]])
    assert_close(np.asarray(gradient.log_transition[2]), counts)
    assert not gradient.log_transition[3].any()
    assert log_likelihood(chain(), np.zeros(0, int)) == 0


def test_the_fit_is_by_counts():
    fitted = fit_chain(SEQUENCES, 4)
    expected = [[0, 1, 0, 0], [1 / 3, 1 / 3, 1 / 3, 0], [0, 1, 0, 0], [0.25] * 4]
    assert_close(np.exp(fitted.log_transition), np.array(expected), 1e-12)
    assert_close(np.exp(fitted.log_initial), np.array([2 / 3, 0, 1 / 3, 0]), 1e-12)
    smooth = fit_chain(SEQUENCES, 4, smoothing=0.5)
    assert_close(np.exp(smooth.log_transition[0]), np.array([0.5, 2.5, 0.5, 0.5]) / 4, 1e-12)
    assert_close(np.exp(smooth.log_initial), np.array([2.5, 0.5, 1.5, 0.5]) / 5, 1e-12)


def test_samples_are_of_the_chain():
    def draw(key):
        return jax.vmap(lambda key: sample(chain(), key, 10))(jax.random.split(key, 3000))

    states = np.asarray(jax.jit(draw)(jax.random.key(0)))
    assert states.dtype == np.int32
    fitted = fit_chain(states, 3)
    often = np.bincount(states[:, :-1].ravel(), minlength=3)[:, None]
    for log_found, expected, count in [
        (fitted.log_initial, INITIAL, len(states)),
        (fitted.log_transition, TRANSITION, often),
    ]:
        deviation = np.sqrt(expected * (1 - expected) / count)
        assert (abs(np.exp(log_found) - expected) <= 4.5 * deviation).all()


@pytest.mark.parametrize("dtype", [np.float32, np.float16, jnp.bfloat16])
def test_chains_of_16_bits_draw_as_others_do(dtype):
    """With the noise in 16 bits, of 300 states that are as likely the first come too often."""
    states = 300
    alike = np.full((states, states), -np.log(states), dtype)
    drawn = jax.jit(lambda key: sample(MarkovChain(alike[0], alike), key, 20_000))
    deviation = np.sqrt((states**2 - 1) / 12 / 20_000)
    assert abs(np.asarray(drawn(jax.random.key(0))).mean() - (states - 1) / 2) < 4.5 * deviation
    found = np.asarray(stationary(MarkovChain(alike[0], alike)), np.float64)
    assert_close(found, np.full(states, 1 / states), 1e-3)


def test_the_stationary_distribution_stays_and_is_the_long_run():
    find = jax.jit(stationary)
    found = np.asarray(find(chain()))
    assert_close(found @ TRANSITION, found, 1e-12)
    assert_close(found, np.linalg.matrix_power(TRANSITION, 200)[1], 1e-12)
    turn = from_probabilities([1, 0, 0], [[0, 1, 0], [0, 0, 1], [1, 0, 0]])
    assert_close(np.asarray(find(turn)), np.full(3, 1 / 3), 1e-12)
    ends = from_probabilities([1, 0, 0], [[0.5, 0.5, 0], [0.2, 0.3, 0.5], [0, 0, 1]])
    assert_close(np.asarray(find(ends)), np.array([0.0, 0, 1]), 1e-12)


APART = [[0.5, 0.5, 0], [0.5, 0.5, 0], [0, 0, 1]]


@pytest.mark.parametrize(
    ("call", "error", "message"),
    [
        (lambda: from_probabilities([0.5, 0.4], np.eye(2)), ValueError, "and they sum to 0.9"),
        (lambda: from_probabilities([1, 0], [[1, 0], [1, 1]]), ValueError, "row 1 sums to 2. Div"),
        (lambda: from_probabilities([1.5, -0.5], np.eye(2)), ValueError, "to 1, got -0.5"),
        (lambda: from_probabilities([np.nan, 1], np.eye(2)), ValueError, "to 1, got nan"),
        (
            lambda: from_probabilities(1.0, np.eye(2)),
            ValueError,
            r"with 1 axes, got the shape \[\]",
        ),
        (lambda: from_probabilities([], np.eye(2)), ValueError, r"axes, got the shape \[0\]"),
        (lambda: from_probabilities([1], np.eye(2)), ValueError, r"\[S, S\], got \[1\] and \[2, 2"),
        (lambda: fit_chain([[0], [0, 3]], 3), ValueError, "sequence 1: .* 0 to 2, got 3 at step 1"),
        (
            lambda: fit_chain([[0.5]], 3),
            TypeError,
            "sequence 0: expected integer states, got float",
        ),
        (lambda: fit_chain([[[1]]], 3), ValueError, r"expected states of \[T\], got \[1, 1\]"),
        (lambda: fit_chain([[], []], 3), ValueError, "at least one sequence .* got 2 sequences"),
        (lambda: fit_chain([[0]], 0), ValueError, "fit_chain: states: expected a whole number"),
        (lambda: fit_chain([[0]], 1, -1.0), ValueError, "smoothing of at least 0, got -1.0"),
        (lambda: log_likelihood(TRANSITION, [0]), TypeError, "a MarkovChain, got ndarray"),
        (lambda: log_likelihood(chain(), jnp.array([0, -1])), ValueError, "got -1 at step 1"),
        (lambda: log_likelihood(chain(), jnp.zeros(2)), TypeError, "integer states, got float"),
        (lambda: log_likelihood(chain(), jnp.array([[0]])), ValueError, "Use jax.vmap for rows"),
        (lambda: log_likelihood(chain(), jnp.array([0]), 2), ValueError, "length: expected from 0"),
        (lambda: sample(chain(), jax.random.PRNGKey(0), 3), TypeError, "expected a typed key"),
        (lambda: sample(chain(), jax.random.key(0), -1), ValueError, "steps: expected a whole"),
        (
            lambda: stationary(from_probabilities([1, 0, 0], APART)),
            ValueError,
            "more than one stationary",
        ),
        (lambda: stationary(MarkovChain(jnp.zeros(2), jnp.zeros(2))), ValueError, r"and \[2\]"),
    ],
)
def test_wrong_input(call, error, message):
    with pytest.raises(error, match=message):
        call()


@pytest.mark.parametrize("outside", [-1, 2])
def test_where_states_are_not_known_one_outside_counts_for_nothing(outside):
    chain = from_probabilities([0.5, 0.5], [[0.75, 0.25], [0.5, 0.5]])
    states = jnp.array([0, 1, outside, 1, 1])
    with pytest.raises(ValueError, match=f"from 0 to 1, got {outside} at step 2"):
        log_likelihood(chain, states)
    found = jax.jit(log_likelihood)(chain, states)
    assert_close(jnp.exp(found), 0.5 * 0.25 * 0.5, 1e-12)
    first = jax.jit(log_likelihood)(chain, states[2:])
    assert_close(jnp.exp(first), 0.5, 1e-12)
