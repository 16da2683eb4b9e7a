import jax
import jax.numpy as jnp
import numpy as np
import pytest
from flax import linen as nn

import recur
from recur.combine.transition import TransitionParams, deep_transition
from recur_tests.combine.loops import products_in_loop
from recur_tests.contract.cases import dense
from recur_tests.helpers import assert_close, random_like, weighted_sum

LSTM, GRU, BEFORE = (
    recur.lstm(4, param_dtype=jnp.float64),
    recur.gru(4, param_dtype=jnp.float64),
    recur.gru(4, reset="before", param_dtype=jnp.float64),
)
EXACT = {"param_dtype": jnp.float64, "force_float32_reductions": False}
XS = np.linspace(-1, 1, 15).reshape(5, 3)


def given(layer):
    params = random_like(jax.eval_shape(layer.init, jax.random.key(0), XS), seed=1)
    return params, random_like(layer.init_carry(params, XS), seed=2)


@pytest.mark.parametrize("cell", [LSTM, GRU, BEFORE], ids=["lstm", "gru", "before"])
def test_by_the_identity_it_is_the_cell(cell):
    layer = recur.scan(deep_transition(cell, "identity"))
    params, carry = given(layer)
    expected = recur.scan(cell).run(params.cell, XS, carry=carry)
    assert_close(layer.run(params, XS, carry=carry), expected)


def test_a_shortcut_whose_net_takes_the_old_state_stands_still():
    layer = recur.scan(deep_transition(LSTM, lambda both: both[4:], shortcut=True))
    params, carry = given(layer)
    final, hs = layer.run(params, XS, carry=carry)
    assert_close(hs, jnp.broadcast_to(carry.hidden, (5, 4)))
    assert_close(final.hidden, carry.hidden)
    assert (final.cell != carry.cell).all()


@pytest.mark.parametrize("shortcut", [False, True])
def test_the_net_stands_between_the_states(shortcut):
    cell = deep_transition(LSTM, nn.Sequential([dense(6), nn.tanh, dense(4)]), shortcut)
    layer = recur.scan(cell)
    params, carry = given(layer)
    assert isinstance(params, TransitionParams)

    def psi(net, a):
        inner = jnp.tanh(a @ net["layers_0"]["kernel"] + net["layers_0"]["bias"])
        return inner @ net["layers_2"]["kernel"] + net["layers_2"]["bias"]

    def by_hand(params, carry, xs):
        hs = []
        for x in xs:
            state, h = LSTM.step(params.cell, carry, x)
            seen = jnp.concatenate([h, carry.hidden]) if shortcut else h
            carry = state._replace(hidden=psi(params.transition, seen))
            hs.append(carry.hidden)
        return carry, jnp.stack(hs)

    def gradients(run):
        def loss(*given):
            ends = run(*given)
            return weighted_sum(ends), ends

        return jax.jit(jax.grad(loss, argnums=(0, 1, 2), has_aux=True))(params, carry, XS[:3])

    actual = gradients(lambda params, carry, xs: layer.run(params, xs, carry=carry))
    assert_close(actual, gradients(by_hand))


def test_the_products_of_the_net_are_in_the_loop_and_those_of_the_input_are_not():
    assert products_in_loop(deep_transition(LSTM, dense(4))) == [(4,), (16,)]


def test_noise_in_the_net_is_fed_back():
    cell = deep_transition(recur.gru(64), nn.Dropout(0.5))
    xs = jnp.ones((4, 3), jnp.float32)
    scanned, looped = recur.scan(cell), recur.loop(cell)
    params = scanned.init(jax.random.key(0), xs)
    carry, hs = scanned.run(params, xs, key=jax.random.key(1))
    assert_close((carry, hs), looped.run(params, xs, key=jax.random.key(1)), 1e-5)
    assert 0.3 < (hs == 0).mean() < 0.7
    assert ((hs[0] == 0) != (hs[1] == 0)).any()
    assert (carry == hs[-1]).all()


def test_the_state_keeps_its_dtype():
    """Flax computes in what weights and inputs promote to, a carry stays what it was."""
    with jax.numpy_dtype_promotion("standard"):
        layer = recur.scan(deep_transition(recur.gru(4, dtype=jnp.bfloat16), nn.Dense(4)))
        xs = jnp.asarray(XS, jnp.float32)
        assert layer(layer.init(jax.random.key(0), xs), xs).dtype == jnp.bfloat16


def test_it_nests_and_runs_in_a_batch():
    cell = recur.readout(deep_transition(deep_transition(LSTM, dense(4)), "tanh"), dense(2))
    layer = recur.scan(cell)
    params, _ = given(layer)
    xs = jnp.stack([XS, np.sin(5 * XS)])
    ys = recur.batch(layer)(params, xs.at[1, 3:].set(jnp.nan), length=jnp.array([5, 3]))
    assert_close(ys[0], layer(params, xs[0]))
    assert_close(ys[1], jnp.zeros((5, 2)).at[:3].set(layer(params, xs[1, :3])))


def test_wrong_input_is_an_error():
    with pytest.raises(TypeError, match="deep_transition: expected a cell, got a layer"):
        deep_transition(recur.scan(GRU), "tanh")
    with pytest.raises(TypeError, match="expected a module"):
        deep_transition(GRU, 3)
    with pytest.raises(ValueError, match="unknown activation"):
        deep_transition(GRU, "sofmax")
    with pytest.raises(ValueError, match="mutable collections"):
        batch_norm = nn.BatchNorm(False, **EXACT)
        deep_transition(GRU, batch_norm).init(jax.random.key(0), XS[0])
    with pytest.raises(
        TypeError, match="deep_transition: expected a carry that is one array, the hidden state"
    ):
        deep_transition(recur.stack(GRU, GRU), "tanh").init(jax.random.key(0), XS[0])
    layer = recur.scan(deep_transition(GRU, dense(5)))
    params = layer.init(jax.random.key(0), XS)
    with pytest.raises(ValueError, match=r"keep the shape of the hidden state, \[4\], got \[5\]"):
        layer(params, XS)
