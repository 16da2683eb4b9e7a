import jax
import jax.numpy as jnp
import numpy as np
import pytest

import recur
from recur_tests.helpers import assert_close


def test_the_irnn_is_at_first_a_sum_over_time():
    cell = recur.elman(
        3,
        activation="relu",
        kernel_init=recur.cells.scaled_identity(),
        recurrent_kernel_init=recur.cells.scaled_identity(),
    )
    xs = jnp.abs(jax.random.normal(jax.random.key(0), (20, 3), jnp.float32))
    layer = recur.scan(cell)
    ys = layer(layer.init(jax.random.key(1), xs), xs)
    np.testing.assert_allclose(ys, np.cumsum(xs, 0), rtol=1e-5)


def test_without_input_it_is_the_plain_dynamical_system():
    layer = recur.scan(recur.elman(3, param_dtype=jnp.float64))
    xs = jnp.zeros((4, 0))
    params = layer.init(jax.random.key(0), xs)
    h = start = jnp.array([0.1, -0.4, 0.7])
    for _ in range(4):
        h = jnp.tanh(h @ params.recurrent_kernel + params.bias)
    final, ys = layer.run(params, xs, carry=start)
    assert params.kernel.shape == (0, 3)
    assert_close(final, h)
    assert ys.shape == (4, 3)


def test_an_orthogonal_linear_network_keeps_the_norm():
    cell = recur.elman(6, activation="identity", use_bias=False, param_dtype=jnp.float64)
    layer, xs = recur.scan(cell), jnp.zeros((50, 3))
    start = jnp.arange(1.0, 7.0)
    ys = jax.jit(layer.run)(layer.init(jax.random.key(0), xs), xs, carry=start)[1]
    np.testing.assert_allclose(jnp.linalg.norm(ys, axis=1), jnp.linalg.norm(start), rtol=1e-12)
    assert not np.allclose(ys[0], start)


def test_params_are_drawn_as_asked():
    cell = recur.elman(
        5,
        kernel_init=jax.nn.initializers.constant(2.0),
        bias_init=jax.nn.initializers.constant(3.0),
        initial_carry_init=jax.nn.initializers.constant(4.0),
    )
    params = cell.init(jax.random.key(0), jax.ShapeDtypeStruct((3,), jnp.float32))
    assert (params.kernel == 2).all()
    assert (params.bias == 3).all()
    assert (params.initial_carry == 4).all()
    u = params.recurrent_kernel
    np.testing.assert_allclose(u @ u.T, np.eye(5), atol=1e-5)
    assert (cell.init_carry(params, jnp.ones(3)) == 4).all()


def test_without_a_learned_initial_carry_it_is_zero():
    cell = recur.elman(5)
    x = jax.ShapeDtypeStruct((3,), jnp.float32)
    params = cell.init(jax.random.key(0), x)
    assert params.initial_carry is None
    assert (cell.init_carry(params, x) == 0).all()


def test_another_width_is_an_error():
    layer = recur.scan(recur.elman(4, param_dtype=jnp.float64))
    params = layer.init(jax.random.key(0), jnp.ones((5, 3)))
    with pytest.raises(ValueError, match="elman: expected inputs of width 3, as at init, got 2"):
        layer(params, jnp.ones((5, 2)))


@pytest.mark.parametrize("make", [recur.elman, recur.ugrnn, recur.lstm, recur.gru])
def test_wrong_ranks_are_an_error(make):
    layer = recur.scan(make(4))
    with pytest.raises(ValueError, match=r"x of shape \[I\], got \[5, 3\]"):
        layer.init(jax.random.key(0), jnp.ones((2, 5, 3)))
    with pytest.raises(ValueError, match=r"x of shape \[I\], got \[\]"):
        layer.init(jax.random.key(0), jnp.ones(5))
    missing = r"An axis is missing: .* or \[B, T, I\] if the layer is batched"
    with pytest.raises(ValueError, match=missing):
        recur.batch(layer).init(jax.random.key(0), jnp.ones((5, 3)))


@pytest.mark.parametrize("make", [recur.elman, recur.ugrnn, recur.lstm, recur.gru])
def test_unknown_activations_are_an_error(make):
    with pytest.raises(ValueError, match="unknown activation 'rleu'"):
        make(4, activation="rleu")


@pytest.mark.parametrize("make", [recur.elman, recur.ugrnn, recur.lstm, recur.gru])
def test_keys_of_the_old_kind_are_an_error(make):
    old = jnp.zeros(2, jnp.uint32)
    with pytest.raises(TypeError, match="expected a typed key"):
        make(4).init(old, jnp.ones(3))
