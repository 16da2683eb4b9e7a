import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from flax import linen as nn

import recur
from recur.lift import run_window
from recur.sequences import Streams
from recur_tests.helpers import assert_close, random_like, weighted_sum
from recur_tests.oracles.bptt import bptt

F64 = {"param_dtype": jnp.float64}
TOKENS = np.array([0, 3, 1, 4, 2, 2, 0, 1, 3])


@pytest.mark.parametrize("steps_back", [0, 1, 3])
def test_a_stream_read_in_windows_is_the_textbooks_truncated_backpropagation(steps_back):
    """Streams, windows and their carries together, with k1 = 1 and k2 = n + 1, against NumPy."""
    layer = recur.chain(
        recur.scan(recur.elman(4, use_bias=False, **F64)), nn.Dense(5, use_bias=False, **F64)
    )
    model = recur.batch(layer)
    xs = np.eye(5)[TOKENS[:-1]]
    params = random_like(jax.eval_shape(layer.init, jax.random.key(0), xs), 1)
    u, w, v = params[0].kernel.T, params[0].recurrent_kernel.T, params[1]["kernel"].T
    arrays = (np.asarray(array) for array in (u, v, w))
    value, (du, dv, dw) = bptt(*arrays, xs, TOKENS[1:], np.zeros(4), steps_back)

    @jax.jit
    @functools.partial(jax.value_and_grad, has_aux=True)
    def differentiate(params, carry, window):
        inputs = jnp.eye(5)[window.inputs]
        carry, logits = run_window(model, params, carry, inputs, 1, reset=window.reset)
        chosen = jax.nn.log_softmax(logits[0, 0])[window.targets[0, -1]]
        return -chosen, carry

    streams = Streams([TOKENS], batch_size=1, k1=1, k2=steps_back + 1)
    carry = (random_like(jax.ShapeDtypeStruct((1, 4), jnp.float64), 3), ())  # a reset comes first
    found, total = 0.0, jax.tree.map(jnp.zeros_like, params)
    for _ in range(len(streams)):
        (part, carry), gradient = differentiate(params, carry, next(streams))
        found, total = found + part, jax.tree.map(jnp.add, total, gradient)
    assert_close(float(found), float(value), 1e-12)
    assert_close(np.asarray(total[0].kernel).T, du)
    assert_close(np.asarray(total[0].recurrent_kernel).T, dw)
    assert_close(np.asarray(total[1]["kernel"]).T, dv)


@pytest.mark.parametrize(
    ("k1", "k2", "batched"), [(2, 2, True), (2, 3, False), (3, 5, True), (4, 9, False)]
)
def test_windows_of_one_set_of_params_are_truncate(k1, k2, batched):
    layer = recur.scan(recur.lstm(2, **F64))
    model = recur.batch(layer) if batched else layer
    rows = (2,) if batched else ()
    axis = len(rows)
    count = 3 * k1
    xs = random_like(jax.ShapeDtypeStruct((*rows, count, 3), jnp.float64), 0)
    params = random_like(jax.eval_shape(model.init, jax.random.key(0), xs), 1)
    initial = model.init_carry(params, xs)
    again = k2 - k1
    pad = [(0, 0)] * axis + [(again, 0)]
    padded = jnp.pad(xs, [*pad, (0, 0)], constant_values=9.0)
    reset = jnp.zeros((*rows, again + count), bool).at[..., again].set(True)

    def by_windows(params):
        carry, ys = random_like(initial, 2), []
        for begin in range(0, count, k1):
            part = slice(begin, begin + k2)
            piece = padded[:, part] if batched else padded[part]
            carry, y = run_window(
                model, params, jax.lax.stop_gradient(carry), piece, k1, reset=reset[..., part]
            )
            ys.append(y)
        ys = jnp.concatenate(ys, axis)
        return weighted_sum(ys), ys

    def at_once(params):
        ys = truncated(params, xs)
        return weighted_sum(ys), ys

    truncated = recur.truncate(layer, k1, k2)
    truncated = recur.batch(truncated) if batched else truncated
    found, expected = (
        jax.jit(jax.grad(run, has_aux=True))(params) for run in (by_windows, at_once)
    )
    assert_close(found, expected)


def test_wrong_input():
    layer = recur.scan(recur.gru(2))
    xs = jnp.ones((3, 2), jnp.float32)
    params = layer.init(jax.random.key(0), xs)
    carry = layer.init_carry(params, xs)
    for k1 in (0, 4):
        with pytest.raises(ValueError, match="k1 from 1 to the 3 steps of the window"):
            run_window(layer, params, carry, xs, k1)
    backward = recur.scan(recur.gru(2), reverse=True)
    with pytest.raises(ValueError, match="the layer is not causal"):
        run_window(backward, params, carry, xs, 3)
