"""Cells linear in their carry: closed forms."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import recur
from recur_tests.helpers import assert_close

F64 = {"param_dtype": jnp.float64}


def test_a_leaky_integrator_decays_and_converges_to_a_constant_input():
    layer = recur.associative(recur.leaky_integrator(**F64))
    params = recur.cells.LeakyIntegratorParams(decay=jnp.array([0.0, 2.0]))
    ys = jax.jit(layer.run)(params, jnp.zeros((6, 2)), carry=jnp.ones(2))[1]
    a = 1 / (1 + np.exp(-np.array([0.0, 2.0])))
    assert_close(ys, a ** np.arange(1, 7)[:, None], 1e-12)
    assert_close(jax.jit(layer)(params, jnp.ones((400, 2)))[-1], jnp.ones(2), 1e-12)


def test_a_complex_unit_rotates_as_it_decays():
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
def test_initial_decays_are_stable(complex_state):
    cell = recur.diagonal(64, complex_state=complex_state)
    x = jnp.zeros(3)
    params = cell.init(jax.random.key(0), x)
    h = cell.init_carry(params, x)
    decay = jax.jvp(lambda h: cell.step(params, h, x)[0], (h,), (jnp.ones_like(h),))[1]
    assert 0.65 < abs(decay).min() and abs(decay).max() < 1
    assert jnp.iscomplexobj(h) is complex_state


def test_a_leaky_integrator_checks_the_width_of_its_input():
    cell = recur.leaky_integrator()
    params = cell.init(jax.random.key(0), jnp.zeros(3))
    with pytest.raises(
        ValueError, match="leaky_integrator: expected inputs of width 3, as at init, got 1"
    ):
        cell.step(params, jnp.zeros(3), jnp.zeros(1))
