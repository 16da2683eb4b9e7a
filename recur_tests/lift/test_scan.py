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
def test_reading_backwards_is_reading_the_reversed_sequence_and_reversing(lift):
    params = lift(CELL).init(jax.random.key(0), XS)
    carry, ys = lift(CELL, reverse=True).run(params, XS)
    forward_carry, forward_ys = lift(CELL).run(params, XS[::-1])
    assert_close((carry, ys[::-1]), (forward_carry, forward_ys))


def test_only_layers_that_read_forwards_stream():
    assert recur.scan(CELL).streams and recur.loop(CELL).streams
    assert not recur.scan(CELL, reverse=True).streams
    assert not recur.scan(recur.stack(CELL), reverse=True).streams


@pytest.mark.parametrize("lift", [recur.loop, recur.scan])
def test_what_is_not_a_cell_is_an_error(lift):
    with pytest.raises(TypeError, match="expected a cell, got a layer"):
        lift(recur.scan(CELL))
    with pytest.raises(TypeError, match=r"as recur.lstm\(64\) or .* make them, got Dense"):
        lift(nn.Dense(3))


def test_wrong_unroll_is_an_error():
    with pytest.raises(ValueError, match="unroll of at least 1, got 0"):
        recur.scan(CELL, unroll=0)
