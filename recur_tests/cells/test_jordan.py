import jax
import jax.numpy as jnp
import pytest

import recur


def test_the_output_is_fed_back():
    layer = recur.scan(recur.jordan(4, 2))
    xs = jnp.ones((5, 3), jnp.float32)
    final, ys = layer.run(layer.init(jax.random.key(0), xs), xs)
    assert ys.shape == (5, 2)
    assert (final == ys[-1]).all()


def test_a_learned_initial_carry_has_the_width_of_the_output():
    cell = recur.jordan(4, 2, initial_carry_init=jax.nn.initializers.ones)
    x = jax.ShapeDtypeStruct((3,), jnp.float32)
    assert cell.init_carry(cell.init(jax.random.key(0), x), x).tolist() == [1, 1]


def test_wrong_input_is_an_error():
    layer = recur.scan(recur.jordan(4, 2))
    with pytest.raises(ValueError, match="jordan: expected one step"):
        layer.init(jax.random.key(0), jnp.ones(5))
    with pytest.raises(ValueError, match="unknown activation"):
        recur.jordan(4, 2, output_activation="sofmax")
