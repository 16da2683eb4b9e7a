import math

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jax.extend.core import jaxprs_in_params

from recur.train import (
    chunked_cross_entropy,
    chunked_cross_entropy_sum,
    cross_entropy,
    masked_mean,
)
from recur_tests.helpers import assert_close

DRAWS = np.random.default_rng(0)
TARGETS = DRAWS.integers(0, 7, (3, 5))
VALID = DRAWS.random((3, 5)) < 0.6
HS, KERNEL = DRAWS.standard_normal((3, 5, 4)), DRAWS.standard_normal((4, 7))


@pytest.mark.parametrize("size", [1, 4, 15, 100])
@pytest.mark.parametrize("valid", [None, VALID], ids=["all", "some"])
def test_in_chunks_it_is_the_same_in_value_and_gradients(size, valid):
    def plain(hs, kernel):
        return masked_mean(cross_entropy(hs @ kernel, TARGETS, valid) ** 2, valid)

    def in_chunks(hs, kernel):
        losses = chunked_cross_entropy(lambda h: h @ kernel, hs, TARGETS, valid, size=size)
        return masked_mean(losses**2, valid)

    dirty = HS if valid is None else np.where(VALID[..., None], HS, np.nan)
    found = jax.jit(jax.value_and_grad(in_chunks, (0, 1)))(dirty, KERNEL)
    assert_close(found, jax.value_and_grad(plain, (0, 1))(HS, KERNEL), 1e-12)


@pytest.mark.parametrize("size", [4, 15])
@pytest.mark.parametrize("valid", [None, VALID], ids=["all", "some"])
def test_summed_it_is_the_same_in_value_and_gradients(size, valid):
    """Of what is closed over too, here by a function of the weights, and times a factor."""

    def plain(hs, kernel):
        return 3 * cross_entropy(hs @ jnp.sin(kernel), TARGETS, valid).sum()

    def summed(hs, kernel):
        kernel = jnp.sin(kernel)
        return 3 * chunked_cross_entropy_sum(lambda h: h @ kernel, hs, TARGETS, valid, size=size)

    dirty = HS if valid is None else np.where(VALID[..., None], HS, np.nan)
    found = jax.jit(jax.value_and_grad(summed, (0, 1)))(dirty, KERNEL)
    assert_close(found, jax.value_and_grad(plain, (0, 1))(HS, KERNEL), 1e-12)
    assert_close(summed(dirty, KERNEL), plain(HS, KERNEL), 1e-12)
    rows = jax.vmap(jax.grad(summed), (None, 0))(dirty, np.stack([KERNEL, KERNEL]))
    assert_close(rows, np.stack([found[1][0]] * 2), 1e-12)


WEIGHTS = DRAWS.random(7)


@pytest.mark.parametrize("size", [4, 15])
@pytest.mark.parametrize("valid", [None, VALID], ids=["all", "some"])
@pytest.mark.parametrize("smoothing", [0.0, 0.2])
@pytest.mark.parametrize("weights", [None, WEIGHTS], ids=["equal", "weighted"])
def test_class_weights_and_label_smoothing(size, valid, smoothing, weights):
    """They are those of `cross_entropy`, also in the gradient of the class weights."""
    arrays = HS, KERNEL, weights
    dirty = (HS if valid is None else np.where(VALID[..., None], HS, np.nan), *arrays[1:])
    argnums = (0, 1) if weights is None else (0, 1, 2)

    def plain(hs, kernel, weights):
        options = {"class_weights": weights, "label_smoothing": smoothing}
        return 3 * cross_entropy(hs @ kernel, TARGETS, valid, **options).sum()

    expected = jax.value_and_grad(plain, argnums)(*arrays)
    for chunked in (chunked_cross_entropy, chunked_cross_entropy_sum):

        def in_chunks(hs, kernel, weights, chunked=chunked):
            options = {"class_weights": weights, "label_smoothing": smoothing, "size": size}
            return 3 * chunked(lambda h: h @ kernel, hs, TARGETS, valid, **options).sum()

        assert_close(jax.jit(jax.value_and_grad(in_chunks, argnums))(*dirty), expected, 1e-12)


