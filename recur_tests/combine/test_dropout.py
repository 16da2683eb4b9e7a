import dataclasses
from functools import partial
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jax.extend.core import jaxprs_in_params

import recur
from recur.combine.dropout import recurrent_dropout, variational_dropout
from recur.combine.zoneout import zoneout
from recur.types import Mask
from recur_tests.combine.loops import products_in_loop
from recur_tests.helpers import assert_close, random_like, to_numpy, weighted_sum
from recur_tests.oracles import gru as gru_oracle
from recur_tests.oracles import lstm as lstm_oracle
from recur_tests.oracles.nonlinear import sigmoid

F64 = {"param_dtype": jnp.float64}
LSTM, GRU, DIAGONAL = (factory(4, **F64) for factory in (recur.lstm, recur.gru, recur.diagonal))
BEFORE = recur.gru(4, reset="before", **F64)
PROJECTED = recur.projected_lstm(4, 2, **F64)
PEEPHOLES = recur.lstm(4, peepholes="full", **F64)
STACK = recur.stack(GRU, LSTM)
KEY = jax.random.key(3)
ALL = {"inputs": 0.3, "recurrent": 0.4, "outputs": 0.5}
OUTSIDE = {"inputs": 0.3, "outputs": 0.5}
LIFTS = (recur.associative, recur.scan)
RESIDUAL = recur.residual(recur.lstm(3, **F64))
NOISY = {
    "gru": (variational_dropout(GRU, **ALL), GRU),
    "gru-before": (variational_dropout(BEFORE, **ALL), BEFORE),
    "projected-lstm": (variational_dropout(PROJECTED, **ALL), PROJECTED),
    "peepholes": (variational_dropout(PEEPHOLES, **ALL), PEEPHOLES),
    "linear": (variational_dropout(DIAGONAL, **OUTSIDE), DIAGONAL),
    "stack": (variational_dropout(STACK, **ALL), STACK),
    "candidate-before": (recurrent_dropout(BEFORE, 0.5), BEFORE),
    "nested": (variational_dropout(recurrent_dropout(RESIDUAL, 0.5), **ALL), RESIDUAL),
}


class Given(NamedTuple):
    params: Any
    carry: Any
    xs: jax.Array


def given_to(cell):
    """Random params, carry and inputs, none of them zero."""
    layer = recur.scan(cell)
    xs = random_like(jax.ShapeDtypeStruct((5, 3), jnp.float64), 0)
    params = random_like(jax.eval_shape(layer.init, KEY, xs), 1)
    return Given(params, random_like(jax.eval_shape(layer.init_carry, params, xs), 2), xs)


def assert_scan_is_loop(cell, key):
    """Values, and gradients with respect to params, carry and inputs."""
    given = given_to(cell)

    def results(layer):
        def loss(params, carry, xs):
            ends = layer.run(params, xs, carry=carry, key=key)
            return weighted_sum(ends), ends

        return jax.grad(loss, (0, 1, 2), has_aux=True)

    stepped = recur.loop(dataclasses.replace(cell, step=jax.jit(cell.step)))
    expected = results(stepped)(given.params, given.carry, given.xs)
    assert_close(jax.jit(results(recur.scan(cell)))(given.params, given.carry, given.xs), expected)


def mirror(width=64):
    """A cell that shows what reaches it: x, and h times the unit matrix, where h is always 1."""

    def step(unit_matrix, h, x):
        m = h @ unit_matrix
        return 0 * m + 1, {"x": x, "h": m}

    return recur.cell(
        init=lambda key, x: jnp.eye(width),
        init_carry=lambda params, x: jnp.ones(width),
        step=step,
    )


@pytest.mark.parametrize(("noisy", "cell"), NOISY.values(), ids=NOISY.keys())
def test_scan_is_the_loop_with_a_key_and_the_cell_without(noisy, cell):
    assert_scan_is_loop(noisy, KEY)
    params, carry, xs = given_to(cell)

    @jax.jit
    def run(params):
        quiet, expected = (recur.scan(c).run(params, xs, carry=carry) for c in (noisy, cell))
        return quiet, expected, recur.scan(noisy).run(params, xs, carry=carry, key=KEY)

    quiet, expected, loud = run(params)
    assert_close(quiet, expected, 1e-14)
    assert not np.allclose(loud[1], quiet[1])


def test_no_rate_is_the_cell_itself():
    assert variational_dropout(LSTM) is LSTM
    assert recurrent_dropout(LSTM, 0.0) is LSTM


@pytest.mark.parametrize("key", [None, KEY], ids=["quiet", "noisy"])
def test_only_recurrent_products_are_in_the_loop(key):
    assert products_in_loop(variational_dropout(LSTM, **ALL), key=key) == [(16,)]
    assert products_in_loop(variational_dropout(BEFORE, **ALL), key=key) == [(4,), (8,)]
    assert products_in_loop(recurrent_dropout(LSTM, 0.5), key=key) == [(16,)]


