"""The same numbers as other frameworks: Flax live, the others by golden arrays of their own.

`recur_tests/goldens/make_goldens.py` made the arrays. The gate orders and biases that differ are
written out here, because this is where one looks them up.
"""

import json
import pathlib

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from flax import linen as nn

import recur
from recur.cells import ElmanParams, GRUGates, GRUParams, LSTMGates, LSTMParams, LSTMState
from recur.lift import Directions
from recur_tests.helpers import assert_close, random_like, weighted_sum

GOLDENS = pathlib.Path(__file__).parents[1] / "goldens"
F64 = {"param_dtype": jnp.float64}


def golden(framework, name):
    case = json.loads((GOLDENS / f"{framework}.json").read_text())["cases"][name]
    return jax.tree.map(jnp.asarray, case, is_leaf=lambda node: isinstance(node, list))


def lstm_params(w, u, b, order):
    """LSTMParams of arrays whose columns hold the gates in an order such as "ifgo"."""

    def gates(array):
        parts = dict(zip(order, jnp.split(array, 4, axis=-1), strict=True))
        return LSTMGates(parts["i"], parts["f"], parts["g"], parts["o"])

    return LSTMParams(gates(w), gates(u), gates(b), peephole=None, initial_carry=None)


def gru_params(w, u, b, recurrent_bias, order):
    """GRUParams likewise; r and z take the sum of both biases, the candidate keeps them apart."""

    def gates(array):
        parts = dict(zip(order, jnp.split(array, 3, axis=-1), strict=True))
        return GRUGates(parts["r"], parts["z"], parts["n"])

    bias, inner = gates(b), None
    if recurrent_bias is not None:
        added = gates(recurrent_bias)
        bias = GRUGates(bias.reset + added.reset, bias.update + added.update, bias.candidate)
        inner = added.candidate
    return GRUParams(gates(w), gates(u), bias, recurrent_bias=inner, initial_carry=None)


def torch_arrays(weights, suffix="l0"):
    w, u = weights[f"weight_ih_{suffix}"].T, weights[f"weight_hh_{suffix}"].T
    return w, u, weights[f"bias_ih_{suffix}"], weights[f"bias_hh_{suffix}"]


def torch_lstm(weights, suffix="l0"):
    w, u, b, c = torch_arrays(weights, suffix)
    return lstm_params(w, u, b + c, "ifgo")


def torch_gru(weights):
    return gru_params(*torch_arrays(weights), order="rzn")


def torch_state(states, index=0):
    prefix = {key.split("_")[0]: value[index] for key, value in states.items()}
    return LSTMState(prefix["h"], prefix["c"]) if "c" in prefix else prefix["h"]


@pytest.mark.parametrize("activation", ["tanh", "relu"])
def test_torch_rnn(activation):
    case = golden("torch", f"rnn_{activation}")
    w, u, b, c = torch_arrays(case["weights"])
    layer = recur.scan(recur.elman(4, activation=activation, **F64))
    ends = layer.run(
        ElmanParams(w, u, b + c, initial_carry=None),
        case["inputs"],
        carry=torch_state(case["initial"]),
    )
    assert_close(ends, (torch_state(case["final"]), case["outputs"]), 1e-12)


@pytest.mark.parametrize(
    ("name", "cell", "convert"),
    [("lstm", recur.lstm(4, **F64), torch_lstm), ("gru", recur.gru(4, **F64), torch_gru)],
)
def test_torch_values_and_gradients(name, cell, convert):
    case = golden("torch", name)
    layer = recur.scan(cell)
    start = torch_state(case["initial"])
    ends = jax.jit(layer.run)(convert(case["weights"]), case["inputs"], carry=start)
    assert_close(ends, (torch_state(case["final"]), case["outputs"]), 1e-12)

    def loss(weights):
        ys = layer(convert(weights), case["inputs"], carry=start)
        return (ys**2).sum() / 2

    assert_close(jax.jit(jax.grad(loss))(case["weights"]), case["gradients"], 1e-9)


def test_torch_stack_gives_the_last_layer_at_every_step_and_every_layer_at_the_last():
    case = golden("torch", "lstm_two_layers")
    layer = recur.scan(recur.stack(recur.lstm(4, **F64), recur.lstm(4, **F64)))
    params = tuple(torch_lstm(case["weights"], suffix) for suffix in ("l0", "l1"))
    start, final = (
        tuple(torch_state(case[name], index) for index in (0, 1)) for name in ("initial", "final")
    )
    assert_close(
        jax.jit(layer.run)(params, case["inputs"], carry=start), (final, case["outputs"]), 1e-12
    )


def test_torch_bidirectional():
    case = golden("torch", "lstm_bidirectional")
    cell = recur.lstm(4, **F64)
    layer = recur.bidirectional(recur.scan(cell), recur.scan(cell, reverse=True))
    params = Directions(*(torch_lstm(case["weights"], name) for name in ("l0", "l0_reverse")))
    start, final = (
        Directions(*(torch_state(case[name], index) for index in (0, 1)))
        for name in ("initial", "final")
    )
    assert_close(
        jax.jit(layer.run)(params, case["inputs"], carry=start), (final, case["outputs"]), 1e-12
    )


