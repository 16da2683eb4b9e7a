import jax
import jax.numpy as jnp
import pytest

import recur
from recur.keys import check_key, split, split_along


def test_without_a_key_there_is_no_noise():
    assert split(None, 3) == [None] * 3
    assert split_along(None, 3) is None


def test_keys_are_split_for_names_and_along_an_axis():
    a, b = split(jax.random.key(0), 2)
    assert a.shape == b.shape == () and a != b
    assert split_along(jax.random.key(0), 5).shape == (5,)


@pytest.mark.parametrize("key", [0, None, jnp.zeros(2, jnp.uint32)])
def test_anything_but_a_typed_key_is_an_error(key):
    with pytest.raises(TypeError, match=r"expected a typed key, .* jax.random.key\(0\)"):
        check_key(key)


def test_several_keys_are_an_error():
    with pytest.raises(ValueError, match=r"expected one key, got .* \(2,\)"):
        check_key(jax.random.split(jax.random.key(0)))


@pytest.mark.parametrize(
    "layer",
    [
        recur.scan(recur.gru(4)),
        recur.loop(recur.gru(4)),
        recur.chain("tanh", recur.scan(recur.stack(recur.gru(4), recur.lstm(4)))),
        recur.bidirectional(recur.scan(recur.gru(4)), recur.scan(recur.gru(4), reverse=True)),
    ],
)
def test_every_layer_refuses_keys_of_the_old_kind(layer):
    old, xs = jnp.zeros(2, jnp.uint32), jnp.ones((3, 2), jnp.float32)
    with pytest.raises(TypeError, match="expected a typed key"):
        layer.init(old, xs)
    with pytest.raises(TypeError, match="expected a typed key"):
        recur.batch(layer).init(old, xs[None])
    params = layer.init(jax.random.key(0), xs)
    with pytest.raises(TypeError, match="expected a typed key"):
        layer(params, xs, key=old)
    with pytest.raises(TypeError, match="expected a typed key"):
        recur.batch(layer)(params, xs[None], key=old)
