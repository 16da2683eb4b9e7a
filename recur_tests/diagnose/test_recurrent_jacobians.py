"""Jacobians, singular values of products and Lyapunov exponents, against closed forms."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import recur
from recur.diagnose import (
    lyapunov_exponents,
    product_singular_values,
    step_jacobians,
    vanishing_condition,
)

T, N = 9, 4
XS = np.random.default_rng(0).normal(size=(T, 3)).astype(np.float32)


def linear_layer(matrix):
    """h_t = U h_{t-1} + x_t."""
    cell = recur.cell(
        init=lambda key, x: jnp.asarray(matrix, jnp.float32),
        init_carry=lambda params, x: jnp.ones(len(matrix), x.dtype),
        step=lambda params, h, x: (params @ h + x, h),
    )
    return recur.scan(cell), jnp.asarray(matrix, jnp.float32)


def test_jacobians_of_a_gru_are_differences():
    layer = recur.scan(recur.gru(N))
    params = layer.init(jax.random.key(0), XS)
    found = step_jacobians(layer, params, XS, length=7)
    after = layer.run(params, XS, all_carries=True)[0]
    carries, small = np.concatenate([np.zeros((1, N), np.float32), after]), 1e-2
    for t in (0, 3, 6):
        for i in range(N):
            change = np.float32(small) * np.eye(N, dtype=np.float32)[i]
            ends = (carries[t] + change, carries[t] - change)
            high, low = (layer.run(params, XS[t : t + 1], carry=end)[0] for end in ends)
            np.testing.assert_allclose(found[t][:, i], (high - low) / (2 * small), atol=1e-3)
    np.testing.assert_array_equal(found[7:], np.broadcast_to(np.eye(N), (2, N, N)))


def test_singular_values_of_a_product_are_those_of_the_product():
    factors = np.random.default_rng(1).normal(size=(6, N, N))
    product = np.linalg.multi_dot(factors[::-1])
    expected = np.log(np.linalg.svd(product, compute_uv=False))
    found = product_singular_values(jnp.asarray(factors), sweeps=20)
    np.testing.assert_allclose(found, expected, atol=1e-3)


def test_a_product_of_a_thousand_factors():
    turn = np.linalg.qr(np.random.default_rng(2).normal(size=(N, N)))[0]
    matrix = turn @ np.diag([2.0, 1.0, 0.5, 0.1]) @ turn.T
    found = product_singular_values(jnp.tile(jnp.asarray(matrix, jnp.float32), (1000, 1, 1)))
    np.testing.assert_allclose(found / 1000, np.log([2.0, 1.0, 0.5, 0.1]), atol=1e-3)


def test_lyapunov_exponents_of_a_linear_layer_are_its_eigenvalues():
    turn = np.random.default_rng(3).normal(size=(3, 3))
    matrix = turn @ np.diag([1.1, 0.9, 0.5]) @ np.linalg.inv(turn)
    layer, params = linear_layer(matrix)
    xs = np.zeros((400, 3), np.float32)
    found = lyapunov_exponents(layer, params, xs)
    np.testing.assert_allclose(found, np.log([1.1, 0.9, 0.5]), atol=2e-2)
    largest = lyapunov_exponents(layer, params, xs, count=1)
    np.testing.assert_allclose(largest, found[:1], atol=1e-3)


def test_an_orthogonal_layer_keeps_all_gradients():
    turn = np.linalg.qr(np.random.default_rng(4).normal(size=(3, 3)))[0]
    layer, params = linear_layer(turn)
    jacobians = step_jacobians(layer, params, XS)
    np.testing.assert_allclose(product_singular_values(jacobians), 0, atol=1e-5)
    np.testing.assert_allclose(lyapunov_exponents(layer, params, XS), 0, atol=1e-6)


@pytest.mark.parametrize(
    ("factor", "activation", "vanishes", "can_explode"),
    [(0.9, "tanh", True, False), (1.1, "tanh", False, True), (3.9, "sigmoid", True, False)],
)
def test_the_conditions_for_vanishing_and_exploding(factor, activation, vanishes, can_explode):
    turn = np.linalg.qr(np.random.default_rng(5).normal(size=(3, 3)))[0]
    found = vanishing_condition(factor * turn @ np.diag([1.0, 0.5, 0.1]), activation)
    assert found.largest == pytest.approx(factor, rel=1e-5)
    assert (bool(found.vanishes), bool(found.can_explode)) == (vanishes, can_explode)


def test_bfloat16_and_integers_are_computed_in_float32():
    narrow = jnp.asarray(np.random.default_rng(6).normal(size=(3, 2, 2)), jnp.bfloat16)
    wide = narrow.astype(jnp.float32)
    found, expected = product_singular_values(narrow), product_singular_values(wide)
    assert found.dtype == jnp.float32 and np.array_equal(found, expected)
    assert vanishing_condition(narrow[0]).largest == vanishing_condition(wide[0]).largest
    np.testing.assert_allclose(product_singular_values(3 * np.eye(2, dtype=int)[None]), np.log(3))
    turn = np.linalg.qr(np.random.default_rng(4).normal(size=(3, 3)))[0]
    layer, params = linear_layer(turn)
    half = recur.scan(
        recur.cell(
            init=lambda key, x: params.astype(jnp.bfloat16),
            init_carry=lambda params, x: jnp.zeros(3, jnp.bfloat16),
            step=lambda params, h, x: (params @ h + x, h),
        )
    )
    xs = jnp.asarray(XS, jnp.bfloat16)
    found = lyapunov_exponents(half, params.astype(jnp.bfloat16), xs)
    np.testing.assert_allclose(found, lyapunov_exponents(layer, params, XS), atol=1e-2)
