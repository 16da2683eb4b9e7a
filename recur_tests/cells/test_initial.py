import jax
import jax.numpy as jnp
import pytest

import recur
from recur.cells.initial import draw, draw_each
from recur.cells.lstm import LSTMState


def test_bfloat16_is_drawn_wide_and_stored_narrow():
    array = draw(jax.nn.initializers.orthogonal(), jax.random.key(0), (4, 4), jnp.bfloat16)
    assert array.dtype == jnp.bfloat16
    assert (array.astype(jnp.float32) != 0).all()


def test_an_empty_array_needs_no_fan_in():
    init = jax.nn.initializers.lecun_normal()
    assert draw(init, jax.random.key(0), (0, 4), jnp.float32).shape == (0, 4)


def test_each_field_has_a_key_of_its_own():
    init = jax.nn.initializers.normal()
    state = draw_each(LSTMState, init, jax.random.key(0), (4,), jnp.float32)
    assert (state.hidden != state.cell).any()


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
