"""Cells linear in their carry: closed forms."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import recur
from recur_tests.helpers import assert_close

F64 = {"param_dtype": jnp.float64}


def test_a_leaky_integrator_decays_and_rests_at_a_constant_input():
    layer = recur.associative(recur.leaky(**F64))
    params = recur.cells.LeakyParams(decay=jnp.array([0.0, 2.0]))
    ys = jax.jit(layer.run)(params, jnp.zeros((6, 2)), carry=jnp.ones(2))[1]
    a = 1 / (1 + np.exp(-np.array([0.0, 2.0])))
    assert_close(ys, a ** np.arange(1, 7)[:, None], 1e-12)
    assert_close(jax.jit(layer)(params, jnp.ones((400, 2)))[-1], jnp.ones(2), 1e-12)


def test_a_complex_unit_turns_as_it_decays():
    layer = recur.associative(recur.diagonal(1, complex_state=True, use_bias=False, **F64))
    params = recur.cells.DiagonalParams(
        rate=jnp.log(jnp.array([0.01])),
        angle=jnp.array([0.3]),
        kernel=jnp.array([[1.0, 0.0]]),
        bias=None,
    )
    impulse = jnp.zeros((50, 1)).at[0].set(1.0)
    t = np.arange(50)
    expected = np.exp(-0.01 * t)[:, None] * np.stack([np.cos(0.3 * t), np.sin(0.3 * t)], 1)
    assert_close(jax.jit(layer)(params, impulse), expected, 1e-12)


@pytest.mark.parametrize("complex_state", [False, True])
def test_memories_are_stable_from_the_start(complex_state):
    cell = recur.diagonal(64, complex_state=complex_state)
    params = cell.init(jax.random.key(0), jnp.zeros(3))
    a, _ = cell.coefficients(params, jnp.zeros(3))
    assert 0.65 < abs(a).min() and abs(a).max() < 1
    assert jnp.iscomplexobj(cell.start(params, jnp.zeros(3))) is complex_state