def test_masks_are_drawn_once_and_not_in_the_loop():
    layer = recur.scan(recurrent_dropout(variational_dropout(LSTM, **ALL), 0.5))
    params, carry, xs = given_to(LSTM)
    jaxpr = jax.make_jaxpr(lambda params: layer.run(params, xs, carry=carry, key=KEY))(params)
    [loop] = [e for e in every_equation(jaxpr.jaxpr) if e.primitive.name == "scan"]
    inside = {e.primitive.name for e in every_equation(loop.params["jaxpr"].jaxpr)}
    assert not inside & {"random_bits", "random_split", "random_fold_in"}
    # Beside the keys of the steps, which nothing reads, and those of the masks.
    drawn = [e for e in every_equation(jaxpr.jaxpr) if e.primitive.name == "random_bits"]
    assert sorted(e.outvars[0].aval.shape for e in drawn) == [(3,), (4,), (4,), (4,)]


def every_equation(jaxpr):
    for equation in jaxpr.eqns:
        yield equation
        for inner in jaxprs_in_params(equation.params):
            yield from every_equation(inner)


def test_a_linear_cell_stays_linear():
    cell = variational_dropout(DIAGONAL, **OUTSIDE)
    params, carry, xs = given_to(cell)
    runs = [lift(cell).run(params, xs, carry=carry, key=KEY) for lift in LIFTS]
    assert_close(*runs)


@pytest.mark.parametrize(("rates", "seen"), [
    ({"inputs": 0.5}, {"x": {0.0, 2.0}, "h": {1.0}}),
    ({"recurrent": 0.75}, {"x": {1.0}, "h": {0.0, 4.0}}),
    ({"outputs": 0.5}, {"x": {0.0, 2.0}, "h": {0.0, 2.0}}),
])  # fmt: skip
def test_one_mask_for_all_steps_and_one_for_each_row(rates, seen):
    layer = recur.batch(recur.scan(variational_dropout(mirror(), **rates)))
    ys = jax.jit(layer)(jnp.eye(64), jnp.ones((3, 4, 64)), key=KEY)
    for name, values in seen.items():
        masks = np.asarray(ys[name])
        assert set(np.unique(masks)) == values
        assert (masks == masks[:, :1]).all()
        if len(values) > 1:
            assert all((masks[b] != masks[b - 1]).any() for b in range(3))
            (rate,) = rates.values()
            assert abs((masks[:, 0] == 0).mean() - rate) < 5 * np.sqrt(rate * (1 - rate) / 192)


def test_the_mean_over_keys_of_what_is_masked_is_what_came():
    layer = recur.scan(variational_dropout(mirror(3), inputs=0.5, recurrent=0.2))
    xs = jnp.array([[1.0, -2.0, 0.5]])
    keys = jax.random.split(KEY, 4000)
    ys = jax.jit(jax.vmap(lambda key: layer(jnp.eye(3), xs, key=key)))(keys)
    spread = 5 / np.sqrt(len(keys))  # five standard deviations of a mean of masks of rate 1/2
    np.testing.assert_allclose(ys["x"].mean(0) / xs, 1, atol=spread)
    np.testing.assert_allclose(ys["h"].mean(0), 1, atol=spread / 2)


def dropping_rows(params, mask):
    """Params under which h W is (h ⊙ d) W."""
    kernels = jax.tree.map(lambda kernel: mask[:, None] * kernel, params.recurrent_kernel)
    return params._replace(recurrent_kernel=kernels)


@pytest.mark.parametrize(
    ("cell", "oracle"), [(LSTM, lstm_oracle.lstm), (GRU, partial(gru_oracle.gru, reset="after"))]
)
def test_the_mask_of_h_acts_inside_the_products_alone(cell, oracle):
    layer = recur.scan(variational_dropout(cell, **ALL))
    params, carry, xs = given_to(cell)
    bound = layer.bind(params, xs, key=KEY)
    given, masks = to_numpy((params, carry, xs)), to_numpy(bound)
    [d_h] = masks.recurrent
    assert {0.0} < set(d_h)  # some are dropped, and some are not
    final, ys = oracle(dropping_rows(given[0], d_h), given[1], given[2] * masks.inputs)
    found, outputs = layer.apply(bound, carry, xs, Mask(), None)
    assert_close(jax.tree.leaves(found), jax.tree.leaves(jax.tree.map(jnp.asarray, final)))
    assert_close(outputs, jnp.asarray(ys * masks.outputs))


