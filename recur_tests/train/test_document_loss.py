"""The loss over documents against each document alone."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from flax import linen as nn

import recur
from recur.train import cross_entropy, make_document_loss

VOCABULARY = 7


@pytest.fixture(autouse=True)
def usual(strict):
    with jax.numpy_dtype_promotion("standard"):
        yield


def make_documents():
    draws = np.random.default_rng(0)
    return [draws.integers(0, VOCABULARY, length) for length in (9, 2, 5, 30, 3)]


def losses(scale, logits, window):
    return scale * cross_entropy(logits, window.targets, window.mask)


def model_and_params():
    dense = nn.Dense(VOCABULARY)
    model = recur.batch(recur.chain(nn.Embed(VOCABULARY, 4), recur.scan(recur.gru(5)), dense))
    return model, model.init(jax.random.key(0), jnp.zeros((1, 2), int))


@pytest.mark.parametrize("width", [1, 4, 256])
def test_is_the_sum_over_documents_read_from_their_start(width):
    model, params = model_and_params()
    expected = 0.0
    for document in make_documents():
        logits = np.asarray(model(params, document[None, :-1])[0], np.float64)
        shifted = logits - logits.max(-1, keepdims=True)
        nats = np.log(np.exp(shifted).sum(-1)) - shifted[range(len(shifted)), document[1:]]
        expected += nats.sum()
    loss = make_document_loss(model, losses, make_documents(), width=width)
    assert loss(params, 1.0) == pytest.approx(expected, rel=1e-5)
    assert loss(params, 2.0) == pytest.approx(2 * expected, rel=1e-5)


def test_is_without_noise():
    model, params = model_and_params()
    noisy = recur.batch(
        recur.chain(
            nn.Embed(VOCABULARY, 4),
            recur.scan(recur.variational_dropout(recur.gru(5), outputs=0.5)),
            nn.Dense(VOCABULARY),
        )
    )
    found, expected = (
        make_document_loss(each, losses, make_documents())(params, 1.0) for each in (noisy, model)
    )
    assert found == expected


def test_wrong_input():
    model, _ = model_and_params()
    with pytest.raises(TypeError, match="make_document_loss: losses: expected a function, got int"):
        make_document_loss(model, 3, make_documents())
    with pytest.raises(ValueError, match="make_document_loss: width: expected a whole number"):
        make_document_loss(model, losses, make_documents(), width=0)
    with pytest.raises(ValueError, match="2 tokens"):
        make_document_loss(model, losses, [np.array([1])])
    with pytest.raises(ValueError):
        make_document_loss(model, losses, [])
    with pytest.raises(TypeError):
        make_document_loss(model, losses, [np.array([1.0, 2.0])])
