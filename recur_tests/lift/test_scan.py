import jax
import jax.numpy as jnp
import numpy as np
import pytest
from flax import linen as nn

import recur
from recur_tests.helpers import assert_close

CELL = recur.gru(4, param_dtype=jnp.float64)
XS = np.linspace(-1, 1, 15).reshape(5, 3)


@pytest.mark.parametrize("lift", [recur.loop, recur.scan])
def test_reading_backward_is_reading_the_reversed_sequence_and_reversing(lift):
    params = lift(CELL).init(jax.random.key(0), XS)
    carry, ys = lift(CELL, reverse=True).run(params, XS)
    forward_carry, forward_ys = lift(CELL).run(params, XS[::-1])
    assert_close((carry, ys[::-1]), (forward_carry, forward_ys))


def test_only_layers_that_read_forward_are_causal():
    assert recur.scan(CELL).is_causal and recur.loop(CELL).is_causal
    backward = recur.scan(CELL, reverse=True)
    assert backward.direction == "backward" and not backward.is_causal
    assert not recur.scan(recur.stack(CELL), reverse=True).is_causal


@pytest.mark.parametrize("lift", [recur.loop, recur.scan])
def test_what_is_not_a_cell_is_an_error(lift):
    with pytest.raises(TypeError, match="expected a cell, got a layer"):
        lift(recur.scan(CELL))
    with pytest.raises(TypeError, match=r"such as recur.lstm\(64\) or .*, got Dense"):
        lift(nn.Dense(3))


def test_wrong_unroll_is_an_error():
    for unroll in (0, 1.5, True):
        with pytest.raises(ValueError, match="scan: unroll: expected a whole number of at least 1"):
            recur.scan(CELL, unroll=unroll)


def test_half_precision_keeps_its_dtype():
    layer = recur.scan(recur.gru(4, dtype=jnp.bfloat16))
    xs = jnp.ones((5, 3), jnp.float32)
    params = layer.init(jax.random.key(0), xs)

    @jax.jit
    @jax.value_and_grad
    def differentiate(params):
        ys = layer(params, xs)
        assert ys.dtype == jnp.bfloat16
        return ys.astype(jnp.float32).sum()

    value, gradients = differentiate(params)
    assert {leaf.dtype for leaf in jax.tree.leaves(gradients)} == {jnp.dtype("float32")}
    assert np.isfinite(value)
