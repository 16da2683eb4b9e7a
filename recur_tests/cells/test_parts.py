import jax
import jax.numpy as jnp
import pytest

import recur


def test_an_input_of_several_arrays_is_an_error():
    context = {"memory": jnp.ones((7, 4), jnp.float32)}
    attending = recur.attend(recur.lstm(5), "memory")
    layer = recur.scan(recur.stack(attending, recur.gru(4)))
    xs = jnp.ones((6, 3), jnp.float32)
    with pytest.raises(ValueError, match=r"gru reads one array.*got Attended\(output=.*readout"):
        layer.init(jax.random.key(0), xs, context=context)
    answered = recur.readout(attending, lambda attended: attended.output)
    layer = recur.scan(recur.stack(answered, recur.gru(4)))
    params = layer.init(jax.random.key(0), xs, context=context)
    assert layer(params, xs, context=context).shape == (6, 4)
