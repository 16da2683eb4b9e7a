import jax
import jax.numpy as jnp
import pytest

import recur
from recur.cells import LSTMState
from recur.cells.initial import Weight, draw


def test_bfloat16_is_drawn_wide_and_stored_narrow():
    array = draw(jax.nn.initializers.orthogonal(), jax.random.key(0), (4, 4), jnp.bfloat16)
    assert array.dtype == jnp.bfloat16
    assert (array.astype(jnp.float32) != 0).all()


def test_an_empty_array_needs_no_fan_in():
    init = jax.nn.initializers.lecun_normal()
    assert draw(init, jax.random.key(0), (0, 4), jnp.float32).shape == (0, 4)


def test_each_gate_and_each_layer_is_drawn_with_its_own_key():
    weight = Weight(jax.nn.initializers.normal(), ("I",), LSTMState, layers=2)
    layers = weight.draw(jax.random.key(0), jnp.ones(4), jnp.float32)
    arrays = jax.tree.leaves(layers)
    assert len({float(array[0]) for array in arrays}) == 4
    assert {array.shape for array in arrays} == {(4,)}


def test_a_constant_is_added_to_the_gate_of_its_name():
    weight = Weight(jax.nn.initializers.ones, (3,), LSTMState, added={"cell": 2.0})
    drawn = weight.draw(jax.random.key(0), jnp.ones(4), jnp.float32)
    assert (drawn.hidden == 1).all() and (drawn.cell == 3).all()


def test_what_is_not_an_initialiser_is_an_error():
    with pytest.raises(TypeError, match="expected an initialiser, .* got 'glorot'"):
        recur.lstm(4, kernel_init="glorot").init(jax.random.key(0), jnp.ones(3))


def test_scaled_identity():
    init = recur.cells.scaled_identity(0.5)
    assert (
        init(jax.random.key(0), (3, 3), jnp.float32) == 0.5 * jnp.eye(3, dtype=jnp.float32)
    ).all()
    with pytest.raises(ValueError, match=r"square kernel \[H, H\], got \[2, 3\]"):
        init(jax.random.key(0), (2, 3), jnp.float32)
