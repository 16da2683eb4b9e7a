import dataclasses

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jax.nn.initializers import constant

import recur
from recur.combine.adapt import readin
from recur.combine.shortcuts import HighwayParams, highway
from recur.combine.transition import deep_transition
from recur_tests.combine.loops import products_in_loop
from recur_tests.contract.cases import dense
from recur_tests.contract.own_cells import leaky_integrator
from recur_tests.helpers import assert_close, random_like, weighted_sum

GRU = recur.gru(3, param_dtype=jnp.float64)
HIGHWAY = highway(GRU, param_dtype=jnp.float64)
XS = np.linspace(-1, 1, 15).reshape(5, 3)


def with_bias(params, b):
    return params._replace(bias=jnp.full_like(params.bias, b))


def test_a_closed_gate_gives_the_input_and_an_open_one_the_output():
    layer = recur.scan(HIGHWAY)
    params = layer.init(jax.random.key(0), XS)
    assert_close(layer(with_bias(params, -60.0), XS), XS)
    assert_close(layer(with_bias(params, 60.0), XS), recur.scan(GRU)(params.cell, XS))


def test_the_gate_looks_at_the_input():
    layer = recur.scan(HIGHWAY)
    params = random_like(jax.eval_shape(layer.init, jax.random.key(0), XS), seed=1)
    carry, v = recur.scan(GRU).run(params.cell, XS)
    t = jax.nn.sigmoid(XS @ params.kernel + params.bias[None])
    assert_close(layer.run(params, XS), (carry, t * v + (1 - t) * XS))


def test_at_first_the_gate_is_nearly_closed():
    x = jax.ShapeDtypeStruct((3,), jnp.float32)
    params = highway(recur.gru(3)).init(jax.random.key(0), x)
    assert isinstance(params, HighwayParams)
    assert params.bias.tolist() == [-1, -1, -1]
    assert params.kernel.shape == (3, 3) and params.kernel.any()
    assert params.kernel.dtype == jnp.float32
    params = highway(recur.gru(3), bias_init=constant(2.0)).init(jax.random.key(0), x)
    assert params.bias.tolist() == [2, 2, 2]


def test_it_computes_in_the_dtype_of_the_cell():
    layer = recur.scan(highway(recur.gru(3, dtype=jnp.bfloat16)))
    xs = jnp.asarray(XS, jnp.float32)
    params = jax.eval_shape(layer.init, jax.random.key(0), xs)
    assert jax.eval_shape(layer, params, xs).dtype == jnp.bfloat16


def test_the_gate_is_not_in_the_loop():
    assert products_in_loop(HIGHWAY) == products_in_loop(GRU) == [(9,)]


NESTED = {
    "gru": recur.residual(highway(readin(GRU, dense(5)), param_dtype=jnp.float64)),
    "linear": readin(recur.residual(highway(leaky_integrator(), param_dtype=jnp.float64)), "tanh"),
    "deep": highway(deep_transition(readin(GRU, dense(5)), dense(3)), param_dtype=jnp.float64),
}


@pytest.mark.parametrize("name", NESTED)
def test_combinators_nest(name):
    """In a batch with lengths and NaN in the padding, scan equals the loop over each row."""
    cell = NESTED[name]
    batched = recur.batch(recur.scan(cell))
    looped = recur.loop(dataclasses.replace(cell, step=jax.jit(cell.step)))
    xs = jnp.stack([XS, np.sin(5 * XS)])
    padded = xs.at[1, 3:].set(jnp.nan)
    params = random_like(jax.eval_shape(batched.init, jax.random.key(0), xs), seed=1)

    def of_batch(params, xs):
        ys = batched(params, jnp.where(jnp.isnan(padded), padded, xs), length=jnp.array([5, 3]))
        return weighted_sum(ys), ys

    def of_rows(params, xs):
        short = jnp.zeros((5, 3)).at[:3].set(looped(params, xs[1, :3]))
        ys = jnp.stack([looped(params, xs[0]), short])
        return weighted_sum(ys), ys

    results, expected = (
        jax.grad(loss, argnums=(0, 1), has_aux=True)(params, xs)
        for loss in (jax.jit(of_batch), of_rows)
    )
    assert_close(results, expected)


def test_wrong_input_is_an_error():
    with pytest.raises(TypeError, match="highway: expected a cell, got a layer"):
        highway(recur.scan(GRU))
    with pytest.raises(ValueError, match=r"of its input, float64\[2\], got float64\[3\]"):
        HIGHWAY.init(jax.random.key(0), XS[0, :2])
    anything = recur.cell(
        init=lambda key, x: (),
        init_carry=lambda params, x: (),
        step=lambda params, carry, x: (carry, x),
    )
    layer = recur.scan(highway(anything, param_dtype=jnp.float64))
    params = layer.init(jax.random.key(0), XS)
    with pytest.raises(ValueError, match="highway: expected inputs of width 3, as at init, got 2"):
        layer(params, XS[:, :2])
    with pytest.raises(ValueError, match="expected one array x of shape"):
        highway(anything).init(jax.random.key(0), jnp.ones(()))
