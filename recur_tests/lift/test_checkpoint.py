"""Recomputed segments: equal to the layer, in the right order, with less memory."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from flax import linen as nn

import recur
from recur_tests.helpers import assert_close, random_like, weighted_sum

GRU = recur.gru(3, param_dtype=jnp.float64)
XS = np.random.default_rng(0).standard_normal((11, 3))
MARKS = {
    "length": 10,
    "mask": np.arange(11) != 4,
    "reset": np.isin(np.arange(11), [3, 4, 8]),
}


def order_of_steps(layer_of, count):
    """The numbers of the steps of a gradient, in the order in which they are computed."""
    order = []

    def step(params, h, x):
        jax.debug.callback(lambda t: order.append(int(t)), x[0])
        h = jnp.sin(params * h + x)  # turns and does not forget, so every step has a gradient
        return h, h

    cell = recur.cell(lambda key, x: jnp.ones(()), lambda params, x: jnp.zeros(1), step)
    layer = layer_of(cell)
    xs = jnp.arange(float(count))[:, None]
    gradient = jax.jit(jax.grad(lambda params: layer.run(params, xs)[0].sum()))
    order.clear()
    jax.block_until_ready(gradient(1.0))
    jax.effects_barrier()
    return order


def test_the_order_of_recomputation():
    forward = list(range(8))
    assert order_of_steps(recur.scan, 8) == forward
    checkpointed = order_of_steps(lambda cell: recur.checkpoint(recur.scan(cell), 4), 8)
    assert checkpointed == forward + [6, 7, 4, 5, 2, 3, 0, 1]
    nested = order_of_steps(lambda cell: recur.checkpoint(recur.scan(cell), (2, 2)), 8)
    assert nested == forward + [4, 5, 6, 7, 6, 7, 4, 5, 0, 1, 2, 3, 2, 3, 0, 1]
    backward = order_of_steps(lambda cell: recur.checkpoint(recur.scan(cell, reverse=True), 2), 4)
    assert backward == [3, 2, 1, 0, 1, 0, 3, 2]


@pytest.mark.parametrize("reverse", [False, True])
def test_any_segments_equal_the_layer(reverse):
    layer = recur.scan(GRU, reverse=reverse)
    params = random_like(jax.eval_shape(layer.init, jax.random.key(0), XS), 1)

    def results(layer):
        def loss(params, carry, xs):
            ends = layer.run(params, xs, carry=carry, **MARKS)
            carries = layer.run(params, xs, carry=carry, **MARKS, all_carries=True)
            return weighted_sum(ends), (ends, carries)

        return jax.jit(jax.grad(loss, (0, 1, 2), has_aux=True))(params, jnp.full(3, 0.3), XS)

    expected = results(layer)
    for segments in (None, 1, 2, 5, 11, 50, (2, 3), (3, 2, 2)):
        assert_close(results(recur.checkpoint(layer, segments)), expected)


def test_no_steps_at_all():
    layer = recur.checkpoint(recur.scan(GRU))
    params = layer.init(jax.random.key(0), XS)
    carry, ys = layer.run(params, XS[:0], carry=jnp.full(3, 0.3))
    assert_close(carry, jnp.full(3, 0.3))
    carries, _ = layer.run(params, XS[:0], all_carries=True)
    assert ys.shape == carries.shape == (0, 3)


def test_each_segment_draws_other_noise_and_the_same_on_the_way_back():
    layer = recur.checkpoint(recur.chain(recur.scan(GRU), nn.Dropout(0.5)), 2)
    params = layer.init(jax.random.key(0), XS)
    zero = jax.jit(layer)(params, XS, key=jax.random.key(1)) == 0
    assert not (zero[:5] == zero[6:]).all() and zero.any()


def test_memory_grows_as_the_square_root():
    def temporary(layer, count):
        xs = jax.ShapeDtypeStruct((count, 3), jnp.float32)
        params = jax.eval_shape(lambda key: layer.init(key, xs), jax.random.key(0))
        gradient = jax.grad(lambda params, xs: layer.run(params, xs)[0].sum())
        return jax.jit(gradient).lower(params, xs).compile().memory_analysis().temp_size_in_bytes

    layer = recur.scan(recur.gru(32))
    plain, kept = ([temporary(each, n) for n in (400, 6400)] for each in
                   (layer, recur.checkpoint(layer)))  # fmt: skip
    assert plain[1] > 12 * plain[0]
    assert kept[1] < 6 * kept[0] and kept[1] < plain[1] / 8


def test_what_it_cannot_do_is_an_error():
    layer = recur.scan(GRU)
    with pytest.raises(ValueError, match="the layer is bidirectional"):
        recur.checkpoint(recur.bidirectional(layer, recur.scan(GRU, reverse=True)))
    with pytest.raises(ValueError, match="is batched"):
        recur.checkpoint(recur.batch(layer))
    with pytest.raises(TypeError, match="expected a layer"):
        recur.checkpoint(GRU)
    with pytest.raises(ValueError, match="segments: expected a whole number of at least 1, got 0"):
        recur.checkpoint(layer, 0)
    with pytest.raises(ValueError, match="segments: expected .* got 2.5"):
        recur.checkpoint(layer, (2, 2.5))
    with pytest.raises(ValueError, match="got none"):
        recur.checkpoint(layer, ())


def test_a_layer_that_truncates_its_gradient_is_refused_with_the_remedy_in_a_chain_too():
    truncated = recur.truncate(recur.scan(GRU), 2, 3)
    remedy = r"truncates its gradient.* recur.truncate\(recur.checkpoint\(layer\), k1, k2\)"
    both = recur.bidirectional(truncated, recur.scan(GRU, reverse=True))
    for layer in (truncated, recur.chain("tanh", recur.chain(truncated), "tanh"), both):
        with pytest.raises(ValueError, match=remedy):
            recur.checkpoint(layer)
    layer = recur.truncate(recur.checkpoint(recur.scan(GRU), 2), 2, 3)
    params = layer.init(jax.random.key(0), XS)
    found, expected = (
        jax.jit(jax.value_and_grad(lambda p, each=each: weighted_sum(each(p, XS))))(params)
        for each in (layer, truncated)
    )
    assert_close(found, expected)


def test_a_chain_that_reads_backward_is_one_that_can_be_cut():
    backward = recur.chain("tanh", recur.scan(GRU, reverse=True))
    assert backward.direction == "backward" and not backward.is_causal
    assert recur.chain("tanh").is_causal
    layer = recur.checkpoint(backward, 3)
    params = layer.init(jax.random.key(0), XS)
    run, expected = jax.jit(layer.run), jax.jit(backward.run)
    assert_close(run(params, XS, **MARKS), expected(params, XS, **MARKS))