def single(tree):
    """Keras outside TensorFlow computes in float32."""
    return jax.tree.map(lambda leaf: leaf.astype(jnp.float32), tree)


def run_keras(name, cell, convert):
    case = single(golden("keras", name))
    start, final = (
        LSTMState(**case[key]) if "cell" in case[key] else case[key]["hidden"]
        for key in ("initial", "final")
    )
    weights = [case["weights"][key] for key in ("kernel", "recurrent_kernel", "bias")]
    ends = jax.jit(recur.scan(cell).run)(convert(*weights), case["inputs"], carry=start)
    assert_close(ends, (final, case["outputs"]), 1e-6)


def test_keras():
    run_keras("simple_rnn", recur.elman(4), lambda w, u, b: ElmanParams(w, u, b, None))
    run_keras("lstm", recur.lstm(4), lambda w, u, b: lstm_params(w, u, b, "ifgo"))
    run_keras("gru_reset_after", recur.gru(4), lambda w, u, b: gru_params(w, u, *b, "zrn"))
    run_keras(
        "gru_reset_before",
        recur.gru(4, reset="before"),
        lambda w, u, b: gru_params(w, u, b, None, "zrn"),
    )


def run_haiku(name, cell, convert):
    case = golden("haiku", name)
    start, final = (
        LSTMState(**case[key]) if "cell" in case[key] else case[key]["hidden"]
        for key in ("initial", "final")
    )
    ends = jax.jit(recur.scan(cell).run)(convert(case["weights"]), case["inputs"], carry=start)
    assert_close(ends, (final, case["outputs"]), 1e-12)


def test_haiku_vanilla_rnn_is_a_relu_with_two_biases():
    def convert(weights):
        inputs, hidden = weights["vanilla_rnn/linear"], weights["vanilla_rnn/linear_1"]
        return ElmanParams(inputs["w"], hidden["w"], inputs["b"] + hidden["b"], initial_carry=None)

    run_haiku("vanilla_rnn", recur.elman(4, activation="relu", **F64), convert)


def test_haiku_lstm_orders_i_g_f_o_and_adds_one_to_f_at_run_time():
    def convert(weights):
        joint = weights["lstm/linear"]
        params = lstm_params(joint["w"][:3], joint["w"][3:], joint["b"], "igfo")
        return params._replace(bias=params.bias._replace(forget=params.bias.forget + 1))

    run_haiku("lstm", recur.lstm(4, **F64), convert)


def test_haiku_gru_resets_before_and_replaces():
    def convert(weights):
        joint = weights["gru"]
        return gru_params(joint["w_i"], joint["w_h"], joint["b"], None, "zrn")

    run_haiku("gru", recur.gru(4, reset="before", update="replace", **F64), convert)


def flax_lstm(params):
    def gates(side, leaf):
        return LSTMGates(*(params[f"{side}{gate}"][leaf] for gate in "ifgo"))

    return LSTMParams(gates("i", "kernel"), gates("h", "kernel"), gates("h", "bias"), None, None)


def flax_gru(params):
    def gates(side, leaf):
        return GRUGates(*(params[f"{side}{gate}"][leaf] for gate in "rzn"))

    return GRUParams(
        gates("i", "kernel"), gates("h", "kernel"), gates("i", "bias"), params["hn"]["bias"], None
    )


def flax_simple(params):
    bias = params["i"]["bias"]
    return ElmanParams(params["i"]["kernel"], params["h"]["kernel"], bias, None)


@pytest.mark.parametrize(
    ("theirs", "ours", "convert"),
    [
        (nn.OptimizedLSTMCell, recur.lstm, flax_lstm),
        (nn.LSTMCell, recur.lstm, flax_lstm),
        (nn.GRUCell, recur.gru, flax_gru),
        (nn.SimpleCell, recur.elman, flax_simple),
    ],
)
def test_flax(theirs, ours, convert):
    rnn = nn.RNN(theirs(4, **F64), return_carry=True)
    layer = recur.scan(ours(4, **F64))
    xs = random_like(jax.ShapeDtypeStruct((5, 3), jnp.float64), 0)
    weights = random_like(jax.eval_shape(rnn.init, jax.random.key(0), xs)["params"]["cell"], 1)
    start = random_like(layer.init_carry(convert(weights), xs), 2)

    def of_flax(weights):
        flat = start if ours is not recur.lstm else (start.cell, start.hidden)
        carry, ys = rnn.apply({"params": {"cell": weights}}, xs, initial_carry=flat)
        return carry if ours is not recur.lstm else LSTMState(carry[1], carry[0]), ys

    def of_recur(weights):
        return layer.run(convert(weights), xs, carry=start)

    def results(run):
        def loss(weights):
            ends = run(weights)
            return weighted_sum(ends), ends

        return jax.jit(jax.grad(loss, has_aux=True))(weights)

    (gradient, ends), (of_theirs, expected) = results(of_recur), results(of_flax)
    assert_close(ends, expected, 1e-12)
    assert_close(gradient, of_theirs)


def test_the_goldens_say_what_made_them():
    for path in GOLDENS.glob("*.json"):
        made = json.loads(path.read_text())
        assert made["framework"] and made["version"]
        assert all(np.any(np.asarray(v)) for v in made["cases"]["lstm"]["initial"].values())
