import functools

import jax
import numpy as np
import pytest

from recur.classic.baum_welch import update
from recur.classic.hidden_markov import from_probabilities, init
from recur_tests.helpers import assert_close
from recur_tests.oracles.hidden_markov import enumerate_paths, reestimate

INITIAL = np.array([0.6, 0.4, 0.0])
TRANSITION = np.array([[0.6, 0.4, 0.0], [0.3, 0.7, 0.0], [0.25, 0.25, 0.5]])
EMISSION = np.array([[0.5, 0.4, 0.0, 0.1], [0.2, 0.3, 0.5, 0.0], [0.25, 0.25, 0.25, 0.25]])
ROWS = [[0, 1, 1, 2, 2], [2, 0, 1], [1], [], [0, 0, 1, 2]]
XS = np.full((5, 5), 99)
for row, symbols in zip(XS, ROWS, strict=True):
    row[: len(symbols)] = symbols
LENGTHS = np.array([len(row) for row in ROWS])
SEEN = [np.array(row) for row in ROWS if row]


def probabilities(model):
    return [np.exp(np.asarray(leaf)) for leaf in jax.tree.leaves(model)]


def updated(model, xs=XS, length=LENGTHS, pseudo_count=0.0, parallel=True):
    return compiled(parallel)(model, xs, length, pseudo_count)


@functools.cache
def compiled(parallel):
    return jax.jit(
        lambda model, xs, length, pseudo_count: update(
            model, xs, length, pseudo_count=pseudo_count, parallel=parallel
        )
    )


@pytest.mark.parametrize("parallel", [False, True], ids=["serial", "parallel"])
def test_updates_are_those_over_all_paths_and_never_make_the_data_less_likely(parallel):
    """State 2 is never entered: it keeps what it has; and what is impossible stays so."""
    model, means = from_probabilities(INITIAL, TRANSITION, EMISSION), []
    expected = [INITIAL, TRANSITION, EMISSION]
    for _ in range(10):
        rows = [enumerate_paths(*expected[:2], expected[2][:, xs].T) for xs in SEEN]
        model, mean = updated(model, parallel=parallel)
        means.append(float(mean))
        assert_close(means[-1], np.log([row.likelihood for row in rows]).sum() / len(ROWS), 1e-9)
        expected = reestimate(*expected, SEEN)
        assert_close(probabilities(model), expected, 1e-9)
    assert (np.diff(means) > 0).all()
    initial, transition, emission = probabilities(model)
    assert_close(transition[2], TRANSITION[2], 1e-12)
    assert not initial[2] and not emission[0, 2]


def test_pseudo_counts_are_added_to_what_is_possible():
    model = from_probabilities(INITIAL, TRANSITION, EMISSION)
    found = probabilities(updated(model, pseudo_count=1e6)[0])
    for values, old in zip(found, (INITIAL, TRANSITION, EMISSION), strict=True):
        uniform = (old > 0) / (old > 0).sum(-1, keepdims=True)
        assert_close(values, uniform, 1e-5)


def test_what_is_impossible_adds_nothing():
    """A row that no path explains has no posterior; the others are fitted all the same."""
    emission = EMISSION.copy()
    emission[0] = [0.5, 0.5, 0, 0]  # so that 3 comes from state 2 alone, which is never entered
    model = from_probabilities(INITIAL, TRANSITION, emission)
    impossible = XS.copy()
    impossible[1] = [2, 0, 3, 1, 0]
    with_it, mean = updated(model, impossible, np.array([5, 5, 1, 0, 4]))
    without, _ = updated(model, impossible, np.array([5, 0, 1, 0, 4]))
    assert mean == -np.inf
    assert_close(probabilities(with_it), probabilities(without), 1e-12)


@pytest.mark.parametrize(
    ("given", "error", "message"),
    [
        ({"model": EMISSION}, TypeError, "update: expected a HiddenMarkov, got ndarray"),
        ({"xs": XS[0]}, ValueError, r"expected xs of \[B, T\] with B >= 1, got \[5\]"),
        ({"model": init(jax.random.key(0), 3, 4)}, ValueError, "sum to one, got .*normalise"),
        ({"xs": XS[:0], "length": None}, ValueError, r"with B >= 1, got \[0, 5\]"),
        ({"xs": XS * 1.0}, TypeError, "update: expected integer symbols, got float64"),
        ({"length": np.array([5, 4, 1, 0, 4])}, ValueError, "0 to 3, got 99 at step 3 of row 1"),
        ({"length": np.array([5, 3])}, ValueError, r"lengths of \[5\], one for each row .*\[2\]"),
        ({"length": LENGTHS - 1}, ValueError, "length of row 3: expected from 0 to 5, the"),
        ({"pseudo_count": -1.0}, ValueError, "pseudo_count of at least 0, got -1.0"),
    ],
)
def test_wrong_input(given, error, message):
    model = from_probabilities(INITIAL, TRANSITION, EMISSION)
    with pytest.raises(error, match=message):
        update(**{"model": model, "xs": XS, "length": LENGTHS, **given})
