"""Layers as modules of Linen, NNX and Equinox: trained, saved and run as those of the library."""

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest
from flax import linen as nn
from flax import nnx, serialization
from flax.training.train_state import TrainState

import recur
from recur.interop import to_equinox, to_linen, to_nnx
from recur_tests.helpers import assert_close

XS = np.random.default_rng(0).standard_normal((2, 4, 3))
LENGTH = np.array([4, 2])
STEPS = 3
F64 = {"param_dtype": jnp.float64}


def make():
    """Returns a batched layer whose params have tuples, NamedTuples and dicts, and noise."""
    cells = recur.stack(recur.gru(4, **F64))
    chain = recur.chain(recur.scan(cells), nn.Dropout(0.5), nn.Dense(2, **F64))
    layer = recur.batch(chain)
    return layer, layer.init(jax.random.key(0), XS)


def optimizer():
    return optax.sgd(0.1, momentum=0.9)


def loss_of(ys):
    return jnp.square(ys - 1).mean()


def trained_here():
    """Returns params after some steps of plain JAX and Optax: the oracle."""
    layer, params = make()
    state = optimizer().init(params)

    @jax.jit
    def update(params, state):
        gradient = jax.grad(lambda p: loss_of(layer(p, XS, length=LENGTH)))(params)
        updates, state = optimizer().update(gradient, state)
        return optax.apply_updates(params, updates), state

    for _ in range(STEPS):
        params, state = update(params, state)
    return params


@pytest.fixture(scope="module")
def oracle():
    with jax.enable_x64(True):
        return trained_here()


def test_linen_trains_with_its_train_state_and_saves(oracle):
    layer, params = make()
    module = to_linen(layer, params)
    variables = module.init(jax.random.key(1), XS)
    state = TrainState.create(apply_fn=module.apply, params=variables["params"], tx=optimizer())

    @jax.jit
    def update(state):
        def loss(params):
            return loss_of(state.apply_fn({"params": params}, XS, seq_lengths=LENGTH))

        return state.apply_gradients(grads=jax.grad(loss)(state.params))

    for _ in range(STEPS):
        state = update(state)
    assert_close(state.params["0"]["0"]["kernel"]["update"], oracle[0][0].kernel.update)
    assert_close(jax.tree.leaves(state.params["2"]), jax.tree.leaves(oracle[2]))
    saved = serialization.to_bytes(state.params)
    restored = serialization.from_bytes(variables["params"], saved)
    assert_close(module.apply({"params": restored}, XS), layer(oracle, XS))


def test_linen_draws_params_and_runs_inside_other_modules():
    layer, _ = make()
    outer = nn.Sequential([nn.Dense(3, **F64), to_linen(layer)])
    init = jax.jit(outer.init)
    variables = init(jax.random.key(0), XS)
    kernel = variables["params"]["layers_1"]["0"]["0"]["kernel"]["reset"]
    assert kernel.shape == (3, 4) and kernel.any()
    other = init(jax.random.key(1), XS)["params"]["layers_1"]
    assert (other["0"]["0"]["kernel"]["reset"] != kernel).any()
    assert outer.apply(variables, XS).shape == (2, 4, 2)
    single = to_linen(recur.scan(recur.elman(2, **F64)))
    assert set(single.init(jax.random.PRNGKey(0), XS[0])["params"]) == {
        "bias",
        "kernel",
        "recurrent_kernel",
    }


def test_nnx_trains_with_its_optimizer_and_saves(oracle):
    layer, params = make()
    module = to_nnx(layer, params)
    trainer = nnx.Optimizer(module, optimizer(), wrt=nnx.Param)

    @nnx.jit
    def update(module, trainer):
        gradient = nnx.grad(lambda module: loss_of(module(XS, seq_lengths=LENGTH)))(module)
        trainer.update(module, gradient)

    for _ in range(STEPS):
        update(module, trainer)
    kernel = module.params["0"]["0"]["kernel"]["update"]
    assert isinstance(kernel, nnx.Param)
    assert_close(kernel[...], oracle[0][0].kernel.update)
    saved = serialization.to_bytes(nnx.to_pure_dict(nnx.state(module, nnx.Param)))
    restored = to_nnx(layer, params)
    pure = nnx.to_pure_dict(nnx.state(restored, nnx.Param))
    nnx.update(restored, serialization.from_bytes(pure, saved))
    assert_close(restored(XS), layer(oracle, XS))