def bound_and_mask(cell):
    """Params that are bound with a recurrent mask, that mask, and what else is given."""
    layer = recur.scan(variational_dropout(cell, recurrent=0.5))
    params, carry, xs = given_to(cell)
    bound = layer.bind(params, xs, key=KEY)
    [mask] = bound.recurrent
    assert {0.0, 2.0} == set(np.asarray(mask))
    carries, _ = layer.apply(bound, carry, xs, Mask(), None, all_carries=True)
    return to_numpy((params, carry, xs, mask, carries))


def test_a_gru_that_resets_before_has_one_mask_for_h_and_r_h():
    params, h, xs, d, hs = bound_and_mask(BEFORE)
    w, u, b = params.kernel, params.recurrent_kernel, params.bias
    for x, found in zip(xs, hs, strict=True):
        r = sigmoid(x @ w.reset + (h * d) @ u.reset + b.reset)
        z = sigmoid(x @ w.update + (h * d) @ u.update + b.update)
        n = np.tanh(x @ w.candidate + (r * h * d) @ u.candidate + b.candidate)
        h = z * h + (1 - z) * n
        np.testing.assert_allclose(found, h, 1e-9)


def test_every_product_has_a_mask_of_its_shape():
    """The h of a projected LSTM is `[2]`, and what is projected to it `[4]`."""
    layer = recur.scan(variational_dropout(PROJECTED, recurrent=0.5))
    params, carry, xs = given_to(PROJECTED)
    bound = layer.bind(params, xs, key=KEY)
    carries, _ = layer.apply(bound, carry, xs, Mask(), None, all_carries=True)
    params, (h, c), xs, (d_h, d_c), carries = to_numpy(
        (params, carry, xs, bound.recurrent, carries)
    )
    assert (d_h.shape, d_c.shape) == ((2,), (4,))
    for t, x in enumerate(xs):
        i, f, g, o = (pre(params, gate, x, h * d_h) for gate in recur.cells.LSTMGates._fields)
        c = sigmoid(f) * c + sigmoid(i) * np.tanh(g)
        h = (sigmoid(o) * np.tanh(c) * d_c) @ params.projection
        np.testing.assert_allclose(carries.cell[t], c, 1e-9)
        np.testing.assert_allclose(carries.hidden[t], h, 1e-9)


def own_cell():
    """A user's cell: h_t = 0.5 h_{t-1} + tanh(x_t + U h_{t-1}), h on the right of the product."""

    def step(kernel, h, x):
        g = recur.name(jnp.tanh(x + kernel @ h), "candidate")
        h = 0.5 * h + g
        return h, h

    return recur.cell(
        init=lambda key, x: jax.random.normal(key, (3, 3)),
        init_carry=lambda kernel, x: jnp.zeros(3),
        step=step,
    )


def test_the_recurrent_mask_of_a_cell_of_plain_functions():
    kernel, h, xs, d, hs = bound_and_mask(own_cell())
    for x, found in zip(xs, hs, strict=True):
        h = 0.5 * h + np.tanh(x + kernel @ (h * d))
        np.testing.assert_allclose(found, h, 1e-9)


def test_recurrent_dropout_of_a_cell_of_plain_functions():
    layer = recur.scan(recurrent_dropout(own_cell(), 0.5))
    kernel, h, xs = given_to(own_cell())
    bound = layer.bind(kernel, xs, key=KEY)
    hs, _ = layer.apply(bound, h, xs, Mask(), None, all_carries=True)
    kernel, h, xs, [d], hs = to_numpy((kernel, h, xs, bound.recurrent, hs))
    assert {0.0, 2.0} == set(d)
    for x, found in zip(xs, hs, strict=True):
        h = 0.5 * h + d * np.tanh(x + kernel @ h)
        np.testing.assert_allclose(found, h, 1e-9)


def pre(params, gate, x, h):
    """x_t W + h_{t-1} U + b of one gate."""
    kernel, recurrent, bias = (
        getattr(weights, gate) for weights in (params.kernel, params.recurrent_kernel, params.bias)
    )
    return x @ kernel + h @ recurrent + bias


@pytest.mark.parametrize("mask", [[0.0, 2.0, 0.0, 2.0], [0.0, 0.0, 0.0, 0.0]])
def test_recurrent_dropout_of_an_lstm_masks_what_is_new_and_not_what_is_remembered(mask):
    layer = recur.scan(recurrent_dropout(LSTM, 0.5))
    params, carry, xs = given_to(LSTM)
    bound = layer.bind(params, xs, key=KEY)._replace(recurrent=(jnp.array(mask),))
    states, _ = layer.apply(bound, carry, xs, Mask(), None, all_carries=True)
    params, states, xs = to_numpy((params, states, xs))
    h, c = to_numpy(carry)
    memory = c
    for t, x in enumerate(xs):
        i, f, o = (sigmoid(pre(params, gate, x, h)) for gate in ("input", "forget", "output"))
        c = f * c + i * (np.tanh(pre(params, "candidate", x, h)) * mask)
        h = o * np.tanh(c)
        memory = f * memory  # where nothing is added, it decays by f alone
        np.testing.assert_allclose(states.cell[t], c, 1e-9)
        np.testing.assert_allclose(states.hidden[t], h, 1e-9)
    dropped = np.equal(mask, 0)
    np.testing.assert_allclose(states.cell[-1][dropped], memory[dropped], 1e-9)


