"""Weights of Keras, in both directions: outputs, carries and gradients are those of Keras."""

import importlib.util
import os
import sys

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import recur
from recur.cells import LSTMState
from recur.interop import from_keras_weights, to_keras_weights
from recur.lift import Directions
from recur_tests.helpers import assert_close

if importlib.util.find_spec("keras") is None:
    pytest.skip("Keras is not installed", allow_module_level=True)


@pytest.fixture(autouse=True, scope="module")
def _keras():
    """Imports Keras when it is needed, since that takes longer than all of recur."""
    global keras
    if "keras" not in sys.modules:
        os.environ["KERAS_BACKEND"] = "jax"  # Keras reads it when it is imported
    import keras

    if keras.backend.backend() != "jax":
        pytest.skip("Keras runs on another backend")


@pytest.fixture(autouse=True)
def _float64(strict, monkeypatch):
    """Keras relies on implicit promotion, and its tanh rounds to float32 on this backend."""
    monkeypatch.setattr(keras.src.backend.numpy, "tanh", jnp.tanh)
    with jax.numpy_dtype_promotion("standard"), jax.numpy_rank_promotion("allow"):
        yield


pytestmark = pytest.mark.filterwarnings("ignore:__array__ implementation:DeprecationWarning")
DRAWS = 7
SHARED = {"return_sequences": True, "return_state": True, "dtype": "float64"}
CONV = {"kernel_size": (3, 2), "padding": "same"}
CASES = [
    ("LSTM", {"units": 4}, None),
    ("LSTM", {"units": 4, "use_bias": False, "activation": "relu"}, "sum"),
    ("GRU", {"units": 4}, "concat"),
    ("GRU", {"units": 4, "use_bias": False}, None),
    ("GRU", {"units": 4, "reset_after": False}, None),
    ("GRU", {"units": 4, "reset_after": False, "use_bias": False}, "ave"),
    ("SimpleRNN", {"units": 4, "activation": "softsign"}, "mul"),
    ("ConvLSTM2D", {"filters": 2, **CONV}, None),
    ("ConvLSTM1D", {"filters": 2, "kernel_size": 4, "padding": "same", "use_bias": False}, None),
]


def make(kind, options, merge, **shared):
    layer = getattr(keras.layers, kind)(**{**SHARED, **options, **shared})
    if merge:
        layer = keras.layers.Bidirectional(layer, merge_mode=merge, dtype="float64")
    layer.build((None, None, *shape_of(kind)[1:]))
    return layer


def shape_of(kind):
    return {"ConvLSTM2D": (3, 4, 3, 1), "ConvLSTM1D": (3, 5, 2)}.get(kind, (4, 3))


def carry_of(states, merge):
    """Returns the list of states of Keras as a carry."""
    directions = np.split(np.arange(len(states)), 2 if merge else 1)
    found = [tuple(states[i] for i in each) for each in directions]
    found = [LSTMState(*each) if len(each) == 2 else each[0] for each in found]
    return Directions(*found) if merge else found[0]


def measure(ys, carry):
    return jnp.square(ys).sum() + sum(jnp.sin(each).sum() for each in jax.tree.leaves(carry))


def randomly(seed, like):
    draws = np.random.default_rng(seed)
    return [jnp.asarray(draws.uniform(-0.9, 0.9, each.shape)) for each in like]


@pytest.mark.parametrize(("kind", "options", "merge"), CASES, ids=str)
def test_computes_what_keras_computes(kind, options, merge):
    theirs = make(kind, options, merge)
    xs = jnp.ones((2, *shape_of(kind)))
    _, *states = theirs(xs)
    seeds = [each.value for each in theirs.non_trainable_variables]

    @jax.jit
    def by_keras(weights, xs, states):
        def loss(weights, xs):
            (ys, *last), _ = theirs.stateless_call(weights, seeds, xs, initial_state=states)
            return measure(ys, last), (ys, carry_of(last, merge))

        return jax.grad(loss, (0, 1), has_aux=True)(weights, xs)

    @jax.jit
    def by_recur(weights, xs, states):
        def loss(weights, xs):
            layer, params = from_keras_weights(theirs, weights)
            carry, ys = recur.batch(layer).run(params, xs, carry=carry_of(states, merge))
            return measure(ys, carry), (ys, carry)

        return jax.grad(loss, (0, 1), has_aux=True)(weights, xs)

    for seed in range(DRAWS):
        weights = randomly(seed, theirs.weights)
        xs, *begin = randomly(seed + 100, [xs, *states])
        assert_close(by_recur(weights, xs, begin), by_keras(weights, xs, begin), 1e-12)

    _, params = from_keras_weights(theirs, weights)
    back = to_keras_weights(params, reset="after" if options.get("reset_after", True) else "before")
    if kind != "GRU":  # of whose two biases only the sum counts, but for the candidate's
        assert_close(back, weights, 0)
    other = make(kind, options, merge)
    other.set_weights(back)
    assert_close(from_keras_weights(other)[1], params, 0)