@pytest.mark.parametrize("loss", [chunked_cross_entropy, chunked_cross_entropy_sum])
@pytest.mark.parametrize("dtype", [jnp.int8, jnp.bfloat16, jnp.float32])
def test_class_weights_of_other_dtypes(loss, dtype):
    weights, kernel = jnp.arange(7).astype(dtype), jnp.asarray(KERNEL, jnp.bfloat16)
    hs = jnp.asarray(HS, jnp.bfloat16)
    options = {"class_weights": weights, "label_smoothing": 0.1}
    expected = cross_entropy(hs @ kernel, TARGETS, VALID, **options).sum()
    found = loss(lambda h: h @ kernel, hs, TARGETS, VALID, size=4, **options).sum()
    assert found.dtype == jnp.float32
    assert_close(found, expected, 5e-3)  # in a loop XLA may not round the logits to bfloat16


def test_all_logits_are_never_in_memory_at_once():
    def shapes(jaxpr):
        for equation in jaxpr.eqns:
            yield from (v.aval.shape for v in equation.outvars)
            for inner in jaxprs_in_params(equation.params):
                yield from shapes(inner)

    def largest(loss):
        gradient = jax.make_jaxpr(jax.grad(lambda hs, kernel: loss(hs, kernel).sum(), (0, 1)))
        return max(map(math.prod, shapes(gradient(np.ones((600, 4)), np.ones((4, 500))).jaxpr)))

    targets = np.zeros(600, int)
    assert largest(lambda hs, kernel: cross_entropy(hs @ kernel, targets)) == 600 * 500
    for in_chunks in (chunked_cross_entropy, chunked_cross_entropy_sum):
        found = largest(lambda hs, w, f=in_chunks: f(lambda h: h @ w, hs, targets, size=50))
        assert found == 50 * 500


def test_wrong_input():
    with pytest.raises(ValueError, match="size: expected a whole number of at least 1, got 0"):
        chunked_cross_entropy(jnp.sin, HS, TARGETS, size=0)
    with pytest.raises(ValueError, match=r"chunked_cross_entropy: expected targets of shape"):
        chunked_cross_entropy(jnp.sin, HS, TARGETS[0])
    with pytest.raises(TypeError, match=r"chunked_cross_entropy: expected integer targets"):
        chunked_cross_entropy(jnp.sin, HS, HS[..., 0])
    with pytest.raises(ValueError, match="chunked_cross_entropy_sum: size: expected a whole"):
        chunked_cross_entropy_sum(jnp.sin, HS, TARGETS, size=0)
    with pytest.raises(TypeError, match=r"chunked_cross_entropy_sum: expected integer targets"):
        chunked_cross_entropy_sum(jnp.sin, HS, HS[..., 0])


@pytest.mark.parametrize("size", [1, 64])
def test_in_16_bits_gradients_add_up_in_32(size):
    """Each word adds 1/2; in bfloat16 nothing is added any more from 128 on."""
    hs, kernel = jnp.ones((1024, 1), jnp.bfloat16), jnp.zeros((1, 2), jnp.bfloat16)
    targets = jnp.zeros(1024, int)

    def each(kernel):
        return chunked_cross_entropy(lambda h: h @ kernel, hs, targets, size=size).sum()

    def summed(kernel):
        return chunked_cross_entropy_sum(lambda h: h @ kernel, hs, targets, size=size)

    for loss in (each, summed):
        gradient = jax.grad(loss)(kernel)
        assert gradient.dtype == jnp.bfloat16 and gradient.tolist() == [[-512, 512]]


def test_of_no_steps_the_sum_is_zero():
    def summed(kernel):
        return chunked_cross_entropy_sum(lambda h: h @ kernel, HS[:, :0], TARGETS[:, :0])

    value, gradient = jax.value_and_grad(summed)(KERNEL)
    assert value == 0 and not gradient.any()


@pytest.mark.parametrize("loss", [chunked_cross_entropy, chunked_cross_entropy_sum])
def test_labels_outside_the_vocabulary_are_refused_or_have_no_weight(loss):
    hs, targets = np.ones((2, 3, 4)), np.array([[0, 1, 2], [5, -1, 0]])

    def to_logits(h):
        return h @ jnp.ones((4, 5))

    with pytest.raises(ValueError, match=f"{loss.__name__}: expected targets that count from 0 to"):
        loss(to_logits, hs, targets, size=2)
    found = jax.jit(lambda targets: loss(to_logits, hs, targets, size=2).sum())(targets)
    assert_close(found, 4 * np.log(5), 1e-12)
    mask = (targets >= 0) & (targets < 5)
    assert_close(loss(to_logits, hs, targets, mask, size=2).sum(), 4 * np.log(5), 1e-12)
