import jax
import jax.numpy as jnp
import numpy as np
import pytest

import recur
from recur.lift import Directions
from recur_tests.helpers import assert_close

CELL = recur.gru(4, param_dtype=jnp.float64)
FORWARD, BACKWARD = recur.scan(CELL), recur.scan(CELL, reverse=True)
XS = np.linspace(-1, 1, 15).reshape(5, 3)


@pytest.mark.parametrize(
    ("merge", "expected"),
    [
        ("concatenate", lambda f, b: jnp.concatenate([f, b], -1)),
        ("sum", lambda f, b: f + b),
        ("mean", lambda f, b: (f + b) / 2),
        (jnp.maximum, jnp.maximum),
    ],
)
def test_merges_both_directions(merge, expected):
    layer = recur.bidirectional(FORWARD, BACKWARD, merge=merge)
    params = layer.init(jax.random.key(0), XS)
    assert isinstance(params, Directions)
    assert (params.forward.kernel.reset != params.backward.kernel.reset).any()
    forward_carry, forward = FORWARD.run(params.forward, XS, length=4)
    backward_carry, backward = BACKWARD.run(params.backward, XS, length=4)
    carry, ys = layer.run(params, XS, length=4)
    assert_close(carry, Directions(forward_carry, backward_carry))
    assert_close(ys, expected(forward, backward))


def test_wrong_layers_are_an_error():
    with pytest.raises(ValueError, match="the second layer reads forward too"):
        recur.bidirectional(FORWARD, FORWARD)
    with pytest.raises(TypeError, match="bidirectional: expected a layer, got Cell"):
        recur.bidirectional(CELL, CELL)
    with pytest.raises(ValueError, match="expected merge as .* got 'max'"):
        recur.bidirectional(FORWARD, BACKWARD, merge="max")
    layer = recur.bidirectional(FORWARD, BACKWARD)
    params = layer.init(jax.random.key(0), XS)
    with pytest.raises(ValueError, match="params: expected a tuple of 2 entries"):
        layer(params[:1], XS)
    with pytest.raises(ValueError, match="carry: expected a tuple of 2 entries"):
        layer.run(params, XS, carry=jnp.zeros(4))
