import jax
import jax.numpy as jnp
import numpy as np
import pytest

import recur
from recur.classic import gaussian_head, latent_autoregression, mlp_autoregression
from recur.decode import gaussian, generate
from recur.train import gaussian_nll
from recur_tests.helpers import assert_close, random_like, to_numpy

XS = np.float32(np.random.default_rng(0).standard_normal((9, 2)))


def test_the_network_reads_the_last_four_values():
    layer = mlp_autoregression(1)
    xs = XS[:, :1]
    params = random_like(layer.init(jax.random.key(0), xs), 1)
    convs = to_numpy([part for part in params if part])
    assert [conv.kernel.shape for conv in convs] == [(4, 1, 10), (1, 10, 10), (1, 10, 1)]

    def predict(last):
        y = last.ravel()
        for conv in convs:
            y = np.maximum(y, 0) if conv is not convs[0] else y
            y = y @ conv.kernel.reshape(len(y), -1) + conv.bias
        return y

    before = np.concatenate([np.zeros((3, 1), np.float32), xs])
    expected = np.stack([predict(before[t : t + 4]) for t in range(9)])
    assert_close(np.asarray(layer(params, xs)), expected, 1e-5)
    path = generate(layer, params, xs, next_input=lambda y, key: y, steps=5)
    own = list(before)
    for _ in range(5):
        own.append(predict(np.stack(own[-4:])))
    assert_close(np.asarray(path), np.stack(own[-5:]), 1e-5)


def test_several_values_and_other_sizes():
    layer = mlp_autoregression(2, embedding=3, features=[5], activation="tanh")
    xs = XS[:4]
    params = layer.init(jax.random.key(0), xs)
    assert layer.output_shape(params, xs).shape == layer(params, xs).shape == (4, 2)
    linear = mlp_autoregression(2, features=())
    assert len(linear.init(jax.random.key(0), xs)) == 1


def test_a_latent_model_is_a_cell_and_its_head():
    layer = latent_autoregression(recur.gru(3), 2)
    xs = XS
    params = random_like(layer.init(jax.random.key(0), xs), 1)
    hidden = np.asarray(recur.loop(recur.gru(3))(params[0], xs))
    [[kernel], _, bias] = to_numpy(params[1][0])
    ys = hidden @ kernel + bias
    means, stddevs = layer(params, xs)
    assert_close(np.asarray(means), ys[:, :2], 1e-5)
    assert_close(np.asarray(stddevs), np.log1p(np.exp(ys[:, 2:])) + 1e-4, 1e-5)
    paths = jax.vmap(
        lambda key: generate(layer, params, xs, next_input=gaussian(), steps=1, key=key)
    )(jax.random.split(jax.random.key(1), 3000))
    assert_close(np.asarray(paths.mean(0)[0]), np.asarray(means[-1]), 0.1)
    assert_close(np.asarray(paths.std(0)[0]), np.asarray(stddevs[-1]), 0.1)


@pytest.mark.parametrize("width", [-1e4, 0.0, 1e4])
def test_standard_deviations_are_positive_and_their_loss_finite(width):
    layer = gaussian_head(1)
    xs = np.ones((2, 1), np.float32)
    params = jax.tree.map(lambda leaf: jnp.full(leaf.shape, width / 2, leaf.dtype), layer.init(
        jax.random.key(0), xs))  # fmt: skip

    def loss(params):
        means, stddevs = layer(params, xs)
        return gaussian_nll(means, stddevs, means + 1e-3).sum(), stddevs

    gradient, stddevs = jax.grad(loss, has_aux=True)(params)
    assert (np.asarray(stddevs) >= 1e-4).all()
    assert all(np.isfinite(leaf).all() for leaf in jax.tree.leaves(gradient))
