"""Named values of a step, against the equations in NumPy."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import recur
from recur.diagnose import named_values

XS = np.random.default_rng(0).normal(size=(6, 3)).astype(np.float32)


def sigmoid(a):
    return 1 / (1 + np.exp(-a))


def test_the_gates_of_an_lstm_make_its_state():
    cell = recur.lstm(4)
    params = recur.scan(cell).init(jax.random.key(0), XS)
    ys, values = recur.scan(named_values(cell))(params, XS)
    gates = {name: np.asarray(value, float) for name, value in values.items()}
    state = np.zeros(4)
    for t in range(len(XS)):
        state = gates["forget"][t] * state + gates["input"][t] * gates["candidate"][t]
        np.testing.assert_allclose(ys[t], gates["output"][t] * np.tanh(state), rtol=1e-5)
    first = sigmoid(XS[0] @ params.kernel.forget + params.bias.forget)
    np.testing.assert_allclose(gates["forget"][0], first, rtol=1e-5)


def test_only_the_names_that_are_given():
    cell = recur.gru(4)
    params = recur.scan(cell).init(jax.random.key(0), XS)
    _, values = recur.scan(named_values(cell, "update"))(params, XS)
    assert list(values) == ["update"] and values["update"].shape == (6, 4)


def test_a_stack_has_a_value_for_each_cell():
    cell = recur.stack(recur.gru(4), recur.gru(2))
    params = recur.scan(cell).init(jax.random.key(0), XS)
    ys, values = recur.scan(named_values(cell, "reset"))(params, XS)
    assert [value.shape for value in values["reset"]] == [(6, 4), (6, 2)]
    np.testing.assert_allclose(ys, recur.scan(cell)(params, XS), rtol=1e-5, atol=1e-6)


def test_a_cell_of_the_user_in_a_batch_with_lengths():
    def step(params, h, x):
        speed = recur.name(jnp.tanh(x), "speed")
        unused = recur.name(2 * speed, "double")
        del unused
        return h + speed, h

    cell = recur.cell(lambda key, x: (), lambda params, x: jnp.zeros(x.shape, x.dtype), step)
    rows = np.stack([XS, -XS])
    found = recur.batch(recur.scan(named_values(cell)))((), rows, length=jnp.array([6, 2]))
    np.testing.assert_allclose(found.values["speed"][0], np.tanh(XS), rtol=1e-5)
    np.testing.assert_allclose(found.values["double"][1, :2], -2 * np.tanh(XS[:2]), rtol=1e-5)
    assert (found.values["speed"][1, 2:] == 0).all()


def test_a_name_that_the_step_does_not_give():
    cell = recur.elman(4)
    params = recur.scan(cell).init(jax.random.key(0), XS)
    with pytest.raises(TypeError, match="named_values: the step names no value 'forget'"):
        recur.scan(named_values(cell, "forget"))(params, XS)
