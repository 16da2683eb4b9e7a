"""Statistics of gates and states, against NumPy and closed forms."""

import jax.numpy as jnp
import numpy as np
import pytest

from recur.diagnose import dead_units, effective_rank, saturation, time_constants

GATES = np.random.default_rng(0).uniform(size=(3, 50, 4)).astype(np.float32)


def test_a_state_falls_to_one_over_e_after_a_time_constant():
    forget = np.float32(0.8)
    steps = time_constants(forget)
    assert float(forget) ** float(steps) == pytest.approx(np.exp(-1), rel=1e-5)


@pytest.mark.parametrize("threshold", [0.1, 0.3])
def test_saturation_counts_steps(threshold):
    left, right = saturation(GATES, threshold)
    rows = GATES.reshape(-1, 4)
    np.testing.assert_allclose(left, [(rows[:, i] < threshold).mean() for i in range(4)], rtol=1e-5)
    expected = [(rows[:, i] > 1 - threshold).mean() for i in range(4)]
    np.testing.assert_allclose(right, expected, rtol=1e-5)


def test_dead_units():
    states = np.array(GATES)
    states[..., 2] = 0.25
    assert dead_units(states).tolist() == [False, False, True, False]


@pytest.mark.parametrize("rank", [1, 2, 4])
def test_the_rank_of_equal_directions_is_their_number(rank):
    directions = np.linalg.qr(np.random.default_rng(1).normal(size=(6, 6)))[0][:, :rank]
    states = np.concatenate([directions.T, -directions.T])  # centred, and equal in each direction
    assert effective_rank(states) == pytest.approx(rank, rel=1e-5)
    assert effective_rank(states + 3.0) == pytest.approx(rank, rel=1e-5)


def test_the_rank_of_one_state_is_zero():
    assert effective_rank(np.ones((5, 3))) == 0


def test_the_rank_of_bfloat16_states():
    states = jnp.asarray(np.random.default_rng(0).normal(size=(9, 3)), jnp.bfloat16)
    assert effective_rank(states) == effective_rank(states.astype(jnp.float32))
