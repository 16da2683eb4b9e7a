from functools import partial

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import recur
from recur.combine.noise import recurrent_dropout, variational_dropout
from recur.combine.zoneout import zoneout
from recur.types import AffineCell, Cell, GatedCell
from recur_tests.contract.cases import CellCase, example
from recur_tests.helpers import assert_close, to_numpy, weighted_sum
from recur_tests.oracles import gru as gru_oracle
from recur_tests.oracles import lstm as lstm_oracle
from recur_tests.oracles.nonlinear import sigmoid

F64 = {"param_dtype": jnp.float64}
LSTM, GRU, DIAGONAL = (factory(4, **F64) for factory in (recur.lstm, recur.gru, recur.diagonal))
BEFORE = recur.gru(4, reset="before", **F64)
KEY = jax.random.key(3)
ALL = {"inputs": 0.3, "recurrent": 0.4, "outputs": 0.5}
OUTSIDE = {"inputs": 0.3, "outputs": 0.5}
RESIDUAL = recur.residual(recur.lstm(3, **F64))
NOISY = {
    "gated-cell": (variational_dropout(GRU, **ALL), GRU),
    "affine-cell": (variational_dropout(DIAGONAL, **OUTSIDE), DIAGONAL),
    "cell": (variational_dropout(BEFORE, **OUTSIDE), BEFORE),
    "nested": (variational_dropout(recurrent_dropout(RESIDUAL, 0.5), **ALL), RESIDUAL),
}


def given_to(cell):
    """Random params, carry and inputs, none of them zero."""
    return example(CellCase("", recur.cell, cell), recur.scan(cell))


def assert_scan_is_loop(cell, key):
    """Values, and gradients with respect to params, carry and inputs."""
    given = given_to(cell)

    def results(layer):
        def loss(params, carry, xs):
            ends = layer.run(params, xs, carry=carry, key=key)
            return weighted_sum(ends), ends

        return jax.grad(loss, (0, 1, 2), has_aux=True)

    init, bind, start, step = (getattr(cell, part) for part in Cell._fields)
    stepped = recur.loop(Cell(init, bind, start, jax.jit(step)))
    expected = results(stepped)(given.params, given.carry, given.xs)
    assert_close(jax.jit(results(recur.scan(cell)))(given.params, given.carry, given.xs), expected)


def mirror(width=64):
    """A cell that shows what reaches it: x, and h times the unit matrix, where h is always 1."""
    return GatedCell(
        init=lambda key, x, context=None: (),
        bind=lambda params, x, *, key=None, context=None: params,
        start=lambda bound, x: jnp.ones(width),
        project=lambda bound, x, key=None: x,
        hidden=lambda bound, h: h,
        kernels=lambda bound: jnp.eye(width),
        gates=lambda bound, h, u, m: (h, {"x": u, "h": m}),
        read=lambda bound, v, x, key=None: v,
    )


@pytest.mark.parametrize(("noisy", "cell"), NOISY.values(), ids=NOISY.keys())
def test_scan_is_the_loop_with_a_key_and_the_cell_without(noisy, cell):
    assert_scan_is_loop(noisy, KEY)
    params, carry, xs, _ = given_to(cell)

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


def test_structure_survives_where_it_can():
    assert isinstance(variational_dropout(LSTM, **ALL), GatedCell)
    assert isinstance(variational_dropout(DIAGONAL, **OUTSIDE), AffineCell)
    assert isinstance(variational_dropout(recur.stack(LSTM), **OUTSIDE), Cell)
    assert isinstance(recurrent_dropout(LSTM, 0.5), GatedCell)


@pytest.mark.parametrize(("rates", "seen"), [
    ({"inputs": 0.5}, {"x": {0.0, 2.0}, "h": {1.0}}),
    ({"recurrent": 0.75}, {"x": {1.0}, "h": {0.0, 4.0}}),
    ({"outputs": 0.5}, {"x": {0.0, 2.0}, "h": {0.0, 2.0}}),
])  # fmt: skip
def test_one_mask_for_all_steps_and_one_for_each_row(rates, seen):
    layer = recur.batch(recur.scan(variational_dropout(mirror(), **rates)))
    ys = jax.jit(layer)((), jnp.ones((3, 4, 64)), key=KEY)
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
    ys = jax.jit(jax.vmap(lambda key: layer((), xs, key=key)))(keys)
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
    params, carry, xs, _ = given_to(cell)
    bound = layer.bind(params, xs, key=KEY)
    given, masks = to_numpy((params, carry, xs)), to_numpy(bound)
    assert {0.0} < set(masks.recurrent)  # some are dropped, and some are not
    final, ys = oracle(dropping_rows(given[0], masks.recurrent), given[1], given[2] * masks.inputs)
    found, outputs = layer.apply(bound, carry, xs)
    assert_close(jax.tree.leaves(found), jax.tree.leaves(jax.tree.map(jnp.asarray, final)))
    assert_close(outputs, jnp.asarray(ys * masks.outputs))


