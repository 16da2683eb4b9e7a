import jax
import jax.numpy as jnp
import numpy as np
import pytest

import recur
from recur.types import AffineCell, Cell, GatedCell
from recur_tests.contract.own_cells import leaky_integrator
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


def test_structure_survives_where_it_can():
    assert isinstance(recur.residual(recur.gru(3)), GatedCell)
    assert isinstance(recur.residual(leaky_integrator()), AffineCell)
    assert isinstance(recur.residual(recur.stack(recur.gru(3))), Cell)


def test_what_is_not_a_cell_is_an_error():
    with pytest.raises(TypeError, match="residual: expected a cell, got a layer"):
        recur.residual(recur.scan(recur.gru(3)))


def test_another_width_is_an_error():
    layer = recur.scan(recur.residual(recur.gru(4, param_dtype=jnp.float64)))
    params = layer.init(jax.random.key(0), XS)
    with pytest.raises(ValueError, match=r"x is float64\[3\], the output is float64\[4\]"):
        layer(params, XS)