def test_options():
    layer, _ = from_keras_weights(make("LSTM", {"units": 4, "dropout": 0.1}, None))
    assert repr(layer) == (
        "scan(variational_dropout(lstm(4, param_dtype=float64), inputs=0.1, recurrent=0.0))"
    )
    layer, _ = from_keras_weights(make("GRU", {"units": 4, "go_backwards": True}, None))
    assert layer.direction == "backward"
    layer, params = from_keras_weights(make("GRU", {"units": 4}, "concat", dtype="float32"))
    assert params.forward.kernel.reset.dtype == jnp.float32
    layer, params = from_keras_weights(make("GRU", {"units": 4}, None, dtype="mixed_bfloat16"))
    assert params.kernel.reset.dtype == jnp.float32
    assert repr(layer) == "scan(gru(4, dtype=bfloat16))"
    both = keras.layers.Bidirectional(keras.layers.GRU(4, dtype="float64"), merge_mode=None)
    both.build((None, None, 3))
    layer, params = from_keras_weights(both)
    ys = recur.batch(layer)(params, jnp.ones((2, 4, 3)))
    assert [y.shape for y in ys] == [(2, 4, 4), (2, 4, 4)]


def of_two(forward, backward):
    """Returns a Bidirectional of two LSTMs with these options."""
    both = [keras.layers.LSTM(4, return_sequences=True, **each) for each in (forward, backward)]
    layer = keras.layers.Bidirectional(both[0], backward_layer=both[1])
    layer.build((None, None, 3))
    return layer


def own_layer():
    """Returns a subclass of a layer of Keras, which computes something else."""

    class Doubled(keras.layers.LSTM):
        def call(self, *args, **options):
            return 2 * super().call(*args, **options)

    return Doubled(4)


WRONG = {
    "a subclass": (own_layer, TypeError, "expected a layer LSTM, GRU, .* got Doubled"),
    "exchanged directions": (
        lambda: of_two({"go_backwards": True}, {}),
        ValueError,
        "expected a forward layer with go_backwards=False, got True",
    ),
    "dropout in one direction": (
        lambda: of_two({}, {"go_backwards": True, "dropout": 0.5}),
        ValueError,
        "both directions must have the same options",
    ),
    "biases in one direction": (
        lambda: of_two({}, {"go_backwards": True, "use_bias": False}),
        ValueError,
        "both directions must have the same options",
    ),
    "another layer": (
        lambda: keras.layers.Dense(3),
        TypeError,
        "expected a layer LSTM, GRU, .* got Dense",
    ),
    "no layer": (lambda: 3, TypeError, "got int"),
    "a class": (lambda: keras.layers.LSTM, TypeError, "got the class LSTM"),
    "not built": (lambda: keras.layers.LSTM(3), ValueError, "has no weights yet"),
    "of another": (
        lambda: keras.layers.Bidirectional(keras.layers.ConvLSTM1D(3, 3)),
        ValueError,
        "has no weights yet",
    ),
}


@pytest.mark.parametrize("case", WRONG)
def test_wrong_layers(case):
    layer, error, sentence = WRONG[case]
    with pytest.raises(error, match=sentence):
        from_keras_weights(layer())


@pytest.mark.parametrize(
    ("kind", "options", "sentence"),
    [
        ("LSTM", {"units": 4, "recurrent_activation": "hard_sigmoid"}, "expected recurrent_activ"),
        ("GRU", {"units": 4, "activation": "gelu"}, "expected an activation of elu, linear, relu"),
        ("ConvLSTM1D", {"filters": 2, "kernel_size": 2}, "expected padding='same', got 'valid'"),
        ("ConvLSTM1D", {"filters": 2, "kernel_size": 2, "strides": 2}, "expected padding='same'"),
        (
            "ConvLSTM1D",
            {"filters": 2, "kernel_size": 2, "padding": "same", "recurrent_dropout": 0.1},
            "recurrent_dropout of a ConvLSTM is not supported",
        ),
    ],
)
def test_options_that_no_cell_has(kind, options, sentence):
    with pytest.raises(ValueError, match=sentence):
        from_keras_weights(make(kind, options, None))


def test_wrong_weights():
    layer = make("LSTM", {"units": 4}, None)
    weights = layer.get_weights()
    with pytest.raises(ValueError, match="expected 3 arrays, kernel, recurrent_kernel, bias for"):
        from_keras_weights(layer, weights[:2])
    with pytest.raises(ValueError, match=r"recurrent_kernel: expected the shape \[4, 16\], got"):
        from_keras_weights(layer, [weights[0], weights[1].T, weights[2]])
    with pytest.raises(ValueError, match="bias has 1 of 16 entries that are NaN or infinite"):
        from_keras_weights(layer, [*weights[:2], np.r_[np.nan, weights[2][1:]]])
