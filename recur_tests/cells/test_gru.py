import jax
import jax.numpy as jnp
import pytest

import recur

X = jax.ShapeDtypeStruct((3,), jnp.float32)


def test_only_reset_after_has_a_bias_inside_the_reset():
    after, before = recur.gru(4), recur.gru(4, reset="before")
    assert after.init(jax.random.key(0), X).recurrent_bias.shape == (4,)
    assert before.init(jax.random.key(0), X).recurrent_bias is None
    assert recur.gru(4, use_bias=False).init(jax.random.key(0), X).recurrent_bias is None


def test_unknown_names_are_an_error():
    with pytest.raises(ValueError, match='reset must be "after" or "before"'):
        recur.gru(4, reset="later")
    with pytest.raises(ValueError, match='update must be "keep" or "replace"'):
        recur.gru(4, update="Keep")
