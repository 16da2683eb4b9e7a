import dataclasses
from functools import partial

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import recur
from recur.cells import LSTMState
from recur.combine.zoneout import zoneout
from recur_tests.combine.loops import products_in_loop
from recur_tests.combine.test_dropout import (
    BEFORE,
    DIAGONAL,
    F64,
    GRU,
    KEY,
    LIFTS,
    LSTM,
    assert_scan_is_loop,
    given_to,
)
from recur_tests.contract.cases import dense
from recur_tests.helpers import assert_close, random_like, to_numpy
from recur_tests.oracles.lstm import State, lstm

RATES = LSTMState(hidden=0.1, cell=0.5)
WIDE, STEPS = 100, 40
TURNING = recur.diagonal(WIDE, complex_state=True, **F64)
ZONED = {
    "lstm": zoneout(LSTM, RATES),
    "gru-before": zoneout(BEFORE, 0.3),
    "linear": zoneout(recur.diagonal(4, complex_state=True, **F64), 0.3),
    "readout": zoneout(recur.readout(LSTM, dense(2)), RATES),
    "stack": zoneout(recur.stack(LSTM, GRU), 0.3),
}


@pytest.mark.parametrize("key", [None, KEY], ids=["expected", "drawn"])
@pytest.mark.parametrize("cell", ZONED.values(), ids=ZONED.keys())
def test_scan_is_the_loop(cell, key):
    assert_scan_is_loop(cell, key)


def test_no_rate_is_the_cell_itself():
    assert zoneout(LSTM, 0) is LSTM
    assert zoneout(LSTM, LSTMState(0.0, 0.0)) is LSTM


@pytest.mark.parametrize("key", [None, KEY], ids=["expected", "drawn"])
def test_only_recurrent_products_are_in_the_loop(key):
    assert products_in_loop(zoneout(LSTM, RATES), key=key) == [(16,)]
    assert products_in_loop(zoneout(recur.readout(BEFORE, dense(2)), 0.3), key=key) == [(4,), (8,)]


@pytest.mark.parametrize("key", [None, KEY], ids=["expected", "drawn"])
@pytest.mark.parametrize("cell", [DIAGONAL, TURNING], ids=["real", "complex"])
def test_a_linear_cell_stays_linear(cell, key):
    cell = zoneout(cell, 0.3)
    params, carry, xs = given_to(cell)
    runs = [lift(cell).run(params, xs, carry=carry, key=key) for lift in LIFTS]
    assert_close(*runs)


@pytest.mark.parametrize("key", [None, KEY], ids=["expected", "drawn"])
@pytest.mark.parametrize("around", [recur.residual, partial(recur.readout, output=dense(2))])
def test_maps_of_the_output_may_stand_within_and_around(around, key):
    """The output is read off the carry as it is, wherever the map stands."""
    cell = recur.gru(3, **F64)
    within, outside = zoneout(around(cell), 0.5), around(zoneout(cell, 0.5))
    params, carry, xs = given_to(within)

    def carries_and_outputs(layer):
        return layer.run(params, xs, carry=carry, key=key, all_carries=True)

    hs, ys = carries_and_outputs(recur.scan(within))
    if key is None:
        assert_close((hs, ys), carries_and_outputs(recur.scan(outside)))
    weights = getattr(params, "output", None)
    expected = xs + hs if weights is None else hs @ weights["kernel"] + weights["bias"][None]
    assert_close(ys, expected)


def test_a_jitted_step_gives_the_h_it_kept():
    cell = dataclasses.replace(LSTM, step=jax.jit(LSTM.step))
    params, carry, xs = given_to(LSTM)
    layer = recur.scan(zoneout(cell, 0.5))
    states, ys = layer.run(params, xs, carry=carry, key=KEY, all_carries=True)
    np.testing.assert_array_equal(ys, states.hidden)


def test_without_a_key_it_is_what_is_expected():
    params, carry, xs = given_to(LSTM)
    layer = recur.scan(zoneout(LSTM, RATES))
    states, ys = layer.run(params, xs, carry=carry, all_carries=True)
    params, state, xs, states = to_numpy((params, carry, xs, states))
    for t, x in enumerate(xs):
        new, _ = lstm(params, state, x[None])
        state = State(
            0.1 * state.hidden + 0.9 * new.hidden,
            0.5 * state.cell + 0.5 * new.cell,
        )
        np.testing.assert_allclose(states.hidden[t], state.hidden, 1e-9)
        np.testing.assert_allclose(states.cell[t], state.cell, 1e-9)
    np.testing.assert_array_equal(ys, states.hidden)


