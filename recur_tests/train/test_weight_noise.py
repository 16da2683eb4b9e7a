import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

import recur
from recur.train import by_path, init_state, make_step
from recur.train.weight_noise import weight_drop, weight_noise
from recur_tests.helpers import assert_close, random_like

KEY = jax.random.key(5)
RECURRENT = by_path("*recurrent_kernel")
CHAIN = recur.chain(*(recur.scan(recur.lstm(24, param_dtype=jnp.float64)) for _ in range(2)))
XS = np.ones((4, 3))
PARAMS = {"kernel": np.ones((40, 50)), "bias": np.ones(2000)}


@pytest.fixture(scope="module")
def params():
    with jax.enable_x64(True):
        shapes = jax.eval_shape(lambda key: CHAIN.init(key, XS), KEY)
        return random_like(shapes, 1)


def test_drops_whole_weights_of_the_chosen_paths_alone(params):
    dropped = jax.jit(weight_drop(0.25, RECURRENT))(KEY, params)
    changed = jax.tree.map(lambda a, b: bool((a != b).any()), dropped, params)
    assert changed == RECURRENT(params)
    kernels = [kernel for p in params for kernel in p.recurrent_kernel]
    found = [kernel for p in dropped for kernel in p.recurrent_kernel]
    zero = np.stack([kernel == 0 for kernel in found])
    for kernel, before, gone in zip(found, kernels, zero, strict=True):
        np.testing.assert_allclose(kernel, np.where(gone, 0, before / 0.75), 1e-12)
    assert abs(zero.mean() - 0.25) < 5 * np.sqrt(0.25 * 0.75 / zero.size)
    both = (zero[1:] & zero[:-1]).mean()  # each kernel has a mask of its own
    assert abs(both - 1 / 16) < 5 * np.sqrt(1 / 16 / zero[1:].size)


@pytest.mark.parametrize("noise", [weight_drop(0.0, RECURRENT), weight_noise(0.0)])
def test_no_noise_changes_nothing(noise, params):
    assert_close(jax.jit(noise)(KEY, params), params, 0)


@pytest.mark.parametrize("noise", [weight_drop(0.5, RECURRENT), weight_noise(0.5)])
def test_no_key_gives_the_very_params(noise, params):
    assert noise(None, params) is params


def test_the_mean_over_keys_is_the_weight():
    w = jnp.array([1.0, -2.0, 0.5])
    keys = jax.random.split(KEY, 4000)
    for noise in (weight_drop(0.5, None), weight_noise(1.0)):
        mean = jax.vmap(noise, (0, None))(keys, w).mean(0)
        np.testing.assert_allclose(mean, w, atol=5 * 2 / np.sqrt(len(keys)))


def test_adds_normal_noise_to_each_of_the_chosen_weights():
    noisy = weight_noise(0.1, by_path("kernel"))(KEY, PARAMS)
    assert noisy["bias"] is PARAMS["bias"]
    noise = {name: w - 1 for name, w in weight_noise(0.1)(KEY, PARAMS).items()}
    for each in (noisy["kernel"] - 1, *noise.values()):
        assert abs(each.mean()) < 5 * 0.1 / np.sqrt(2000)
        assert abs(each.std() - 0.1) < 5 * 0.1 / np.sqrt(4000)
    together = (noise["kernel"].ravel() * noise["bias"]).mean() / 0.01
    assert abs(together) < 5 / np.sqrt(2000)


@pytest.mark.parametrize(
    ("where", "chosen"),
    [
        (None, {"a": True, "b": {"c": True, "d": True}}),
        ({"a": False, "b": True}, {"a": False, "b": {"c": True, "d": True}}),
        (by_path("b/d"), {"a": False, "b": {"c": False, "d": True}}),
    ],
    ids=["all", "prefix", "path"],
)
def test_takes_masks_as_optax_does(where, chosen):
    ones = {"a": jnp.ones(30), "b": {"c": jnp.ones(30), "d": jnp.ones(30)}}
    for noise in (weight_drop(0.5, where), weight_noise(0.5, where)):
        changed = jax.tree.map(lambda w: bool((w != 1).any()), jax.jit(noise)(KEY, ones))
        assert changed == chosen


def test_keeps_dtypes_and_leaves_whole_numbers_alone():
    params = {
        "half": jnp.ones(9, jnp.bfloat16),
        "single": jnp.ones(9, jnp.float32),
        "complex": jnp.ones(9, jnp.complex64),
        "whole": jnp.ones(9, jnp.int32),
        "flag": jnp.ones(9, bool),
    }
    for noise in (weight_drop(0.5, None), weight_noise(0.5)):
        noisy = jax.jit(noise)(KEY, params)
        assert jax.tree.map(lambda w: w.dtype, noisy) == jax.tree.map(lambda w: w.dtype, params)
        changed = {name for name, w in noisy.items() if (w != params[name]).any()}
        assert changed == {"half", "single", "complex"}


def test_rows_of_a_batch_have_one_recurrent_kernel(params):
    layer, drop = recur.batch(CHAIN), weight_drop(0.5, RECURRENT)

    @jax.jit
    def run(key):
        return layer(drop(key, params), np.stack([XS, XS, 2 * XS]))

    ys = run(KEY)
    np.testing.assert_array_equal(ys[0], ys[1])
    assert (ys[0] != ys[2]).any()
    assert (run(jax.random.key(6)) != ys).any()


@pytest.mark.usefixtures("lenient")
def test_a_step_of_training_moves_no_weight_that_is_dropped():
    layer = recur.batch(recur.scan(recur.elman(20, param_dtype=jnp.float64)))
    xs, drop = (
        random_like(jax.ShapeDtypeStruct((2, 4, 3), jnp.float64), 2),
        weight_drop(0.5, RECURRENT),
    )

    def loss(params, carry, xs, key):
        return jnp.square(layer(drop(key, params), xs)).mean(), (carry, {})

    optimizer = optax.sgd(0.1)
    params = layer.init(KEY, xs)
    state = init_state(params, optimizer, KEY)
    after = jax.jit(make_step(loss, optimizer))(state, xs)[0].params
    dropped = drop(jax.random.fold_in(KEY, 0), params).recurrent_kernel == 0
    unmoved = after.recurrent_kernel == params.recurrent_kernel
    np.testing.assert_array_equal(unmoved, dropped)
    assert (after.kernel != params.kernel).all()


def test_the_gradient_is_that_at_the_noisy_weights():
    w = jnp.arange(1.0, 4.0)
    add = weight_noise(0.5)
    gradient = jax.grad(lambda w: jnp.sum(add(KEY, w) ** 3))(w)
    assert_close(gradient, 3 * add(KEY, w) ** 2)


def test_wrong_input_is_an_error(params):
    with pytest.raises(ValueError, match=r"weight_drop: expected rate in \[0, 1\), got 1\.0"):
        weight_drop(1.0, RECURRENT)
    for stddev in (-0.1, float("nan")):
        with pytest.raises(ValueError, match="weight_noise: expected stddev of at least 0, got"):
            weight_noise(stddev)
    with pytest.raises(TypeError, match="expected a typed key"):
        weight_drop(0.5, RECURRENT)(0, params)
    with pytest.raises(ValueError, match="expected a pattern that selects weights, got 'kernle'"):
        weight_noise(0.5, by_path("kernle"))(KEY, params)
