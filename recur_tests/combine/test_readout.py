import jax
import jax.numpy as jnp
import numpy as np
import pytest
from flax import linen as nn

import recur
from recur.combine import ReadoutParams
from recur.types import AffineCell, Cell, GatedCell
from recur_tests.contract.cases import dense, leaky_integrator
from recur_tests.helpers import assert_close

GRU = recur.gru(4, param_dtype=jnp.float64)
XS = np.linspace(-1, 1, 15).reshape(5, 3)


def test_it_is_the_module_after_the_cell():
    layer = recur.scan(recur.readout(GRU, dense(2)))
    params = layer.init(jax.random.key(0), XS)
    hs = recur.scan(GRU)(params.cell, XS)
    assert isinstance(params, ReadoutParams)
    assert_close(layer(params, XS), hs @ params.output["kernel"] + params.output["bias"][None])


def test_structure_survives_where_it_can():
    assert isinstance(recur.readout(GRU, dense(2)), GatedCell)
    assert isinstance(recur.readout(leaky_integrator(), "softmax"), AffineCell)
    assert isinstance(recur.readout(recur.stack(GRU), "softmax"), Cell)


def test_noise_in_the_readout_is_drawn_step_by_step():
    cell = recur.readout(recur.gru(64), nn.Dropout(0.5))
    xs = jnp.ones((6, 3), jnp.float32)
    scanned, looped = recur.scan(cell), recur.loop(cell)
    params = scanned.init(jax.random.key(0), xs)
    key = jax.random.key(1)
    ys = scanned(params, xs, key=key)
    assert_close(ys, looped(params, xs, key=key), 1e-5)
    dropped = ys == 0
    assert 0.3 < dropped.mean() < 0.7
    assert (dropped[0] != dropped[1]).any()


def test_what_cannot_be_applied_is_an_error():
    with pytest.raises(ValueError, match="unknown activation"):
        recur.readout(GRU, "sofmax")
    with pytest.raises(TypeError, match="expected a module"):
        recur.readout(GRU, 3)
    with pytest.raises(TypeError, match="readout: expected a cell, got a layer"):
        recur.readout(recur.scan(GRU), "tanh")
