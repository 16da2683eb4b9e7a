"""The n-gram cell against the tables of the model, in NumPy."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import recur
from recur.classic import additive, katz, kneser_ney, ngram_cell
from recur.decode import argmax, generate
from recur_tests.helpers import assert_close

DRAWS = np.random.default_rng(0)
SIZE = 6
DOCUMENTS = [DRAWS.integers(0, SIZE - 1, n) for n in (40, 25, 2)]  # the last token is never seen
TOKENS = DRAWS.integers(0, SIZE, (2, 9))
KEY = jax.random.key(0)


@pytest.mark.parametrize("fit", [additive, katz, kneser_ney])
def test_is_the_model_after_each_token(fit):
    for order in (1, 3):
        model = fit(DOCUMENTS, order, SIZE)
        layer = recur.batch(recur.scan(ngram_cell(model)))
        params = layer.init(KEY, TOKENS)
        found = jax.jit(layer)(params, TOKENS)
        expected = [
            [model.probabilities(row[:end]) for end in range(1, len(row) + 1)] for row in TOKENS
        ]
        assert_close(jnp.exp(found), np.array(expected), 1e-9)


def test_tokens_of_any_integer_dtype_and_params_in_float32():
    model = kneser_ney(DOCUMENTS, 3, SIZE)
    layer = recur.scan(ngram_cell(model))
    params = layer.init(KEY, TOKENS[0])
    assert_close(layer(params, TOKENS[0].astype(np.int8)), layer(params, TOKENS[0]), 1e-12)
    narrow = jax.tree.map(
        lambda leaf: leaf if leaf.dtype == jnp.int32 else leaf.astype("float32"), params
    )
    assert layer(narrow, TOKENS[0]).dtype == jnp.float32


def test_it_generates_as_a_recurrent_layer_does():
    model = kneser_ney(DOCUMENTS, 3, SIZE)
    layer = recur.scan(ngram_cell(model))
    params = layer.init(KEY, TOKENS[0])
    found = generate(layer, params, jnp.array([0]), max_tokens=5, choose=argmax).tokens
    text = [0]
    for _ in range(5):
        text.append(int(model.probabilities(text).argmax()))
    assert found.tolist() == text[1:]
