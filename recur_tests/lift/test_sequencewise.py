"""`sequencewise` against convolutions in NumPy."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from flax import linen as nn
from flax import nnx

import recur
from recur_tests.contract.composed import conv
from recur_tests.helpers import assert_close, random_like, to_numpy, weighted_sum

XS = np.random.default_rng(0).standard_normal((6, 3))
MASK = np.array([True, True, False, True, True, False])


def drawn(layer, xs=XS):
    return random_like(jax.eval_shape(layer.init, jax.random.key(0), xs), 1)


def convolve(params, xs, before, dilation=1):
    """y_t = Σ_k x_{t + (k - before) dilation} W_k + b, with zeros beyond the ends."""
    kernel, bias = np.asarray(params["kernel"]), np.asarray(params["bias"])
    ys = np.tile(bias, (len(xs), 1))
    for t in range(len(xs)):
        for k, w in enumerate(kernel):
            at = t + (k - before) * dilation
            if 0 <= at < len(xs):
                ys[t] = ys[t] + xs[at] @ w
    return ys


@pytest.mark.parametrize(
    ("options", "before", "dilation"),
    [
        ({}, 1, 1),
        ({"padding": "CAUSAL"}, 2, 1),
        ({"padding": "CAUSAL", "kernel_dilation": 2}, 2, 2),
    ],
)
def test_a_convolution_over_time(options, before, dilation):
    layer = recur.sequencewise(conv(**options))
    params = drawn(layer)
    assert_close(to_numpy(layer(params, XS)), convolve(params, XS, before, dilation))
    zeroed = np.where(MASK[:, None], XS, 0)
    expected = convolve(params, zeroed, before, dilation) * MASK[:, None]
    dirty = np.where(MASK[:, None], XS, np.nan)
    assert_close(to_numpy(layer(params, dirty, mask=MASK)), expected)
    short = convolve(params, XS[:4], before, dilation)
    assert_close(to_numpy(layer(params, XS, length=4)), np.pad(short, [(0, 2), (0, 0)]))


def test_layers_in_a_chain_do_not_see_how_much_padding_there_is():
    """Values and gradients are those of the short sequence, though each convolution has a bias."""
    model = recur.chain(*3 * (recur.sequencewise(conv()), jnp.tanh))
    params = drawn(model)

    def loss(params, xs, length):
        return weighted_sum(model(params, xs, length=length)[:3])

    long = np.concatenate([XS[:3], np.full((5, 3), np.nan)])
    expected, gradient = jax.value_and_grad(loss)(params, XS[:3], 3)
    assert_close(jax.value_and_grad(loss)(params, long, 3), (expected, gradient))


def test_modules_of_nnx_and_functions():
    kernel = nnx.Conv(3, 4, kernel_size=(3,), param_dtype=jnp.float64, rngs=nnx.Rngs(0))
    layer = recur.sequencewise(kernel)
    params = drawn(layer)
    assert_close(to_numpy(layer(params, XS)), convolve(params, XS, 1))
    stacked = recur.sequencewise(lambda xs: jnp.concatenate([xs, jnp.roll(xs, 1, 0)], -1))
    assert_close(stacked((), XS), np.concatenate([XS, np.roll(XS, 1, 0)], -1))


def test_rows_of_a_batch_are_sequences_alone():
    layer = recur.sequencewise(conv(padding="CAUSAL"))
    params = drawn(layer)
    rows = np.stack([XS, 2 * XS])
    found = jax.jit(recur.batch(layer))(params, rows, length=np.array([6, 2]))
    assert_close(found[0], layer(params, XS))
    assert_close(found[1], layer(params, 2 * XS, length=2))


def test_noise_needs_a_key():
    layer = recur.sequencewise(nn.Dropout(0.5))
    assert (layer({}, np.ones((6, 3)), key=jax.random.key(0)) == 0).any()
    assert (layer({}, np.ones((6, 3))) == 1).all()


def test_a_sequence_without_steps_has_no_outputs():
    layer = recur.sequencewise(conv())
    assert layer(drawn(layer), XS[:0]).shape == (0, 3)


def test_it_is_refused_where_a_sequence_is_fed_in_pieces():
    layer = recur.chain(recur.sequencewise(conv(padding="CAUSAL")), recur.scan(recur.gru(3)))
    assert not layer.is_causal
    with pytest.raises(ValueError, match="run_window: the layer is not causal"):
        recur.lift.run_window(layer, (), (), XS, 1)
    with pytest.raises(ValueError, match="the layer is bidirectional"):
        recur.checkpoint(layer)
    with pytest.raises(ValueError, match="truncate: expected a causal layer"):
        recur.truncate(layer, 1, 2)
    with pytest.raises(ValueError, match="generate: expected a causal layer"):
        recur.decode.generate(layer, (), jnp.array([1]), max_tokens=1)
