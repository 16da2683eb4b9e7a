"""Recorded norms against NumPy, and in chains, masks, accumulation, checkpoints and `fit`."""

import itertools

import jax
import jax.numpy as jnp
import numpy as np
import optax

from recur.train import (
    Checkpoints,
    JsonLines,
    fit,
    init_state,
    make_step,
    read_json_lines,
    record_norms,
    recorded_norms,
)

RATE, LIMIT = 0.1, 1.5
PARAMS = ({"kernel": jnp.array([3.0, 4.0]), "bias": jnp.zeros(2)}, jnp.array([[1.0, 2.0]]))
GRADIENT = ({"kernel": jnp.array([1.0, -2.0]), "bias": jnp.ones(2)}, jnp.array([[0.5, 0.5]]))


def norm(*arrays):
    return np.sqrt(sum(np.sum(np.asarray(a, np.float64) ** 2) for a in arrays))


def expected(gradient, params, limit=LIMIT):
    """The values by NumPy, for gradient descent after clipping by the global norm."""
    layers = {"0": [gradient[0]["kernel"], gradient[0]["bias"]], "1": [gradient[1]]}
    weights = {"0": [params[0]["kernel"], params[0]["bias"]], "1": [params[1]]}
    scale = min(1, limit / norm(*itertools.chain(*layers.values())))
    found = {}
    for name, leaves in layers.items():
        found[f"gradient_norm/{name}"] = norm(*leaves)
        found[f"clipped_norm/{name}"] = scale * norm(*leaves)
        found[f"clipped/{name}"] = float(scale < 1)
        found[f"update_ratio/{name}"] = RATE * scale * norm(*leaves) / norm(*weights[name])
        found[f"weight_norm/{name}"] = norm(*weights[name])
    return found


def check(found, wanted):
    assert found.keys() == wanted.keys()
    for name, value in wanted.items():
        np.testing.assert_allclose(found[name], value, rtol=1e-6, err_msg=name)


def recorder():
    return record_norms(optax.sgd(RATE), clip=optax.clip_by_global_norm(LIMIT))


def test_values_are_those_of_numpy_and_updates_those_of_a_chain():
    plain = optax.chain(optax.clip_by_global_norm(LIMIT), optax.sgd(RATE))
    update = jax.jit(recorder().update)
    for scale in (1.0, 0.1):  # one that is clipped and one that is not
        gradient = jax.tree.map(lambda g, scale=scale: g * scale, GRADIENT)
        updates, state = update(gradient, recorder().init(PARAMS), PARAMS)
        wanted, _ = plain.update(gradient, plain.init(PARAMS), PARAMS)
        jax.tree.map(np.testing.assert_array_equal, updates, wanted)
        check(recorded_norms(state), expected(gradient, PARAMS))


def test_without_clipping_and_by_deeper_paths():
    optimizer = record_norms(optax.sgd(RATE), depth=2)
    _, state = optimizer.update(GRADIENT, optimizer.init(PARAMS), PARAMS)
    found = recorded_norms(state)
    kinds = {"gradient_norm", "update_ratio", "weight_norm"}
    assert set(found) == {f"{k}/{n}" for k in kinds for n in ("0/kernel", "0/bias", "1")}
    assert found["update_ratio/0/bias"] == 0  # weights of zero
    np.testing.assert_allclose(found["update_ratio/0/kernel"], RATE * norm([1, -2]) / 5, rtol=1e-6)


def test_in_a_mask_in_a_chain():
    masked = optax.chain(
        optax.scale(2.0), optax.masked(recorder(), ({"kernel": True, "bias": False}, False))
    )
    _, state = masked.update(GRADIENT, masked.init(PARAMS), PARAMS)
    found = recorded_norms(state)
    assert {name.split("/")[1] for name in found} == {"0"}
    np.testing.assert_allclose(found["gradient_norm/0"], 2 * norm([1, -2]), rtol=1e-6)


def test_accumulated_gradients(lenient):
    optimizer = optax.MultiSteps(recorder(), 2)
    _, state = optimizer.update(GRADIENT, optimizer.init(PARAMS), PARAMS)
    assert recorded_norms(state)["gradient_norm/1"] == 0
    tripled = jax.tree.map(lambda g: 3 * g, GRADIENT)
    _, state = optimizer.update(tripled, state, PARAMS)
    check(recorded_norms(state), expected(jax.tree.map(lambda g: 2 * g, GRADIENT), PARAMS))


def test_bfloat16_weights_have_float32_norms():
    params = jnp.full(1000, 0.1, jnp.bfloat16)
    optimizer = record_norms(optax.sgd(RATE))
    _, state = optimizer.update(params, optimizer.init(params), params)
    found = recorded_norms(state)["weight_norm/params"]
    assert found.dtype == jnp.float32
    np.testing.assert_allclose(found, norm(np.asarray(params, np.float64)), rtol=1e-5)


def test_fit_logs_the_means_and_a_checkpoint_holds_the_state(tmp_path):
    def loss(w, carry, x, key):
        return 0.5 * jnp.sum((w["w"] - x) ** 2), (carry, {})

    optimizer = record_norms(optax.sgd(RATE), clip=optax.clip_by_global_norm(LIMIT))
    start = init_state({"w": jnp.array([1.7])}, optimizer, jax.random.key(0))
    step = jax.jit(make_step(loss, optimizer))
    path = tmp_path / "metrics.jsonl"
    state = fit(
        step, start, itertools.repeat(0.0), steps=4, callbacks=[JsonLines(path)], report_every=4
    )
    w, clipped = 1.7, []
    for _ in range(4):
        clipped.append(w >= LIMIT)
        w -= RATE * min(w, LIMIT)
    [record] = read_json_lines(path)
    assert record["clipped/w"] == np.mean(clipped) == 0.5
    np.testing.assert_allclose(record["gradient_norm/w"], record["gradient_norm"], rtol=1e-6)
    with Checkpoints(tmp_path / "checkpoints") as checkpoints:
        checkpoints.save(state)
        restored = checkpoints.restore(start).state
    check(recorded_norms(restored), {k: float(v) for k, v in recorded_norms(state).items()})
