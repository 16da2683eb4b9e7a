import jax
import jax.numpy as jnp
import pytest

import recur
from recur.types import AnyCell, Cell, Layer
from recur_tests.contract.own_cells import block_diagonal_cell, leaky_integrator, own_cell
from recur_tests.helpers import assert_close, random_like


def test_a_users_functions_get_only_what_they_take():
    plain = recur.cell(lambda key, x: 1.0, lambda p, x: p, lambda p, h, x: (h + x, h))
    assert isinstance(plain, Cell)
    assert plain.init(None, None, context={"image": 1}) == 1.0
    assert plain.bind(1.0, None, key="key", context={}) == 1.0
    assert plain.step(1.0, 2.0, 3.0, "key") == (5.0, 2.0)
    full = recur.cell(
        lambda key, x, context: context,
        lambda p, x: p,
        lambda p, h, x, key: (key, h),
        bind=lambda p, x, **options: options,
    )
    assert full.init(None, None, context={"image": 1}) == {"image": 1}
    assert full.bind(1.0, None, key="key") == {"key": "key", "context": None}
    assert full.step(1.0, 2.0, 3.0, "key") == ("key", 2.0)


def test_every_kind_of_cell_is_a_cell_and_a_layer_is_not():
    cells = [own_cell(), block_diagonal_cell(), leaky_integrator(), recur.stack(recur.gru(3))]
    assert all(isinstance(cell, AnyCell) for cell in cells)
    assert not isinstance(recur.scan(recur.gru(3)), AnyCell)


def test_the_step_of_an_affine_cell_is_a_times_carry_plus_b():
    cell = leaky_integrator()
    x, h, a = jnp.array([1.0, 2.0]), jnp.array([3.0, -1.0]), jnp.array([0.2, 0.7])
    carry, y = cell.step(a, h, x)
    assert_close(carry, a * h + (1 - a) * x)
    assert_close(y, carry)


def test_block_diagonal_kernels_act_head_by_head():
    cell = block_diagonal_cell()
    params = random_like(jax.eval_shape(cell.init, jax.random.key(0), jnp.ones(3)), 0)
    h = jnp.array([0.1, 0.2, -0.3, 0.4])
    whole = jax.scipy.linalg.block_diag(*params["u"])
    assert_close(cell.products(params, h), h @ whole)


def test_a_layer_is_called_run_or_applied():
    layer = recur.scan(recur.lstm(4, param_dtype=jnp.float64))
    xs = jnp.ones((5, 3))
    params = layer.init(jax.random.key(0), xs)
    bound = layer.bind(params, xs)
    carry, ys = layer.apply(bound, layer.start(bound, xs), xs)
    assert_close(layer.run(params, xs), (carry, ys))
    assert_close(layer(params, xs), ys)
    with pytest.raises(AttributeError):
        layer.init = None
    assert isinstance(layer, Layer)


def test_unknown_options_of_a_layer_are_an_error():
    layer = recur.scan(recur.gru(4))
    with pytest.raises(TypeError, match="lengths"):
        layer(None, None, lengths=3)