def test_equinox_trains_with_filter_grad_and_saves(oracle, tmp_path):
    eqx = pytest.importorskip("equinox")
    layer, params = make()
    module = to_equinox(layer, params)
    state = optimizer().init(eqx.filter(module, eqx.is_inexact_array))

    @eqx.filter_jit
    def update(module, state):
        gradient = eqx.filter_grad(lambda m: loss_of(m(XS, length=LENGTH)))(module)
        updates, state = optimizer().update(gradient, state)
        return eqx.apply_updates(module, updates), state

    for _ in range(STEPS):
        module, state = update(module, state)
    assert_close(module.params, oracle)
    eqx.tree_serialise_leaves(tmp_path / "module.eqx", module)
    restored = eqx.tree_deserialise_leaves(tmp_path / "module.eqx", to_equinox(layer, params))
    assert_close(restored(XS), layer(oracle, XS))


def test_carries_and_keys():
    """A sequence in two pieces gives the same as at once; noise is on where the library says so."""
    eqx = pytest.importorskip("equinox")
    layer, params = make()
    carry, expected = layer.run(params, XS)
    key = jax.random.key(3)
    linen, equinox = to_linen(layer, params), to_equinox(layer, params)
    variables, module = linen.init(key, XS), to_nnx(layer, params, rngs=nnx.Rngs(dropout=0))

    def by_linen(xs, carry=None):
        return linen.apply(variables, xs, initial_carry=carry, return_carry=True)

    def by_nnx(xs, carry=None):
        return module(xs, initial_carry=carry, return_carry=True)

    def by_equinox(xs, carry=None):
        return equinox.run(xs, carry=carry)

    noisy = module(XS)
    assert (noisy != expected).any() and (noisy != module(XS)).any()
    assert (module(XS, rngs=nnx.Rngs(0)) == module(XS, rngs=nnx.Rngs(0))).all()
    module.eval()
    assert jax.tree.structure(params) == jax.tree.structure(equinox.params)
    for run in (by_linen, by_nnx, by_equinox):
        half, first = run(XS[:, :2])
        last, second = run(XS[:, 2:], half)
        assert_close((last, jnp.concatenate([first, second], axis=1)), (carry, expected))
    assert (linen.apply(variables, XS, rngs={"dropout": key}) != expected).any()
    raw = jax.random.PRNGKey(0)
    assert (linen.apply(variables, XS, rngs={"dropout": raw}) != expected).any()
    assert (equinox(XS, key=key) != expected).any() and (equinox(XS, key=raw) != expected).any()
    assert_close(eqx.nn.inference_mode(equinox)(XS, key=key), expected)


def modules_that_hold_weights():
    eqx = pytest.importorskip("equinox")
    return {
        "nnx": nnx.Linear(3, 3, rngs=nnx.Rngs(0), **F64),
        "equinox": eqx.nn.Linear(3, 3, key=jax.random.key(0), dtype=jnp.float64),
    }


PLACES = {
    "chain": lambda module: recur.chain(module, recur.scan(recur.elman(3, **F64))),
    "readin": lambda module: recur.scan(recur.readin(recur.elman(3, **F64), module)),
    "readout": lambda module: recur.scan(recur.readout(recur.elman(3, **F64), module)),
}


@pytest.mark.parametrize("library", ["nnx", "equinox"])
@pytest.mark.parametrize("place", PLACES)
def test_modules_of_other_libraries_are_trained_inside_layers(place, library):
    layer = PLACES[place](modules_that_hold_weights()[library])
    params = layer.init(jax.random.key(0), XS[0])

    @jax.jit
    def update(params, state):
        value, gradient = jax.value_and_grad(lambda p: loss_of(layer(p, XS[0])))(params)
        updates, state = optimizer().update(gradient, state)
        return optax.apply_updates(params, updates), state, value

    trained, state, first = update(params, optimizer().init(params))
    for _ in range(30):
        trained, state, last = update(trained, state)
    assert last < 0.5 * first
    moved = jax.tree.map(lambda a, b: bool((a != b).any()), params, trained)
    assert len(jax.tree.leaves(moved)) == 5 and all(jax.tree.leaves(moved))