def test_recurrent_dropout_of_a_gru_keeps_what_z_keeps():
    layer = recur.scan(recurrent_dropout(GRU, 0.5))
    params, h, xs = given_to(GRU)
    bound = layer.bind(params, xs, key=KEY)._replace(recurrent=(jnp.zeros(4),))
    hs, _ = layer.apply(bound, h, xs, Mask(), None, all_carries=True)
    params, h, hs, xs = to_numpy((params, h, hs, xs))
    for x, after in zip(xs, hs, strict=True):
        np.testing.assert_allclose(after, sigmoid(pre(params, "update", x, h)) * h, 1e-9)
        h = after


def test_noise_within_noise_is_drawn_apart():
    """Masks of rate 1/2 agree on about half of the units; of one key they would on all."""
    half = {"inputs": 0.5, "recurrent": 0.5, "outputs": 0.5}
    inner = recurrent_dropout(variational_dropout(recur.lstm(64, **F64), **half), 0.5)
    cell = variational_dropout(zoneout(inner, 0.1), **half)
    x = jnp.ones(64)
    bound = jax.jit(lambda key: cell.bind(cell.init(key, x), x, key=key))(KEY)
    # Zoneout binds nothing: below the outer masks are those of the candidate, then the inner ones.
    bounds = (bound, bound.cell, bound.cell.cell)
    dropped = np.stack(jax.tree.leaves([each._replace(cell=()) for each in bounds])) == 0
    agree = (dropped[:, None] == dropped).mean(-1)[~np.eye(7, dtype=bool)]
    assert 0.2 < agree.min() and agree.max() < 0.8


def test_masks_have_the_dtypes_of_what_they_mask():
    bfloat16 = {jnp.dtype(jnp.bfloat16)}
    cell = recur.lstm(4, dtype=jnp.bfloat16, param_dtype=jnp.float32)
    cell = recurrent_dropout(variational_dropout(cell, **ALL), 0.5)
    x = jnp.ones(3, jnp.float32)
    bound = cell.bind(cell.init(KEY, x), x, key=KEY)
    [of_candidate], [of_h] = bound.recurrent, bound.cell.recurrent
    assert {of_h.dtype, bound.cell.outputs.dtype} == bfloat16
    assert of_candidate.dtype == bound.cell.inputs.dtype == jnp.float32
    carry, y = cell.step(bound, cell.init_carry(bound, x), x)
    assert {y.dtype, carry.hidden.dtype} == bfloat16 and carry.cell.dtype == jnp.float32


@pytest.mark.parametrize("rate", [1.0, -0.1, float("nan"), 2, "half", None])
def test_a_rate_outside_of_its_range_is_an_error(rate):
    for name in ALL:
        with pytest.raises(ValueError, match=rf"variational_dropout: expected {name} in \[0, 1\)"):
            variational_dropout(LSTM, **{name: rate})
    with pytest.raises(ValueError, match=rf"recurrent_dropout: expected rate in .*, got {rate!r}"):
        recurrent_dropout(LSTM, rate)


def test_what_has_no_such_part_is_an_error():
    with pytest.raises(TypeError, match="variational_dropout: expected a cell, got a layer"):
        variational_dropout(recur.scan(LSTM), inputs=0.5)
    with pytest.raises(TypeError, match="recurrent_dropout: expected a cell, got a layer"):
        recurrent_dropout(recur.scan(LSTM), 0.5)
    xs = jnp.ones((2, 3))
    layer = recur.scan(variational_dropout(recur.indrnn(3, **F64), recurrent=0.5))
    with pytest.raises(
        TypeError,
        match="variational_dropout: recurrent > 0 needs a cell with recurrent products.*zoneout",
    ):
        layer(layer.init(KEY, xs), xs)
    layer = recur.scan(recurrent_dropout(recur.elman(3, **F64), 0.5))
    params = layer.init(KEY, xs)
    with pytest.raises(TypeError, match="recurrent_dropout: the step names no value 'candidate'"):
        layer(params, xs, key=KEY)


def test_whole_numbers_cannot_be_dropped():
    layer = recur.scan(variational_dropout(LSTM, inputs=0.5))
    xs = jnp.ones((2, 3), jnp.int32)
    params = layer.init(KEY, xs)
    with pytest.raises(TypeError, match=r"expected floating-point arrays .* got int32\[3\]"):
        layer(params, xs, key=KEY)
