import jax
import jax.numpy as jnp
import numpy as np
import pytest

import recur
from recur_tests.helpers import assert_close

LSTM, GRU = (make(4, param_dtype=jnp.float64) for make in (recur.lstm, recur.gru))
XS = np.linspace(-1, 1, 15).reshape(5, 3)


def test_a_stack_of_one_is_the_cell():
    params = recur.scan(LSTM).init(jax.random.key(0), XS)
    carry, ys = recur.scan(LSTM).run(params, XS)
    assert_close(recur.scan(recur.stack(LSTM)).run((params,), XS), ((carry,), ys))


def test_the_outputs_of_one_are_the_inputs_of_the_next():
    layer = recur.loop(recur.stack(LSTM, GRU))
    params = layer.init(jax.random.key(0), XS)
    lower, upper = recur.scan(LSTM), recur.scan(GRU)
    state, hs = lower.run(params[0], XS)
    top, ys = upper.run(params[1], hs)
    assert_close(layer.run(params, XS), ((state, top), ys))


def test_scan_runs_it_layer_by_layer():
    layer = recur.scan(recur.stack(LSTM, GRU))
    jaxpr = jax.make_jaxpr(layer)(layer.init(jax.random.key(0), XS), XS)
    assert str(jaxpr).count(" scan[") == 2


def test_wrong_input_is_an_error():
    with pytest.raises(ValueError, match="at least one cell"):
        recur.stack()
    with pytest.raises(TypeError, match="stack: expected a cell, got a layer"):
        recur.stack(LSTM, recur.scan(GRU))
    layer = recur.loop(recur.stack(LSTM, GRU))
    params = layer.init(jax.random.key(0), XS)
    with pytest.raises(ValueError, match="params: expected a tuple of 2 entries"):
        layer(params[:1], XS)
    with pytest.raises(ValueError, match="carry: expected"):
        layer.run(params, XS, carry=(jnp.zeros(4),))
