"""The moving average of the params equals a weighted mean in NumPy, wherever it is in the chain."""

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest
from jax.sharding import AxisType, NamedSharding, PartitionSpec

from recur.train import (
    Checkpoints,
    TrainState,
    by_path,
    ema_params,
    init_state,
    make_step,
    params_ema,
)
from recur_tests.helpers import assert_close

PARAMS = {"kernel": np.arange(6.0).reshape(2, 3), "bias": np.ones(3)}
BATCHES = np.random.default_rng(0).standard_normal((7, 3))


def loss(params, carry, batch, key):
    return jnp.square(params["kernel"] @ batch + params["bias"].sum()).sum(), (carry, {})


def trained(optimizer, params=PARAMS, batches=BATCHES):
    """The state after each update."""
    step = jax.jit(make_step(loss, optimizer))
    states = [init_state(params, optimizer, jax.random.key(0))]
    for batch in batches:
        states.append(step(states[-1], batch)[0])
    return states


def weighted_mean(history, decay):
    weights = np.float64(decay) ** np.arange(len(history))[::-1]
    return jax.tree.map(lambda *each: np.average(np.stack(each), axis=0, weights=weights), *history)


@pytest.mark.parametrize("decay", [0.0, 0.5, 0.9, 0.9999, 1 - 1e-9, 1.0])
def test_weighs_the_params_of_all_updates(lenient, decay):
    first, *states = trained(optax.chain(optax.adam(0.1), params_ema(decay)))
    assert_close(ema_params(first), PARAMS, 0)
    for count in range(1, len(states) + 1):
        history = [state.params for state in states[:count]]
        assert_close(ema_params(states[count - 1]), weighted_mean(history, decay), 1e-12)


def test_equals_the_corrected_average_of_optax(lenient):
    states = trained(optax.chain(optax.sgd(0.01), params_ema(0.8)))
    ema = optax.ema(0.8)
    of_optax = ema.init(PARAMS)
    for state in states[1:]:
        expected, of_optax = ema.update(state.params, of_optax)
        assert_close(ema_params(state), expected, 1e-12)


def test_updates_are_unchanged(lenient):
    plain, averaged = optax.adam(0.1), optax.chain(optax.adam(0.1), params_ema(0.9))
    assert_close(trained(averaged)[-1].params, trained(plain)[-1].params, 0)


def test_params_of_16_bits_are_averaged_in_float32():
    updates = {"w": jnp.full(3, 2.0**-8, jnp.bfloat16), "n": jnp.zeros(2, jnp.int8)}
    params = {"w": jnp.full(3, 0.5, jnp.bfloat16), "n": jnp.array([1, 2], jnp.int8)}
    average = params_ema(1.0)
    state, history = average.init(params), []
    for _ in range(40):
        passed, state = jax.jit(average.update)(updates, state, params)
        params = optax.apply_updates(params, passed)
        history.append(np.asarray(params["w"], np.float64))
    assert state.average["w"].dtype == jnp.float32
    assert_close(state.average["w"], np.mean(history, axis=0).astype(np.float32), 1e-6)
    found = ema_params(TrainState(jnp.zeros((), int), params, state, None, None))
    assert found["w"].dtype == jnp.bfloat16 and found["n"].dtype == jnp.int8
    assert found["n"].tolist() == [1, 2]


def test_counts_updates_of_accumulated_gradients(lenient):
    inner = optax.chain(optax.sgd(0.01), params_ema(0.5))
    states = trained(optax.MultiSteps(inner, 2))
    history = [states[count].params for count in (2, 4, 6)]
    assert_close(ema_params(states[6]), weighted_mean(history, 0.5), 1e-12)
    assert_close(ema_params(states[7]), ema_params(states[6]), 0)


@pytest.mark.parametrize("mask", [by_path("kernel"), {"kernel": True, "bias": False}])
def test_masked_leaves_are_those_of_the_params(lenient, mask):
    optimizer = optax.chain(optax.sgd(0.01), optax.masked(params_ema(0.5), mask))
    _, *states = trained(optimizer)
    expected = weighted_mean([state.params for state in states], 0.5)
    found = ema_params(states[-1])
    assert_close(found["kernel"], expected["kernel"], 1e-12)
    assert_close(found["bias"], states[-1].params["bias"], 0)


def test_masks_of_subtrees(lenient):
    params = {"a": {"x": jnp.ones(2), "y": jnp.ones(2)}, "b": jnp.ones(2)}
    optimizer = optax.masked(params_ema(0.5), {"a": False, "b": True})
    assert_close(ema_params(init_state(params, optimizer, jax.random.key(0))), params, 0)


def test_an_ensemble_has_an_average_for_each_member(lenient):
    optimizer = optax.chain(optax.adam(0.1), params_ema(0.7))
    members = [jax.tree.map(lambda w, k=k: w + k, PARAMS) for k in range(3)]
    states = [init_state(each, optimizer, jax.random.key(0)) for each in members]
    ensemble = jax.tree.map(lambda *each: jnp.stack(each), *states)
    step = jax.jit(jax.vmap(make_step(loss, optimizer), in_axes=(0, None)))
    for batch in BATCHES:
        ensemble, _ = step(ensemble, batch)
    expected = [ema_params(trained(optimizer, each)[-1]) for each in members]
    assert_close(ema_params(ensemble), jax.tree.map(lambda *e: np.stack(e), *expected), 1e-12)


@pytest.mark.parametrize("axis_type", [AxisType.Auto, AxisType.Explicit])
def test_keeps_shardings_and_donates(lenient, axis_type):
    mesh = jax.make_mesh((2,), ("rows",), axis_types=(axis_type,))
    placed = jax.device_put(
        PARAMS,
        {
            "kernel": NamedSharding(mesh, PartitionSpec("rows", None)),
            "bias": NamedSharding(mesh, PartitionSpec()),
        },
    )
    optimizer = optax.chain(optax.sgd(0.01), params_ema(0.5))
    step = jax.jit(
        make_step(lambda w, c, x, k: (optax.tree.norm(w), (c, {})), optimizer), donate_argnums=0
    )
    with jax.set_mesh(mesh):
        state = init_state(placed, optimizer, jax.random.key(0))
        state, _ = step(state, 0.0)
        found = ema_params(state)
    assert found["kernel"].sharding.is_equivalent_to(placed["kernel"].sharding, 2)
    assert_close(found, state.params, 1e-12)


def test_is_part_of_a_checkpoint(lenient, tmp_path):
    optimizer = optax.chain(optax.sgd(0.01), params_ema(0.5))
    first, *_, state = trained(optimizer)
    with Checkpoints(tmp_path / "run") as checkpoints:
        checkpoints.save(state)
        restored = checkpoints.restore(like=first).state
    assert_close(ema_params(restored), ema_params(state), 0)


def test_averages_of_a_state_are_found_once():
    without = init_state(PARAMS, optax.adam(0.1), jax.random.key(0))
    with pytest.raises(ValueError, match="one params_ema in the optimizer, got none. Put it last"):
        ema_params(without)
    twice = optax.chain(optax.sgd(0.1), params_ema(0.5), params_ema(0.9))
    with pytest.raises(ValueError, match="expected one params_ema in the optimizer, got 2"):
        ema_params(init_state(PARAMS, twice, jax.random.key(0)))
