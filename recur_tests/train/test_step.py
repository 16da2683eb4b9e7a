import re

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

import recur
from recur.train import (
    cross_entropy,
    init_state,
    make_sharded_step,
    make_step,
    masked_mean,
)
from recur_tests.helpers import assert_close

pytestmark = pytest.mark.usefixtures("lenient")
LAYER = recur.batch(recur.scan(recur.gru(3, param_dtype=jnp.float64)))
XS = np.random.default_rng(0).standard_normal((2, 4, 3))


def loss(params, carry, batch, key):
    carry, ys = LAYER.run(params, batch, carry=carry)
    return jnp.square(ys - 1).mean(), (carry, {"noise": jax.random.normal(key)})


def begin(optimizer):
    params = LAYER.init(jax.random.key(0), XS)
    carry = LAYER.init_carry(params, XS)
    return init_state(params, optimizer, jax.random.key(1), carry)


def test_one_step_is_optax_by_hand():
    optimizer = optax.chain(optax.clip_by_global_norm(0.01), optax.adam(0.1))
    state = begin(optimizer)
    after, metrics = jax.jit(make_step(loss, optimizer))(state, XS)
    key = jax.random.fold_in(jax.random.key(1), 0)
    (value, (carry, _)), gradient = jax.jit(jax.value_and_grad(loss, has_aux=True))(
        state.params, state.carry, XS, key
    )
    update = jax.jit(optimizer.update)
    updates, optimizer_state = update(gradient, state.optimizer, state.params)
    assert_close(after.params, optax.apply_updates(state.params, updates))
    assert_close(after.optimizer, optimizer_state)
    assert_close(after.carry, carry)
    assert_close(metrics["loss"], value)
    assert_close(metrics["gradient_norm"], optax.tree.norm(gradient))  # before it was clipped
    assert_close(metrics["noise"], jax.random.normal(key))
    assert after.step == 1


def test_the_carry_is_handed_on_and_every_update_has_its_own_key():
    optimizer = optax.sgd(0.0)
    step, state = jax.jit(make_step(loss, optimizer)), begin(optimizer)
    noises = []
    for half in (XS[:, :2], XS[:, 2:]):
        state, metrics = step(state, half)
        noises.append(float(metrics["noise"]))
    assert_close(state.carry, jax.jit(LAYER.run)(state.params, XS)[0])
    assert noises[0] != noises[1]


def test_learns_one_sentence_by_heart():
    text = jnp.array([0, 3, 1, 4, 1, 5, 2, 6, 5, 3, 5, 0])
    from flax import linen as nn

    model = recur.chain(nn.Embed(7, 8), recur.scan(recur.lstm(16)), nn.Dense(7))

    def sentence_loss(params, carry, batch, key):
        losses = cross_entropy(model(params, batch[:-1]), batch[1:])
        return masked_mean(losses), (carry, {})

    optimizer = optax.adam(0.03)
    state = init_state(model.init(jax.random.key(0), text), optimizer, jax.random.key(1))
    step = jax.jit(make_step(sentence_loss, optimizer), donate_argnums=0)
    for _ in range(150):
        state, metrics = step(state, text)
    assert metrics["loss"] < 0.02
    assert_close(model(state.params, text[:-1]).argmax(-1), text[1:])


def test_wrong_key():
    with pytest.raises(TypeError, match="expected a typed key"):
        init_state({}, optax.sgd(0.1), 0)


@pytest.mark.parametrize(
    ("returned", "error", "message"),
    [
        (np.zeros(()), TypeError, r"\(value, \(carry, metrics\)\), .* got float64\[\]. Without"),
        ((np.zeros(()), {}), TypeError, r"got \(float64\[\], \{\}\)\. .* return value, \(carry, "),
        ((np.zeros(()), (None, 1.0)), TypeError, r"metrics as a dict, got \(float64\[\], \(None"),
        (None, TypeError, "got None"),
        ((np.zeros(8), (None, {})), ValueError, r"a scalar as its value, got float64\[8\]. Take"),
        ((None, (None, {})), ValueError, "a scalar as its value, got None"),
    ],
)
def test_a_loss_of_another_form_is_an_error(returned, error, message):
    optimizer = optax.sgd(0.1)
    state = init_state(jnp.ones(3), optimizer, jax.random.key(0))
    for make in (make_step, make_sharded_step):
        step = make(lambda params, carry, batch, key: returned, optimizer)
        with pytest.raises(error, match=f"loss: expected .*{message}"):
            step(state, jnp.ones((2, 3)))


def test_a_loss_of_other_arguments_is_refused():
    message = "loss: expected a function of (params, carry, batch, key), got one of (params, batch)"
    with pytest.raises(TypeError, match=re.escape(message)):
        make_step(lambda params, batch: 0.0, optax.sgd(0.1))
