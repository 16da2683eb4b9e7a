"""Forward, backward, smoothing and Viterbi against all paths, with lengths, zeros and NaN."""

import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import recur
from recur.classic import hidden_markov
from recur.classic.forward_backward import backward, filtering, forward, smooth
from recur.classic.markov import MarkovChain, from_probabilities
from recur.classic.viterbi import viterbi
from recur_tests.helpers import assert_close, counting_compilations, weighted_sum
from recur_tests.oracles.hidden_markov import enumerate_paths, scaled_forward

STEPS, STATES = 5, 3
DRAWS = np.random.default_rng(0)


def distribution(*shape):
    weights = DRAWS.gamma(0.7, size=shape)
    return weights / weights.sum(-1, keepdims=True)


# What each row tells of the states: densities, so that they may be above one; and its chain.
SCORES = DRAWS.gamma(1.0, size=(8, STEPS, STATES)) * 3
LENGTHS = np.array([5, 3, 1, 0, 5, 4, 5, 5])
INITIALS, TRANSITIONS = distribution(8, STATES), distribution(8, STATES, STATES)
TRANSITIONS[4] = [[0, 0.5, 0.5], [0, 1, 0], [0, 0.25, 0.75]]  # zeros: a state never come back to
INITIALS[4] = [1, 0, 0]
SCORES[5, 1] = 0  # impossible in the middle
SCORES[6, [0, 3]] = [[0, 0, 2], [3, 0, 0]]  # observations that leave one state
INITIALS[7] *= 3  # weights that are no probabilities
TRANSITIONS[7] *= np.array([[0.5], [2], [4]])
EXPECTED = [
    enumerate_paths(*row[:2], row[2][: row[3]]) if row[3] else None
    for row in zip(INITIALS, TRANSITIONS, SCORES, LENGTHS, strict=True)
]
IMPOSSIBLE, EMPTY = 5, 3


def logs(values):
    with np.errstate(divide="ignore"):
        return np.log(values)


def rows():
    """The chains, scores and lengths, with NaN in the padding."""
    scores = np.where(np.arange(STEPS)[None, :, None] < LENGTHS[:, None, None], SCORES, np.nan)
    chains = MarkovChain(jnp.asarray(logs(INITIALS)), jnp.asarray(logs(TRANSITIONS)))
    return chains, jnp.asarray(logs(scores)), jnp.asarray(LENGTHS)


@functools.cache
def found(parallel):
    """Everything of all rows, in one program."""

    def everything(chain, log_scores, length):
        def known(chain, log_scores):
            both = [f(chain, log_scores, length, parallel=parallel) for f in (forward, backward)]
            (filtered, log_likelihood), log_beta = both
            linear = weighted_sum((jnp.exp(filtered.log_filtered), jnp.exp(log_beta)))
            return (log_likelihood, linear), both

        _, pull, both = jax.vjp(known, chain, log_scores, has_aux=True)
        one, none = jnp.ones(()), jnp.zeros(())
        return {
            "forward": both[0],
            "backward": both[1],
            "smooth": smooth(chain, log_scores, length, parallel=parallel),
            "viterbi": viterbi(chain, log_scores, length, parallel=parallel),
            "gradient": pull((one, none)),
            "gradient of all": pull((none, one)),
        }

    found = jax.jit(jax.vmap(everything))(*rows())
    return jax.tree.map(np.asarray, found)


both = pytest.mark.parametrize("parallel", [False, True], ids=["serial", "parallel"])


def in_proportion(values):
    total = values.sum(-1, keepdims=True)
    return values / np.where(total > 0, total, 1)


@both
def test_forward_and_backward_are_the_sums_over_all_paths(parallel):
    (log_filtered, log_evidence), log_likelihood = found(parallel)["forward"]
    log_beta = found(parallel)["backward"]
    for row, (expected, length) in enumerate(zip(EXPECTED, LENGTHS, strict=True)):
        if expected is not None:
            assert_close(np.exp(log_filtered[row, :length]), in_proportion(expected.alpha), 1e-12)
            assert_close(np.exp(log_beta[row, :length]), in_proportion(expected.beta), 1e-12)
            assert_close(np.exp(log_likelihood[row]), expected.likelihood, 1e-12)
            prefixes = np.exp(np.cumsum(log_evidence[row, :length]))
            assert_close(prefixes, expected.alpha.sum(-1), 1e-12)
        for padding in (log_filtered, log_evidence, log_beta):
            assert not padding[row, length:].any()
    assert log_likelihood[EMPTY] == 0
    assert log_likelihood[IMPOSSIBLE] == -np.inf


