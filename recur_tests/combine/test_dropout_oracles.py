"""Dropout against its equations, given the masks that were drawn."""

import jax
import numpy as np
import pytest

import recur
from recur.types import Mask
from recur_tests.combine.test_oracles import (
    F64,
    GRU_STEP,
    JORDAN_STEP,
    LSTM_STEP,
    PAIRS,
    agree,
    example,
    expected_run,
)
from recur_tests.helpers import to_numpy
from recur_tests.oracles import combinators, linear
from recur_tests.oracles.combinators import step_of


@pytest.mark.parametrize("name", ["lstm", "jordan", "diagonal"])
def test_zoneout_keeps_some_of_the_old_carry(name):
    inner, step = {
        "lstm": (recur.lstm(20, **F64), LSTM_STEP),
        "jordan": (recur.jordan(4, 20, **F64), JORDAN_STEP),
        "diagonal": (recur.diagonal(20, **F64), step_of(linear.diagonal)),
    }[name]
    params, carry, xs = example(recur.zoneout(inner, 0.3), None, 3)
    layer = recur.scan(recur.zoneout(inner, 0.3))
    run = jax.jit(lambda key: layer.run(params, xs, carry=carry, key=key, all_carries=True))
    carries, ys = to_numpy(run(jax.random.key(0)))
    old, kept = to_numpy(carry), []
    for t, x in enumerate(to_numpy(xs)):
        proposed, _ = step(to_numpy(params), old, x)
        now = jax.tree.map(lambda leaf, t=t: leaf[t], carries)
        agree(ys[t], combinators.hidden_of(now))
        each = np.stack([flat(old), flat(proposed)])
        is_one = np.isclose(flat(now), each, rtol=0, atol=1e-12)
        assert np.all(is_one[0] ^ is_one[1])
        kept.append(is_one[0])
        old = now
    assert 0.15 < np.mean(kept) < 0.45
    assert (kept[0] != kept[1]).any()


def flat(tree):
    return np.concatenate(jax.tree.leaves(tree))


def run_bound(cell, bound, carry, xs):
    return recur.scan(cell).apply(bound, carry, xs, Mask(), None)


@pytest.mark.parametrize("name", ["elman", "gru", "lstm"])
def test_variational_dropout(name):
    """A GRU keeps z of the whole h: the mask is on what the products see."""
    make, step = getattr(recur, name), PAIRS[name][1]
    rates = {"inputs": 0.5, "recurrent": 0.25, "outputs": 0.4}
    cell = recur.variational_dropout(make(16, **F64), **rates)
    params, carry, xs = example(cell, None, 12)

    @jax.jit
    def run(params, key):
        bound, plain = cell.bind(params, xs[0], key=key), cell.bind(params, xs[0])
        masks = bound.inputs, *bound.recurrent, bound.outputs
        return masks, *(run_bound(cell, each, carry, xs) for each in (bound, plain))

    masks, masked, unmasked = to_numpy(run(params, jax.random.key(3)))
    for mask, rate in zip(masks, rates.values(), strict=True):
        dropped = np.isclose(mask, 0)
        assert dropped.any()
        assert np.allclose(mask[~dropped], 1 / (1 - rate))
    agree(masked, expected_run(combinators.variational_dropout(step, *masks), params, carry, xs))
    agree(unmasked, expected_run(step, params, carry, xs))


RECURRENT = [
    (recur.lstm, LSTM_STEP, combinators.lstm_recurrent_dropout),
    (recur.gru, GRU_STEP, combinators.gru_recurrent_dropout),
]


@pytest.mark.parametrize("make, step, oracle", RECURRENT)
def test_recurrent_dropout(make, step, oracle):
    cell = recur.recurrent_dropout(make(16, **F64), 0.4)
    params, carry, xs = example(cell, None, 3)

    @jax.jit
    def run(params, key):
        bound, plain = cell.bind(params, xs[0], key=key), cell.bind(params, xs[0])
        [mask] = bound.recurrent
        return mask, *(run_bound(cell, each, carry, xs) for each in (bound, plain))

    mask, masked, unmasked = to_numpy(run(params, jax.random.key(3)))
    assert mask.shape == (16,)
    assert set(np.unique(mask.round(9))) == {0.0, round(1 / 0.6, 9)}
    agree(masked, expected_run(oracle(mask), params, carry, xs))
    agree(unmasked, expected_run(step, params, carry, xs))