def run_with(cell, key):
    """The carries before and after each step, what the inner cell makes of them, and outputs."""
    inner, outer = cell
    xs = random_like(jax.ShapeDtypeStruct((STEPS, 3), jnp.float64), 0)

    @jax.jit
    def run(key):
        params = inner.init(KEY, xs[0])
        bound = inner.bind(params, xs[0])
        after, ys = recur.scan(outer).run(params, xs, key=key, all_carries=True)
        start = inner.init_carry(bound, xs[0])
        before = jax.tree.map(lambda c, cs: jnp.concatenate([c[None], cs])[:-1], start, after)
        new, _ = jax.vmap(lambda c, x: inner.step(bound, c, x))(before, xs)
        return before, after, new, ys

    return run(key)


def kept_share(before, after, new):
    """Which units kept what they were; the others are as the cell makes them."""
    kept = np.asarray(after == before)[1:]  # at first h may be 0 either way
    np.testing.assert_allclose(np.where(kept, new[1:], after[1:]), new[1:], 1e-9)
    return kept


def assert_share(kept, rate):
    assert abs(kept.mean() - rate) < 5 * np.sqrt(rate * (1 - rate) / kept.size)


def test_an_lstm_keeps_the_shares_asked_for_and_gives_the_h_it_kept():
    cell = recur.lstm(WIDE, **F64)
    before, after, new, ys = run_with((cell, zoneout(cell, RATES)), KEY)
    hidden, memory = (kept_share(*each) for each in zip(before, after, new, strict=True))
    assert_share(hidden, 0.1)
    assert_share(memory, 0.5)
    assert_share(hidden & memory, 0.05)  # drawn apart
    assert_share(memory[1:] & memory[:-1], 0.25)  # and independently at each step
    np.testing.assert_array_equal(ys, after.hidden)


@pytest.mark.parametrize("cell", [TURNING, recur.gru(WIDE, reset="before", **F64)])
def test_other_cells_keep_the_share_asked_for(cell):
    before, after, new, ys = run_with((cell, zoneout(cell, 0.3)), KEY)
    kept = kept_share(before, after, new)
    assert_share(kept, 0.3)
    assert_share(kept[1:] & kept[:-1], 0.09)
    read = np.concatenate([after.real, after.imag], 1) if cell is TURNING else after
    np.testing.assert_array_equal(ys, read)


def test_a_part_of_rate_0_is_always_new():
    cell = recur.lstm(WIDE, **F64)
    before, after, new, _ = run_with((cell, zoneout(cell, LSTMState(0.0, 0.5))), KEY)
    assert not kept_share(before.hidden[:, 1:], after.hidden[:, 1:], new.hidden[:, 1:]).any()
    assert_share(kept_share(before.cell, after.cell, new.cell), 0.5)


def test_zoneout_within_zoneout_is_drawn_apart():
    """A unit is kept by one or by the other: of one key they would be the same."""
    cell = recur.gru(WIDE, **F64)
    before, after, new, _ = run_with((cell, zoneout(zoneout(cell, 0.5), 0.5)), KEY)
    assert_share(kept_share(before, after, new), 0.75)


def test_rows_are_drawn_apart():
    layer = recur.batch(recur.scan(zoneout(GRU, 0.5)))
    xs = jnp.ones((2, 6, 3))
    ys = jax.jit(layer)(layer.init(KEY, xs), xs, key=KEY)
    assert (ys[0] != ys[1]).any()


def counting():
    """A cell that counts its steps, and gives twice what it holds."""

    def step(params, carry, x):
        total, count = carry
        total, count = total + x, count + 1
        return (total, count), (2 * total, count)

    return recur.cell(
        init=lambda key, x: (),
        init_carry=lambda params, x: (jnp.zeros(x.shape), jnp.zeros((), jnp.int32)),
        step=step,
    )


@pytest.mark.parametrize("key", [None, KEY])
def test_counts_are_always_new(key):
    layer = recur.scan(zoneout(counting(), 0.5))
    (totals, counts), (doubles, same) = layer.run((), jnp.ones((6, 20)), key=key, all_carries=True)
    np.testing.assert_array_equal(counts, np.arange(1, 7))
    np.testing.assert_array_equal(same, counts)
    np.testing.assert_allclose(doubles, 2 * totals)
    if key is None:
        np.testing.assert_allclose(totals[:, 0], 0.5 * np.arange(1, 7))


def test_wrong_rates_are_errors():
    for rate in (1.0, -0.1, float("nan"), None, "half"):
        with pytest.raises(ValueError, match=rf"zoneout: expected rate in \[0, 1\), got {rate!r}"):
            zoneout(LSTM, rate)
    with pytest.raises(ValueError, match=r"zoneout: expected rate\.cell in \[0, 1\), got 1\.5"):
        zoneout(LSTM, LSTMState(0.1, 1.5))
    layer = recur.scan(zoneout(GRU, RATES))
    xs = jnp.ones((2, 3))
    params = layer.init(KEY, xs)
    with pytest.raises(
        ValueError, match=r"one for each part of the carry, float64\[4\], got LSTMState"
    ):
        layer(params, xs)


def test_what_is_not_a_cell_is_an_error():
    with pytest.raises(TypeError, match="zoneout: expected a cell, got a layer"):
        zoneout(recur.scan(LSTM), 0.1)
