import jax
import jax.numpy as jnp
import numpy as np
import pytest

import recur
from recur_tests.combine.loops import products_in_loop
from recur_tests.helpers import assert_close

XS = np.linspace(-1, 1, 15).reshape(5, 3)


@pytest.mark.parametrize("make", [recur.gru, recur.lstm, recur.elman])
def test_it_adds_the_input(make):
    cell = make(3, param_dtype=jnp.float64)
    params = recur.scan(cell).init(jax.random.key(0), XS)
    assert_close(recur.scan(recur.residual(cell))(params, XS), recur.scan(cell)(params, XS) + XS)


def test_residual_of_zero_is_the_identity():
    cell = recur.residual(recur.elman(3, param_dtype=jnp.float64))
    params = jax.tree.map(jnp.zeros_like, recur.scan(cell).init(jax.random.key(0), XS))
    assert_close(recur.scan(cell)(params, XS), XS)


def test_only_the_recurrent_product_is_in_the_loop():
    lstm, before = (
        recur.lstm(3, param_dtype=jnp.float64),
        recur.gru(3, reset="before", param_dtype=jnp.float64),
    )
    assert products_in_loop(recur.residual(lstm)) == [(12,)]
    assert products_in_loop(recur.residual(before)) == [(3,), (6,)]


def test_a_linear_cell_stays_linear():
    cell = recur.residual(recur.diagonal(3, param_dtype=jnp.float64))
    params = recur.scan(cell).init(jax.random.key(0), XS)
    assert_close(recur.associative(cell).run(params, XS), recur.scan(cell).run(params, XS))


def test_around_a_stack_it_is_no_stack():
    stack = recur.stack(recur.gru(3, param_dtype=jnp.float64))
    params = recur.scan(stack).init(jax.random.key(0), XS)
    assert_close(recur.scan(recur.residual(stack))(params, XS), recur.scan(stack)(params, XS) + XS)


def test_what_is_not_a_cell_is_an_error():
    with pytest.raises(TypeError, match="residual: expected a cell, got a layer"):
        recur.residual(recur.scan(recur.gru(3)))


def test_another_width_is_an_error():
    layer = recur.scan(recur.residual(recur.gru(4, param_dtype=jnp.float64)))
    params = layer.init(jax.random.key(0), XS)
    with pytest.raises(ValueError, match=r"of its input, float64\[3\], got float64\[4\]"):
        layer(params, XS)
