"""Named values of layers against those of their cells, and logs of saturated gates."""

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest
from flax import linen as nn

import recur
from recur.diagnose import log_saturation, named_over_time, named_values
from recur.train import Report, init_state

KEY, GATES = jax.random.key(0), ("forget", "input", "output")
XS = jax.random.normal(KEY, (6, 3), jnp.float32)


def check_same(found, wanted):
    assert found.keys() == wanted.keys()
    jax.tree.map(lambda a, b: np.testing.assert_allclose(a, b, rtol=1e-5), found, wanted)


def test_of_two_cells_in_a_chain():
    """The LSTM has its gates before the GRU; both name a candidate."""
    lstm, gru = recur.lstm(4), recur.gru(5)
    model = recur.chain(recur.scan(lstm), nn.Dense(3), recur.scan(gru))
    params = model.init(KEY, XS)
    found = named_over_time(model, params, XS)
    ys, first = recur.scan(named_values(lstm))(params[0], XS)
    _, second = recur.scan(named_values(gru))(params[2], model.parts["1"](params[1], ys))
    names = {"candidate", *first, *second}
    assert found.keys() == names - {name for name in names if name.startswith("recur.")}
    check_same(
        {n: found[n] for n in ("forget", "input")}, {n: first[n] for n in ("forget", "input")}
    )
    check_same({"update": found["update"]}, {"update": second["update"]})
    pair = (first["candidate"], second["candidate"])
    check_same({"candidate": found["candidate"]}, {"candidate": pair})
    assert set(named_over_time(model, params, XS, "reset")) == {"reset"}


def test_of_a_batch_a_backward_layer_and_lengths():
    layer = recur.scan(recur.gru(4), reverse=True)
    params = layer.init(KEY, XS)
    one = named_over_time(layer, params, XS)
    both = named_over_time(recur.batch(layer), params, jnp.stack([XS, 2 * XS]))
    check_same({name: value[:, 0] for name, value in both.items()}, one)
    short = named_over_time(layer, params, XS.at[4:].set(jnp.nan), length=4)
    check_same(
        {name: value[:4] for name, value in short.items()},
        named_over_time(layer, params, XS[:4]),
    )


def test_of_both_directions():
    """The gates of the backward part are those of its cell on flipped inputs, flipped back."""
    cell = recur.gru(4)
    layer = recur.bidirectional(recur.scan(cell), recur.scan(cell, reverse=True))
    params, read = layer.init(KEY, XS), recur.scan(named_values(cell))
    found = named_over_time(layer, params, XS.at[4:].set(jnp.nan), "reset", "update", length=4)
    forward = read(params.forward, XS[:4])[1]
    backward = read(params.backward, XS[3::-1])[1]
    check_same(
        {name: tuple(v[:4] for v in values) for name, values in found.items()},
        {name: (forward[name], backward[name][::-1]) for name in ("reset", "update")},
    )


def test_under_jit_and_of_layers_without_names():
    layer = recur.scan(recur.lru(4))
    assert named_over_time(layer, layer.init(KEY, XS), XS) == {}
    gru = recur.scan(recur.gru(4))
    params = gru.init(KEY, XS)
    compiled = jax.jit(lambda params: named_over_time(gru, params, XS, "update"))
    check_same(compiled(params), named_over_time(gru, params, XS, "update"))


def test_saturation_is_logged():
    layer = recur.chain(recur.scan(recur.lstm(4)), recur.scan(recur.elman(4)))
    params = layer.init(KEY, XS)
    params = (jax.tree.map(lambda w: 8 * w, params[0]), params[1])
    state = init_state(params, optax.sgd(0.1), KEY)
    logged = log_saturation(layer, XS, threshold=0.2)(Report(1, 0, state, {}))
    gates = {name: np.asarray(v) for name, v in named_over_time(layer, params, XS).items()}
    assert logged.keys() == {
        "saturated/candidate",
        *(
            f"{kind}/{gate}"
            for kind in ("closed", "open")
            for gate in ("forget", "input", "output")
        ),
    }
    for name in ("forget", "input", "output"):
        assert logged[f"closed/{name}"] == pytest.approx((gates[name] < 0.2).mean())
        assert logged[f"open/{name}"] == pytest.approx((gates[name] > 0.8).mean())
    shares = (np.abs(gates["candidate"]) > 0.6).mean()
    assert logged["saturated/candidate"] == pytest.approx(shares) and 0 < shares < 1


def test_saturation_of_two_cells_and_of_relu():
    relu = recur.lstm(4, activation="relu")
    layer = recur.batch(recur.chain(recur.scan(recur.lstm(4)), recur.scan(relu)))
    xs = 30 * XS[None]
    state = init_state(layer.init(KEY, xs), optax.sgd(0.1), KEY)
    state = state._replace(params=jax.tree.map(lambda w: 3 * w, state.params))
    logged = log_saturation(layer, xs)(Report(1, 0, state, {}))
    assert {"open/forget/0", "open/forget/1", "saturated/candidate/0"} < logged.keys()
    assert "saturated/candidate/1" not in logged  # values above 1