@both
def test_smoothing_is_the_posterior_over_all_paths(parallel):
    states, transitions, log_likelihood = found(parallel)["smooth"]
    for row, (expected, length) in enumerate(zip(EXPECTED, LENGTHS, strict=True)):
        if expected is not None:
            assert_close(states[row, :length], expected.gamma, 1e-12)
            assert_close(transitions[row], expected.xi.sum(0), 1e-12)
        assert not states[row, length:].any()
    assert not transitions[EMPTY].any()
    assert not states[IMPOSSIBLE].any()
    np.testing.assert_array_equal(log_likelihood, found(parallel)["forward"][1])


@both
def test_the_best_path_is_the_best_of_all(parallel):
    paths, log_probability = found(parallel)["viterbi"]
    assert paths.dtype == np.int32
    for row, (expected, length) in enumerate(zip(EXPECTED, LENGTHS, strict=True)):
        if expected is not None:
            assert_close(np.exp(log_probability[row]), expected.best_probability, 1e-12)
        if row not in (EMPTY, IMPOSSIBLE):
            np.testing.assert_array_equal(paths[row, :length], expected.best)
        assert not paths[row, length:].any()
    assert log_probability[EMPTY] == 0


@both
def test_the_gradients_are_expected_counts(parallel):
    """D log p(x) / d log w is how often w is expected to be used: no NaN, zero in the padding."""
    chain, scores = found(parallel)["gradient"]
    for row, expected in enumerate(EXPECTED):
        counts = [np.zeros(s.shape[1:]) for s in (INITIALS, TRANSITIONS, SCORES)]
        if expected is not None:
            counts[0] += expected.gamma[0]
            counts[1] += expected.xi.sum(0)
            counts[2][: LENGTHS[row]] += expected.gamma
        assert_close(
            [chain.log_initial[row], chain.log_transition[row], scores[row]], counts, 1e-12
        )


def test_gradients_of_what_is_known_at_each_step_are_the_same_both_ways():
    """Those of the log likelihood have a rule of their own in parallel; these have not."""
    serial, in_parallel = found(False)["gradient of all"], found(True)["gradient of all"]
    assert_close(serial, in_parallel, 1e-11)
    assert all(np.isfinite(leaf).all() for leaf in jax.tree.leaves(serial))
    assert not serial[1][np.arange(STEPS) >= LENGTHS[:, None]].any()


def test_the_gradients_are_the_numerical_ones():
    """That of weights which are no probabilities too, against differences of the enumeration."""
    row, step = 7, 1e-6
    leaves = [INITIALS[row], TRANSITIONS[row], SCORES[row]]
    chain, scores = found(True)["gradient"]
    gradients = [chain.log_initial[row], chain.log_transition[row], scores[row]]
    for which, gradient in enumerate(gradients):
        for place in np.ndindex(gradient.shape):

            def moved(by, which=which, place=place):
                changed = [leaf.copy() for leaf in leaves]
                changed[which][place] *= np.exp(by)
                return np.log(enumerate_paths(*changed).likelihood)

            assert abs(gradient[place] - (moved(step) - moved(-step)) / (2 * step)) < 1e-8


def test_the_filter_is_a_cell_that_every_lift_runs():
    """In pieces with the carry passed on; and normalized from logits."""
    chains, log_scores, _ = rows()
    chain, log_scores = jax.tree.map(lambda leaf: leaf[0], (chains, log_scores))
    layer = recur.scan(filtering())
    logits = jax.tree.map(lambda leaf: leaf + 7, chain)

    def in_pieces(logits, log_scores):
        carry, first = layer.run(logits, log_scores[:2])
        return first, layer.run(logits, log_scores[2:], carry=carry)[1]

    first, second = jax.jit(in_pieces)(logits, log_scores)
    whole = jax.tree.map(lambda *parts: np.concatenate(parts), first, second)
    assert_close(whole, jax.tree.map(lambda leaf: leaf[0], found(False)["forward"][0]), 1e-12)


