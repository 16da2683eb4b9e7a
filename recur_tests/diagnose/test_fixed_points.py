"""Fixed points, against closed forms and the recurrence itself."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import recur
from recur.diagnose import FixedPoints, find_fixed_points, step_jacobians


def test_the_fixed_point_of_a_linear_layer():
    draws = np.random.default_rng(0)
    matrix = 0.4 * draws.normal(size=(3, 3))
    cell = recur.cell(
        init=lambda key, x: jnp.asarray(matrix),
        init_carry=lambda params, x: jnp.zeros(3),
        step=lambda params, h, x: (params @ h + x, h),
    )
    x = draws.normal(size=3)
    found = find_fixed_points(recur.scan(cell), jnp.asarray(matrix), x, draws.normal(size=(4, 3)))
    expected = np.linalg.solve(np.eye(3) - matrix, x)
    np.testing.assert_allclose(found.carry, np.broadcast_to(expected, (4, 3)), atol=1e-6)
    assert found.converged.all() and (found.steps <= 2).all()
    np.testing.assert_allclose(found.jacobian, np.broadcast_to(matrix, (4, 3, 3)), atol=1e-6)
    radius = np.abs(np.linalg.eigvals(matrix)).max()
    np.testing.assert_allclose(np.abs(found.eigenvalues).max(-1), radius, rtol=1e-5)
    assert found.is_stable.tolist() == [radius < 1] * 4


def test_points_of_an_lstm_do_not_move():
    layer = recur.scan(recur.lstm(3))
    x = np.ones(2, np.float32)
    params = layer.init(jax.random.key(0), x[None])
    params = jax.tree.map(lambda w: 3 * w, params)
    starts, _ = layer.run(params, np.tile(x, (8, 1)), all_carries=True)
    found = find_fixed_points(layer, params, x, starts)
    assert found.converged.any()
    row = np.flatnonzero(found.converged)[-1]
    point = jax.tree.map(lambda leaf: leaf[row], found.carry)
    after, _ = layer.run(params, x[None], carry=point)
    for a, b in zip(jax.tree.leaves(after), jax.tree.leaves(point), strict=True):
        np.testing.assert_allclose(a, b, atol=1e-4)
    jacobian = step_jacobians(layer, params, x[None], carry=point)[0]
    np.testing.assert_allclose(found.jacobian[row], jacobian, atol=1e-4)


def test_a_recurrence_without_a_fixed_point_does_not_converge():
    cell = recur.cell(
        init=lambda key, x: (),
        init_carry=lambda params, x: jnp.zeros(()),
        step=lambda params, h, x: (h + 1 + 0.1 * jnp.tanh(h), h),
    )
    found = find_fixed_points(recur.scan(cell), (), 0.0, jnp.array([0.5]), max_steps=20)
    assert not found.converged[0] and found.speed[0] > 0.5


def test_distinct_points_are_converged_and_apart():
    carry = {"a": jnp.array([[0.0], [1.0], [0.0], [1.005], [2.0]]), "b": jnp.zeros((5, 2))}
    converged = jnp.array([True, True, True, True, False])
    found = FixedPoints(carry, jnp.arange(5.0), converged, jnp.arange(5), jnp.ones((5, 3, 3)))
    kept = found.distinct()
    assert kept.steps.tolist() == [0, 1] and kept.carry["a"].tolist() == [[0.0], [1.0]]
    assert kept.carry["b"].shape == (2, 2) and kept.jacobian.shape == (2, 3, 3)
    assert found.distinct(1e-3).steps.tolist() == [0, 1, 3]
    none = found._replace(converged=jnp.zeros(5, bool)).distinct()
    assert none.steps.shape == (0,) and none.carry["b"].shape == (0, 2)
    with pytest.raises(ValueError, match="distinct: expected a tolerance of at least 0, got -1"):
        found.distinct(-1)


def test_the_fixed_points_of_a_bfloat16_layer():
    cell = recur.cell(
        init=lambda key, x: jnp.asarray(0.5, jnp.bfloat16),
        init_carry=lambda params, x: jnp.zeros(2, jnp.bfloat16),
        step=lambda params, h, x: (params * h + x, h),
    )
    half = jnp.asarray(0.5, jnp.bfloat16)
    x, starts = jnp.ones(2, jnp.bfloat16), jnp.zeros((3, 2), jnp.bfloat16)
    found = find_fixed_points(recur.scan(cell), half, x, starts)
    assert found.converged.all() and (found.carry == 2).all() and found.is_stable.all()
