"""bfloat16 stays bfloat16, and weights keep the dtype they are stored in."""

import jax
import jax.numpy as jnp
import pytest

import recur

MAKERS = [
    lambda **options: recur.elman(4, **options),
    lambda **options: recur.jordan(4, 2, **options),
    lambda **options: recur.gated(4, **options),
    lambda **options: recur.lstm(4, peepholes="diagonal", **options),
    lambda **options: recur.gru(4, **options),
    lambda **options: recur.gru(4, reset="before", **options),
    lambda **options: recur.mgu(4, **options),
    lambda **options: recur.coupled_lstm(4, **options),
    lambda **options: recur.projected_lstm(4, 2, **options),
    lambda **options: recur.layer_norm_lstm(4, **options),
    lambda **options: recur.slstm(4, heads=2, **options),
    lambda **options: recur.indrnn(4, **options),
    lambda **options: recur.recurrent_highway(4, 2, **options),
    lambda **options: recur.min_gru(4, **options),
    lambda **options: recur.min_lstm(4, **options),
    lambda **options: recur.readin(recur.gru(4, **options), jnp.sin),
    lambda **options: recur.stack(recur.gru(4, **options), recur.gru(4, **options), skips=True),
    lambda **options: recur.feedback(recur.gru(4, **options)),
    lambda **options: recur.zoneout(recur.gru(4, **options), 0.1),
    lambda **options: recur.variational_dropout(recur.gru(4, **options), recurrent=0.1),
]


def dtypes(tree):
    return {leaf.dtype for leaf in jax.tree.leaves(tree)}


@pytest.mark.parametrize("make", MAKERS)
def test_computing_in_bfloat16(make):
    layer = recur.scan(make(dtype=jnp.bfloat16))
    xs = jnp.ones((5, 3), jnp.float32)
    params = layer.init(jax.random.key(0), xs)
    ends = jax.eval_shape(lambda p: layer.run(p, xs, length=jnp.array(3)), params)
    gradient = jax.eval_shape(jax.grad(lambda p: layer(p, xs).astype(jnp.float32).sum()), params)
    assert dtypes(params) == dtypes(gradient) == {jnp.dtype("float32")}
    assert dtypes(ends) == {jnp.dtype("bfloat16")}


@pytest.mark.parametrize("make", MAKERS)
def test_weights_stored_in_bfloat16_are_computed_in_bfloat16(make):
    layer = recur.scan(make(param_dtype=jnp.bfloat16))
    xs = jnp.ones((5, 3), jnp.bfloat16)
    params = layer.init(jax.random.key(0), xs)
    ends = jax.eval_shape(layer.run, params, xs)
    assert dtypes(params) == dtypes(ends) == {jnp.dtype("bfloat16")}


def test_by_default_weights_and_input_promote():
    layer = recur.scan(recur.gru(4))
    xs = jnp.ones((5, 3), jnp.float64)
    params = layer.init(jax.random.key(0), xs)
    with jax.numpy_dtype_promotion("standard"):
        assert dtypes(layer.run(params, xs)) == {jnp.dtype("float64")}
        assert dtypes(layer.run(params, xs.astype(jnp.bfloat16))) == {jnp.dtype("float32")}
        assert dtypes(layer.run(params, xs.astype(jnp.int32))) == {jnp.dtype("float32")}