@both
def test_a_float32_loses_nothing_over_many_steps(parallel):
    """The log likelihood is far from zero; what is known of the states at the end is as exact."""
    scores = np.float32(np.random.default_rng(1).normal(-150, 2, (120, STATES)))
    expected, log_likelihood = scaled_forward(
        INITIALS[0], TRANSITIONS[0], np.exp(np.float64(scores))
    )
    chain = from_probabilities(INITIALS[0], TRANSITIONS[0])
    given = jax.tree.map(lambda leaf: leaf.astype(jnp.float32), (chain, jnp.asarray(scores)))
    found = jax.jit(functools.partial(forward, parallel=parallel))(*given)
    (log_filtered, _), total = jax.tree.map(np.asarray, found)
    assert log_filtered.dtype == total.dtype == np.float32
    assert log_likelihood < -15_000
    assert abs(total / log_likelihood - 1) < 1e-6
    assert abs(np.exp(log_filtered) - expected).max() < 5e-5


def test_sixteen_bits_are_computed_in_float32():
    chain = from_probabilities(INITIALS[0], TRANSITIONS[0])
    short = jax.tree.map(lambda leaf: leaf.astype(jnp.bfloat16), chain)
    assert jax.eval_shape(forward, short, jnp.zeros((2, 3), jnp.bfloat16))[1].dtype == jnp.float32


CHAIN = MarkovChain(np.zeros(3), np.zeros((3, 3)))


@pytest.mark.parametrize("name", ["forward", "backward", "smooth", "viterbi"])
def test_wrong_input(name):
    algorithm = getattr(hidden_markov, name)
    model = hidden_markov.HiddenMarkov(CHAIN, jnp.zeros((3, 4)))
    wrong = [
        (model, jnp.zeros((5, 3)), TypeError, "a MarkovChain, got HiddenMarkov. Give model.chain"),
        (CHAIN, jnp.zeros(5, int), TypeError, r"as floats, got int64.*observe\(model, xs\)"),
        (CHAIN, jnp.zeros((5, 4)), ValueError, r"of \[T, 3\], one for each state .*got \[5, 4\]"),
        (CHAIN, jnp.zeros((2, 5, 3)), ValueError, r"got \[2, 5, 3\]. Use jax.vmap"),
        (MarkovChain(np.zeros(2), np.zeros((3, 3))), jnp.zeros((5, 3)), ValueError, r"of \[S, S\]"),
    ]
    for chain, log_scores, error, message in wrong:
        with pytest.raises(error, match=f"{name}: expected .*{message}"):
            algorithm(chain, log_scores)
    with pytest.raises(ValueError, match="length: expected from 0 to 5, the number"):
        algorithm(CHAIN, jnp.zeros((5, 3)), 6)


@both
def test_no_nan_is_formed_on_the_way(parallel):
    """Where states or observations are impossible, in values and gradients."""
    model = hidden_markov.from_probabilities([1, 0], [[0, 1], [1, 0]], [[1, 0, 0], [0, 1, 0]])
    xs = jnp.array([0, 0, 2, 1])

    def total(model):
        log_scores = hidden_markov.observe(model, xs)
        beta = backward(model.chain, log_scores, parallel=parallel)
        smoothed = smooth(model.chain, log_scores, parallel=parallel)
        return forward(model.chain, log_scores, parallel=parallel)[1], (beta, smoothed)

    with jax.debug_nans(True):
        (log_likelihood, _), gradient = jax.value_and_grad(total, has_aux=True)(model)
        _, log_probability = viterbi(
            model.chain, hidden_markov.observe(model, xs), parallel=parallel
        )
    assert log_likelihood == log_probability == -np.inf
    assert not any(leaf.any() for leaf in jax.tree.leaves(gradient))


@both
def test_outside_of_jit_it_is_compiled_once(parallel):
    chains, scores, lengths = rows()
    chain, log_scores = jax.tree.map(lambda leaf: leaf[0], (chains, scores))

    def run():
        for algorithm in (forward, backward, smooth, viterbi):
            algorithm(chain, log_scores, lengths[0], parallel=parallel)

    run()
    with counting_compilations() as compiled:
        run()
    assert not compiled


@both
@pytest.mark.parametrize("name", ["forward", "backward", "smooth", "viterbi"])
def test_programs_do_not_grow_with_the_number_of_steps(name, parallel):
    """In parallel they grow with its logarithm."""
    algorithm = functools.partial(getattr(hidden_markov, name), CHAIN, parallel=parallel)

    def operations(steps):
        lowered = jax.jit(algorithm).lower(jax.ShapeDtypeStruct((steps, 3), float))
        return lowered.as_text().count("\n")

    few, many = operations(64), operations(4096)
    assert many <= (2.5 * few if parallel else few)
