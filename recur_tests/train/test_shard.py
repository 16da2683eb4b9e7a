"""An update over two devices equals the update on one, however weights are distributed."""

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

import recur
from recur.train import (
    cross_entropy,
    gradient_by_device,
    init_state,
    make_sharded_step,
    make_step,
    masked_mean,
)
from recur_tests.helpers import assert_close, random_like

LAYER = recur.batch(recur.scan(recur.readout(recur.gru(4, param_dtype=jnp.float64), lambda h: h)))
BATCH = {
    "xs": np.random.default_rng(0).standard_normal((4, 6, 3)),
    "targets": np.arange(24).reshape(4, 6) % 4,
    "mask": np.arange(6) < np.array([6, 5, 2, 1])[:, None],
}


def loss(params, carry, batch, key):
    carry, logits = LAYER.run(params, batch["xs"], carry=carry, mask=batch["mask"])
    losses = cross_entropy(logits, batch["targets"], batch["mask"])
    return masked_mean(losses, batch["mask"]), (carry, {"first": logits[:, 0].mean()})


def weight(batch):
    return batch["mask"].sum()


@pytest.fixture
def given():
    params = random_like(jax.eval_shape(LAYER.init, jax.random.key(0), BATCH["xs"]), 1)
    return params, jnp.full((4, 4), 0.3), BATCH, jax.random.key(1)


def test_two_devices_find_the_gradient_of_one(given):
    expected = jax.jit(jax.value_and_grad(loss, has_aux=True))(*given)
    ((value, (carry, _)), gradient) = gradient_by_device(loss, weight=weight)(*given)
    assert_close((value, carry, gradient), (expected[0][0], expected[0][1][0], expected[1]), 1e-12)
    assert carry.devices() == {jax.devices()[0]}


def test_without_a_weight_rows_weigh_the_same(given):
    halves = [jax.tree.map(lambda leaf, k=k: leaf[2 * k : 2 * k + 2], BATCH) for k in (0, 1)]
    values = [jax.jit(loss)(given[0], given[1][:2], half, None)[0] for half in halves]
    (value, _), _ = gradient_by_device(loss)(*given)
    assert_close(value, (values[0] + values[1]) / 2, 1e-12)


def test_a_half_in_which_nothing_counts(given):
    params, carry, batch, key = given
    batch = {**batch, "mask": batch["mask"] & (np.arange(4) < 2)[:, None]}
    (value, _), gradient = gradient_by_device(loss, weight=weight)(params, carry, batch, key)
    expected = jax.jit(jax.value_and_grad(loss, has_aux=True))(params, carry, batch, key)
    assert_close((value, gradient), (expected[0][0], expected[1]), 1e-12)
    nothing = {**batch, "mask": np.zeros((4, 6), bool)}
    assert gradient_by_device(loss, weight=weight)(params, carry, nothing, key)[0][0] == 0


def test_updates_are_those_of_a_step(given):
    optimizer = optax.sgd(0.1, momentum=0.9)
    state = init_state(given[0], optimizer, jax.random.key(2), carry=given[1])
    step = make_sharded_step(loss, optimizer, weight=weight)
    plain = jax.jit(make_step(loss, optimizer))
    ours = theirs = state
    for _ in range(3):
        (ours, metrics), (theirs, expected) = step(ours, BATCH), plain(theirs, BATCH)
    assert_close(
        (ours.params, ours.carry, metrics["loss"], metrics["gradient_norm"]),
        (theirs.params, theirs.carry, expected["loss"], expected["gradient_norm"]),
        1e-9,
    )
    assert int(ours.step) == 3 and set(metrics) == set(expected)


def test_each_device_draws_noise_of_its_own():
    def noise(params, carry, batch, key):
        return params * jax.random.normal(key, dtype=jnp.float64), (carry, {})

    differentiate = gradient_by_device(noise)
    (value, _), _ = differentiate(1.0, None, jnp.ones(2), jax.random.key(0))
    halves = [
        jax.random.normal(key, dtype=jnp.float64) for key in jax.random.split(jax.random.key(0))
    ]
    assert_close(value, (halves[0] + halves[1]) / 2, 1e-12)


def test_rows_that_do_not_divide_are_told(given):
    params, _, batch, key = given
    odd = jax.tree.map(lambda leaf: leaf[:3], batch)
    with pytest.raises(ValueError, match="rows that divide evenly among 2 devices, got 3"):
        gradient_by_device(loss)(params, None, odd, key)
    with pytest.raises(ValueError, match="a first axis of the same number of rows"):
        gradient_by_device(loss)(params, None, {**batch, "mask": np.ones((3, 6), bool)}, key)


def test_weights_below_one_weigh_as_they_are():
    def mean(params, carry, batch, key):
        return params * batch.mean(), (carry, {})

    differentiate = gradient_by_device(mean, weight=lambda batch: 0.1 * batch.sum())
    (value, _), gradient = differentiate(2.0, None, jnp.array([1.0, 3.0]), jax.random.key(0))
    assert_close((value, gradient), (2 * 2.5, jnp.asarray(2.5)), 1e-12)


@pytest.mark.parametrize("dtype", [jnp.int32, jnp.int8, jnp.bool_, jnp.float16, jnp.bfloat16])
def test_metrics_of_any_dtype_are_averaged(dtype):
    def counted(params, carry, batch, key):
        return params * 0.0, (carry, {"count": batch.sum().astype(dtype)})

    ones = jnp.array([1.0, 0.0])
    (_, (_, metrics)), _ = gradient_by_device(counted)(1.0, None, ones, jax.random.key(0))
    assert metrics["count"] == 0.5
