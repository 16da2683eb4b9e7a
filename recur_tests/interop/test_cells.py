"""Cells of other libraries: they run as in their libraries, and fulfil the contract of cells."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from flax import linen as nn
from flax import nnx

import recur
from recur.interop import from_equinox, from_haiku, from_linen, from_nnx
from recur_tests.helpers import assert_close, random_like, weighted_sum

F64 = {"param_dtype": jnp.float64}
LINEN = nn.OptimizedLSTMCell(4, **F64)


def gru_of_nnx(rngs):
    return nnx.GRUCell(3, 4, rngs=rngs, **F64)


def haiku_lstm():
    import haiku as hk

    return hk.LSTM(4)


def equinox_lstm(key):
    import equinox as eqx

    return eqx.nn.LSTMCell(3, 4, key=key, dtype=jnp.float64)


def by_linen(params, carry, xs):
    def step(carry, x):
        return LINEN.apply({"params": params}, carry, x)

    return jax.lax.scan(step, carry, xs)


def by_nnx(params, carry, xs):
    module = gru_of_nnx(nnx.Rngs(0))
    nnx.update(module, params)
    ys = []
    for x in xs:
        carry, y = module(carry, x)
        ys.append(y)
    return carry, jnp.stack(ys)


def by_haiku(params, carry, xs):
    import haiku as hk

    unroll = hk.transform(lambda xs, state: hk.dynamic_unroll(haiku_lstm(), xs, state))
    ys, carry = unroll.apply(params, None, xs, carry)
    return carry, ys


def by_equinox(params, carry, xs):
    import equinox as eqx

    _, static = eqx.partition(equinox_lstm(jax.random.key(0)), eqx.is_array)
    module, ys = eqx.combine(params, static), []
    for x in xs:
        carry = module(x, carry)
        ys.append(carry[0])
    return carry, jnp.stack(ys)


LIBRARIES = {
    "flax.linen": (lambda: from_linen(LINEN), by_linen),
    "flax.nnx": (lambda: from_nnx(gru_of_nnx), by_nnx),
    "haiku": (lambda: from_haiku(haiku_lstm), by_haiku),
    "equinox": (lambda: from_equinox(equinox_lstm), by_equinox),
}


@pytest.mark.parametrize("library", LIBRARIES)
def test_runs_as_in_its_library_and_keeps_the_contract(library):
    pytest.importorskip(library.split(".")[0])
    make, oracle = LIBRARIES[library]
    cell = make()
    layer = recur.scan(cell)
    xs = random_like(jax.ShapeDtypeStruct((5, 3), jnp.float64), 0)
    shapes = jax.eval_shape(layer.init, jax.random.key(0), jax.ShapeDtypeStruct((5, 3), xs.dtype))
    params = random_like(jax.jit(layer.init)(jax.random.key(0), xs), 1)
    assert jax.tree.map(jnp.shape, params) == jax.tree.map(lambda leaf: leaf.shape, shapes)
    carry = random_like(layer.init_carry(params, xs), 2)
    run = jax.jit(layer.run)
    assert_close(run(params, xs, carry=carry), oracle(params, carry, xs))

    padded = jnp.concatenate([xs[:3], jnp.full((2, 3), jnp.nan)])

    @jax.jit
    def learn(params):
        def loss(params, lift):
            ends = lift(cell).run(params, padded, carry=carry, length=3)
            return weighted_sum(ends), ends

        lifts = (recur.scan, recur.newton, lambda cell: recur.checkpoint(recur.scan(cell), 2))
        return [jax.grad(loss, has_aux=True)(params, lift) for lift in lifts]

    scanned, *others = learn(params)
    (last, ys), short = scanned[1], run(params, xs[:3], carry=carry)
    assert_close((last, ys[:3]), short)
    assert not ys[3:].any()
    for found in others:
        assert_close(found, scanned)
    batched = jax.jit(recur.batch(layer))
    ys = batched(params, jnp.stack([xs, padded]), length=jnp.array([5, 3]))
    assert_close(ys[0], jax.jit(layer)(params, xs))


def test_init_draws_from_its_key():
    for make in (lambda: from_linen(LINEN), lambda: from_nnx(gru_of_nnx)):
        cell, x = make(), jnp.ones(3)
        first, again, other = (cell.init(jax.random.key(seed), x) for seed in (0, 0, 1))
        assert_close(first, again, 0)
        kernels = [leaf for leaf in jax.tree.leaves(jax.tree.map(jnp.subtract, first, other))]
        assert any(kernel.any() for kernel in kernels)


class NoisyLinen(nn.RNNCellBase):
    @nn.compact
    def __call__(self, carry, x):
        h = nn.Dropout(0.5, deterministic=None)(carry + x, deterministic=not self.has_rng("params"))
        return h, h

    def initialize_carry(self, rng, input_shape):
        return jnp.zeros(input_shape)

    num_feature_axes = 1


class NoisyNNX(nnx.Module):
    def __init__(self, rngs):
        self.dropout = nnx.Dropout(0.5, rngs=rngs)

    def __call__(self, carry, x):
        h = self.dropout(carry + x)
        return h, h

    def initialize_carry(self, input_shape, rngs=None):
        return jnp.zeros(input_shape)


@pytest.mark.parametrize(
    "cell", [from_linen(NoisyLinen()), from_nnx(NoisyNNX)], ids=["linen", "nnx"]
)
def test_noise_is_on_when_a_key_is_given(cell):
    layer, xs = recur.scan(cell), jnp.ones((6, 8))
    params = layer.init(jax.random.key(0), xs)
    assert_close(layer(params, xs), xs.cumsum(axis=0))
    noisy = layer(params, xs, key=jax.random.key(1))
    assert_close(noisy, layer(params, xs, key=jax.random.key(1)), 0)
    dropped = np.asarray(noisy == 0)
    assert 0 < dropped.mean() < 1
    assert (dropped != dropped[:1]).any(), "a new mask for each step"


class Forgetful(nn.RNNCellBase):
    """Gives back another carry than it is given."""

    @nn.compact
    def __call__(self, carry, x):
        return (carry, x), x

    def initialize_carry(self, rng, input_shape):
        return jnp.zeros(input_shape)

    num_feature_axes = 1


class Counting(Forgetful):
    @nn.compact
    def __call__(self, carry, x):
        self.variable("statistics", "count", lambda: jnp.zeros(()))
        return carry, x


def test_a_carry_that_changes_structure():
    layer, xs = recur.scan(from_linen(Forgetful())), jnp.ones((2, 3))
    with pytest.raises(
        ValueError, match=r"the next carry .* of the carry before it, float64\[3\], got \(f"
    ):
        layer({}, xs)


def test_variables_that_are_not_parameters():
    with pytest.raises(ValueError, match="mutable collections"):
        from_linen(Counting()).init(jax.random.key(0), jnp.ones(3))

    class Averaging(NoisyNNX):
        def __init__(self, rngs):
            self.mean = nnx.BatchStat(jnp.zeros(3))

    with pytest.raises(
        ValueError, match="only parameters and random streams as variables, got .*mean"
    ):
        from_nnx(Averaging)


def test_what_is_no_cell():
    with pytest.raises(TypeError, match="from_linen: expected a recurrent cell of Flax Linen"):
        from_linen(nn.Dense(3))
    with pytest.raises(TypeError, match="from_nnx: expected a function of rngs"):
        from_nnx(gru_of_nnx(nnx.Rngs(0)))
    with pytest.raises(TypeError, match="from_nnx: expected a function of rngs"):
        from_nnx(lambda rngs: nnx.Linear(3, 3, rngs=rngs))
    with pytest.raises(TypeError, match="from_nnx: expected a function of rngs.* got GRUCell.$"):
        from_nnx(nn.GRUCell(3))


def test_what_is_no_core_of_haiku():
    hk = pytest.importorskip("haiku")
    with pytest.raises(TypeError, match="from_haiku: expected a function that makes a core"):
        from_haiku(3)
    with pytest.raises(TypeError, match="makes a core, .* got function which returns Linear"):
        from_haiku(lambda: hk.Linear(3)).init(jax.random.key(0), jnp.ones(3))


def test_equinox_modules_of_ones_own():
    eqx = pytest.importorskip("equinox")
    with pytest.raises(TypeError, match="from_equinox: expected a function of a key"):
        from_equinox(equinox_lstm(jax.random.key(0)))

    class Sum(eqx.Module):
        leak: jax.Array

        def __call__(self, x, state):
            return {"total": self.leak * state["total"] + x}

    def make(key):
        return Sum(jnp.asarray(0.5))

    with pytest.raises(
        ValueError, match=r"from_equinox\(Sum\): expected a cell with a hidden_size"
    ):
        from_equinox(make)
    layer = recur.scan(
        from_equinox(
            make,
            init_carry=lambda cell, x: {"total": jnp.zeros_like(x)},
            output=lambda state: 2 * state["total"],
        )
    )
    xs = jnp.ones((3, 1))
    params = layer.init(jax.random.key(0), xs)
    assert layer(params, xs)[:, 0].tolist() == [2.0, 3.0, 3.5]
