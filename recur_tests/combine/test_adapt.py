import jax
import jax.numpy as jnp
import numpy as np
import pytest
from flax import linen as nn

import recur
from recur.combine import ReadoutParams
from recur.combine.adapt import ReadinParams, readin
from recur_tests.combine.loops import products_in_loop
from recur_tests.contract.cases import dense
from recur_tests.contract.own_cells import leaky_integrator
from recur_tests.helpers import assert_close, random_like

GRU = recur.gru(4, param_dtype=jnp.float64)
EXACT = {"param_dtype": jnp.float64, "force_float32_reductions": False}
XS = np.linspace(-1, 1, 15).reshape(5, 3)


def test_readin_is_the_module_before_the_cell():
    layer = recur.scan(readin(GRU, dense(6)))
    params = random_like(jax.eval_shape(layer.init, jax.random.key(0), XS), seed=1)
    seen = XS @ params.input["kernel"] + params.input["bias"][None]
    assert isinstance(params, ReadinParams)
    assert_close(layer.run(params, XS), recur.scan(GRU).run(params.cell, seen))


def test_readin_by_the_identity_is_the_cell():
    layer = recur.scan(GRU)
    params = layer.init(jax.random.key(0), XS)
    read = recur.scan(readin(GRU, "identity"))
    assert_close(read.run(ReadinParams(input=(), cell=params), XS), layer.run(params, XS))


def test_readin_takes_the_shape_of_one_input_to_another():
    layer = recur.scan(readin(GRU, nn.Embed(10, 3, param_dtype=jnp.float64)))
    tokens = jnp.array([3, 1, 4, 1, 5])
    params = layer.init(jax.random.key(0), tokens)
    embedded = params.input["embedding"][tokens]
    assert_close(layer(params, tokens), recur.scan(GRU)(params.cell, embedded))


def test_what_the_cell_adds_is_what_is_read_in():
    layer = recur.scan(readin(recur.residual(GRU), dense(4)))
    params = layer.init(jax.random.key(0), XS)
    seen = XS @ params.input["kernel"] + params.input["bias"][None]
    assert_close(layer(params, XS), recur.scan(GRU)(params.cell, seen) + seen)


def test_what_is_read_in_is_not_in_the_loop():
    mlp = nn.Sequential([dense(6), nn.tanh, dense(5)])
    assert products_in_loop(readin(GRU, mlp)) == [(12,)]
    assert products_in_loop(readin(recur.gru(4, reset="before", param_dtype=jnp.float64), mlp)) == [
        (4,),
        (8,),
    ]


def test_around_a_stack_it_is_no_stack():
    stack = recur.stack(GRU, GRU)
    params = recur.scan(stack).init(jax.random.key(0), XS)
    seen = recur.scan(stack)(params, jnp.tanh(XS))
    assert_close(recur.scan(readin(stack, "tanh"))(ReadinParams((), params), XS), seen)
    read = recur.scan(recur.readout(stack, "tanh"))
    assert_close(read(ReadoutParams(params, ()), XS), jnp.tanh(recur.scan(stack)(params, XS)))


@pytest.mark.parametrize("adapt", [readin, recur.readout])
def test_a_linear_cell_stays_linear(adapt):
    cell = adapt(recur.diagonal(4, param_dtype=jnp.float64), "tanh")
    params = recur.scan(cell).init(jax.random.key(0), XS)
    assert_close(recur.associative(cell).run(params, XS), recur.scan(cell).run(params, XS))


def test_noise_in_readin_is_drawn_step_by_step():
    cell = readin(recur.readout(leaky_integrator(), "identity"), nn.Dropout(0.5))
    xs = jnp.ones((6, 64))
    scanned, looped = recur.scan(cell), recur.loop(cell)
    # A leaky integrator that forgets at once gives its input back.
    params = jax.tree.map(lambda leaf: leaf - 40.0, scanned.init(jax.random.key(0), xs))
    ys = jax.jit(scanned)(params, xs, key=jax.random.key(1))
    assert_close(ys, jax.jit(looped)(params, xs, key=jax.random.key(1)))
    dropped = ys < 1
    assert 0.3 < dropped.mean() < 0.7
    assert (dropped[0] != dropped[1]).any()
    assert_close(scanned(params, xs), xs)


def test_readout_is_the_module_after_the_cell():
    layer = recur.scan(recur.readout(GRU, dense(2)))
    params = layer.init(jax.random.key(0), XS)
    hs = recur.scan(GRU)(params.cell, XS)
    assert isinstance(params, ReadoutParams)
    assert_close(layer(params, XS), hs @ params.output["kernel"] + params.output["bias"][None])


def test_the_readout_is_not_in_the_loop():
    lstm = recur.lstm(4, param_dtype=jnp.float64)
    assert products_in_loop(recur.readout(lstm, dense(2))) == [(16,)]
    mlp = nn.Sequential([dense(6), nn.tanh, dense(2)])
    assert products_in_loop(
        recur.readout(recur.residual(recur.gru(3, param_dtype=jnp.float64)), mlp)
    ) == [(9,)]


def test_noise_in_the_readout_is_drawn_step_by_step():
    cell = recur.readout(recur.gru(64), nn.Dropout(0.5))
    xs = jnp.ones((6, 3), jnp.float32)
    scanned, looped = recur.scan(cell), recur.loop(cell)
    params = scanned.init(jax.random.key(0), xs)
    key = jax.random.key(1)
    ys = jax.jit(scanned)(params, xs, key=key)
    assert_close(ys, jax.jit(looped)(params, xs, key=key), 1e-5)
    dropped = ys == 0
    assert 0.3 < dropped.mean() < 0.7
    assert (dropped[0] != dropped[1]).any()


@pytest.mark.parametrize("adapt", [readin, recur.readout])
def test_what_cannot_be_applied_is_an_error(adapt):
    with pytest.raises(ValueError, match="unknown activation"):
        adapt(GRU, "sofmax")
    with pytest.raises(TypeError, match="expected a module"):
        adapt(GRU, 3)
    with pytest.raises(TypeError, match=f"{adapt.__name__}: expected a cell, got a layer"):
        adapt(recur.scan(GRU), "tanh")
    layer = recur.scan(adapt(GRU, nn.BatchNorm(False, **EXACT)))
    with pytest.raises(ValueError, match="mutable collections"):
        layer.init(jax.random.key(0), XS)