def pre(params, gate, x, h):
    """x_t W + h_{t-1} U + b of one gate."""
    kernel, recurrent, bias = (
        getattr(weights, gate) for weights in (params.kernel, params.recurrent_kernel, params.bias)
    )
    return x @ kernel + h @ recurrent + bias


@pytest.mark.parametrize("mask", [[0.0, 2.0, 0.0, 2.0], [0.0, 0.0, 0.0, 0.0]])
def test_recurrent_dropout_of_an_lstm_masks_what_is_new_and_not_what_is_remembered(mask):
    layer = recur.scan(recurrent_dropout(LSTM, 0.5))
    params, carry, xs, _ = given_to(LSTM)
    bound = layer.bind(params, xs, key=KEY)._replace(mask=jnp.array(mask))
    states, _ = layer.follow(bound, carry, xs)
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
    params, h, xs, _ = given_to(GRU)
    bound = layer.bind(params, xs, key=KEY)._replace(mask=jnp.zeros(4))
    hs, _ = layer.follow(bound, h, xs)
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
    masks = [*bound[1:], bound.cell.mask, *bound.cell.cell[1:]]
    dropped = np.stack(masks) == 0
    agree = (dropped[:, None] == dropped).mean(-1)[~np.eye(7, dtype=bool)]
    assert 0.2 < agree.min() and agree.max() < 0.8


def test_masks_have_the_dtypes_of_what_they_mask():
    bfloat16 = {jnp.dtype(jnp.bfloat16)}
    cell = recur.lstm(4, dtype=jnp.bfloat16, param_dtype=jnp.float32)
    cell = recurrent_dropout(variational_dropout(cell, **ALL), 0.5)
    x = jnp.ones(3, jnp.float32)
    bound = cell.bind(cell.init(KEY, x), x, key=KEY)
    assert {leaf.dtype for leaf in jax.tree.leaves(bound._replace(cell=()))} == bfloat16
    assert bound.cell.inputs.dtype == jnp.float32
    ends = cell.step(bound, cell.start(bound, x), x)
    assert {leaf.dtype for leaf in jax.tree.leaves(ends)} == bfloat16


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
    with pytest.raises(TypeError, match="the recurrent mask acts .* a Cell does not tell"):
        variational_dropout(BEFORE, recurrent=0.5)
    with pytest.raises(TypeError, match="recurrent_dropout: expected a cell, got a layer"):
        recurrent_dropout(recur.scan(LSTM), 0.5)
    with pytest.raises(TypeError, match="expected a GatedCell.* got a Stack"):
        recurrent_dropout(recur.stack(LSTM), 0.5)
    xs = jnp.ones((2, 3))
    layer = recur.scan(variational_dropout(recur.indrnn(3, **F64), recurrent=0.5))
    with pytest.raises(
        TypeError, match="acts in the products .* this one has no recurrent kernels"
    ):
        layer(layer.init(KEY, xs), xs)
    for cell in (recur.elman(3, **F64), zoneout(LSTM, 0.1), recurrent_dropout(LSTM, 0.5)):
        layer = recur.scan(recurrent_dropout(cell, 0.5))
        params = layer.init(KEY, xs)
        with pytest.raises(TypeError, match="a cell whose u has an array u.candidate"):
            layer(params, xs, key=KEY)


def test_whole_numbers_cannot_be_dropped():
    layer = recur.scan(variational_dropout(LSTM, inputs=0.5))
    xs = jnp.ones((2, 3), jnp.int32)
    params = layer.init(KEY, xs)
    with pytest.raises(TypeError, match=r"expected floating-point numbers .* got int32\[3\]"):
        layer(params, xs, key=KEY)
