"""Gradients by lag, against backpropagation through time by hand in NumPy."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import recur
from recur.diagnose import (
    carry_gradients,
    gradient_by_lag,
    input_gradients,
    param_gradient_by_lag,
)
from recur.sequences import pool

T, INPUTS, H = 7, 3, 4
DRAWS = np.random.default_rng(0)
XS = DRAWS.normal(size=(T, INPUTS)).astype(np.float32)
FIRST = DRAWS.normal(size=H).astype(np.float32)
WEIGHTS = DRAWS.normal(size=H).astype(np.float32)
LAYER = recur.scan(recur.elman(H))
PARAMS = LAYER.init(jax.random.key(0), XS)


def loss(y):
    return WEIGHTS @ y


def by_hand(end):
    """`dL / dh_t` of the tanh network, t = 0 to `end`, the states, and the parts of dL / dU."""
    kernel, recurrent, bias = (np.asarray(each, float) for each in PARAMS[:3])
    states = [FIRST.astype(float)]
    for x in XS:
        states.append(np.tanh(x @ kernel + states[-1] @ recurrent + bias))
    gradient, gradients, parts = WEIGHTS.astype(float), [], []
    for t in range(end, 0, -1):
        of_sum = gradient * (1 - states[t] ** 2)
        parts.append(np.outer(states[t - 1], of_sum))
        gradient = recurrent @ of_sum
        gradients.append(gradient)
    return gradients[::-1], states, parts  # parts by lag


def test_small_gradients_do_not_underflow():
    layer = recur.scan(recur.elman(H, activation="identity"))
    params = LAYER.init(jax.random.key(0), XS)._replace(recurrent_kernel=1e-5 * jnp.eye(H))
    params = jax.tree.map(lambda leaf: leaf.astype(jnp.float32), params)
    found = gradient_by_lag(layer, params, XS, loss)
    assert found.dtype == jnp.float32
    expected = np.linalg.norm(WEIGHTS) * 1e-5 ** np.arange(1.0, T + 1)  # down to 1e-35
    np.testing.assert_allclose(found, expected, rtol=1e-5)
    of_bias = param_gradient_by_lag(layer, params, XS, loss).bias
    np.testing.assert_allclose(of_bias[1:], expected[:-1], rtol=1e-5)


def test_carry_gradients_are_those_of_backpropagation_by_hand():
    found = carry_gradients(LAYER, PARAMS, XS, lambda ys: loss(ys[-1]), carry=FIRST)
    expected, _, _ = by_hand(T)
    np.testing.assert_allclose(found[:-1], expected, rtol=1e-5)
    np.testing.assert_array_equal(found[-1], 0)


@pytest.mark.parametrize("step", [T - 1, 3, 0])
def test_norms_by_lag(step):
    expected, _, parts = by_hand(step + 1)
    found = gradient_by_lag(LAYER, PARAMS, XS, loss, step=step, carry=FIRST)
    norms = np.linalg.norm(expected, axis=1)[::-1]
    np.testing.assert_allclose(found, [*norms, *[0] * (T - step - 1)], rtol=1e-5)
    found = param_gradient_by_lag(LAYER, PARAMS, XS, loss, step=step, carry=FIRST)
    norms = [np.linalg.norm(part) for part in parts]
    expected = [*norms, *[0] * (T - step - 1)]
    np.testing.assert_allclose(found.recurrent_kernel, expected, rtol=1e-5)
    assert jax.tree.structure(found) == jax.tree.structure(PARAMS)


def test_the_end_of_a_shorter_sequence():
    padded = np.concatenate([XS, np.full((2, INPUTS), np.nan, np.float32)])
    given = {"carry": FIRST, "length": T}
    for function in (gradient_by_lag, param_gradient_by_lag):
        found = function(LAYER, PARAMS, padded, loss, **given)
        expected = function(LAYER, PARAMS, XS, loss, carry=FIRST)
        found, expected = jax.tree.leaves(found), jax.tree.leaves(expected)
        for a, b in zip(found, expected, strict=True):
            np.testing.assert_allclose(a[:T], b, rtol=1e-5)
            np.testing.assert_array_equal(a[T:], 0)


def test_carries_with_several_parts_in_a_chain_and_in_a_batch():
    layer = recur.chain(recur.scan(recur.lstm(2)), recur.scan(recur.gru(3)))
    params = layer.init(jax.random.key(0), XS)
    start = layer.init_carry(params, XS)
    found = carry_gradients(layer, params, XS, lambda ys: ys[-1].sum())
    of_first = jax.grad(lambda h: layer.run(params, XS, carry=h)[1][-1].sum())(start)
    for a, b in zip(jax.tree.leaves(found), jax.tree.leaves(of_first), strict=True):
        np.testing.assert_allclose(a[0], b, rtol=1e-5, atol=1e-7)
    rows = jnp.stack([XS, 2 * XS])
    batched = jax.vmap(lambda xs: gradient_by_lag(layer, params, xs, jnp.sum))(rows)
    expected = gradient_by_lag(layer, params, rows[1], jnp.sum)
    np.testing.assert_allclose(batched[1], expected, rtol=1e-4)


def test_the_state_of_an_lru_is_complex():
    layer = recur.scan(recur.lru(2))
    params = layer.init(jax.random.key(0), XS)
    norms = gradient_by_lag(layer, params, XS, jnp.sum)
    carry = layer.init_carry(params, XS)
    assert jnp.iscomplexobj(carry)
    carries = layer.run(params, XS, all_carries=True)[0]
    rates = jax.jvp(
        lambda h: layer.run(params, XS[-1:], carry=h)[0],
        (carries[-2],),
        (jnp.ones(2, carry.dtype),),
    )[1]
    # dL/dh_{t-1} = a dL/dh_t, for each unit
    [first, second] = carry_gradients(layer, params, XS, lambda ys: ys[-1].sum())[-3:-1]
    np.testing.assert_allclose(jnp.abs(first), jnp.abs(rates * second), rtol=1e-5)
    assert norms.shape == (T,)


def test_saliency_of_a_bidirectional_pooled_layer():
    both = recur.bidirectional(LAYER, recur.scan(recur.elman(H), reverse=True))
    layer = recur.pooled(both, pool.mean)
    params = layer.init(jax.random.key(0), XS)
    found = input_gradients(layer, params, XS, jnp.sum, length=5)
    small = 1e-2
    for t in range(T):
        rates = []
        for i in range(INPUTS):
            change = np.zeros_like(XS)
            change[t, i] = small
            high, low = (
                layer(params, XS + np.float32(way) * change, length=5).sum() for way in (1, -1)
            )
            rates.append((high - low) / (2 * small))
        assert found[t] == pytest.approx(np.linalg.norm(rates), rel=2e-2, abs=1e-3)
    assert (found[5:] == 0).all()


@pytest.mark.parametrize("step", [T, -T - 1, np.int64(T), jnp.asarray(T), 4, -5])
def test_a_step_beyond_the_sequence(step):
    """Of any kind of integer, and beyond the steps that count."""
    options = {"length": 4} if step in (4, -5) else {}
    for function in (gradient_by_lag, param_gradient_by_lag):
        with pytest.raises(ValueError, match=f"a sequence of {options.get('length', T)}, got step"):
            function(LAYER, PARAMS, XS, loss, step=step, **options)


def test_a_traced_step():
    found = jax.jit(lambda step: gradient_by_lag(LAYER, PARAMS, XS, loss, step=step))(2)
    expected = gradient_by_lag(LAYER, PARAMS, XS, loss, step=np.int32(2))
    np.testing.assert_allclose(found, expected, rtol=1e-6)


def test_inputs_without_steps():
    assert input_gradients(LAYER, PARAMS, XS[:0], jnp.sum).shape == (0,)
    assert carry_gradients(LAYER, PARAMS, XS[:0], jnp.sum).shape == (1, H)
