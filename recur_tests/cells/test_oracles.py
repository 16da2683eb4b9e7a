"""Every cell against its equations, transcribed in NumPy; from carries that are not zero."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import recur
from recur_tests.helpers import assert_close, random_like, to_numpy
from recur_tests.oracles.conv import conv_gru, conv_lstm
from recur_tests.oracles.elman import elman
from recur_tests.oracles.gru import gru
from recur_tests.oracles.independent import indrnn
from recur_tests.oracles.jordan import jordan
from recur_tests.oracles.linear import diagonal, leaky_integrator
from recur_tests.oracles.lru import lru
from recur_tests.oracles.lstm import lstm
from recur_tests.oracles.lstm_variants import (
    coupled_lstm,
    layer_norm_lstm,
    original_lstm,
    projected_lstm,
)
from recur_tests.oracles.mgu import mgu
from recur_tests.oracles.minimal import min_gru, min_lstm, positive
from recur_tests.oracles.nonlinear import relu
from recur_tests.oracles.recurrent_highway import recurrent_highway
from recur_tests.oracles.slstm import slstm
from recur_tests.oracles.ugrnn import ugrnn

F64 = {"param_dtype": jnp.float64}
BIASES = pytest.mark.parametrize("use_bias", [True, False])


def softmax(a):
    return np.exp(a) / np.exp(a).sum()


def compare(cell, oracle, *, shape=(3,), carry_of=lambda carry: carry, **options):
    """Runs the cell and its oracle on the same random params, carry and inputs of one shape."""
    layer = recur.scan(cell)
    xs = random_like(jax.ShapeDtypeStruct((7, *shape), jnp.float64), 0)
    params = random_like(jax.eval_shape(layer.init, jax.random.key(0), xs), 1)
    carry = carry_of(random_like(jax.eval_shape(layer.init_carry, params, xs), 2))
    final, ys = jax.jit(lambda *args: layer.run(args[0], args[1], carry=args[2]))(params, xs, carry)
    expected_final, expected_ys = oracle(to_numpy(params), to_numpy(carry), to_numpy(xs), **options)
    assert_close(to_numpy(jax.tree.leaves(final)), jax.tree.leaves(expected_final), 1e-12)
    assert_close(to_numpy(ys), expected_ys, 1e-12)


@BIASES
def test_elman(use_bias):
    compare(recur.elman(4, use_bias=use_bias, **F64), elman)


def test_elman_with_other_activations():
    compare(recur.elman(4, activation="relu", **F64), elman, activation=relu)
    compare(recur.elman(4, activation=jnp.sin, **F64), elman, activation=np.sin)


@BIASES
def test_jordan(use_bias):
    compare(recur.jordan(4, 2, use_bias=use_bias, **F64), jordan)


def test_jordan_with_a_softmax_output():
    cell = recur.jordan(4, 2, activation="relu", output_activation="softmax", **F64)
    compare(cell, jordan, activation=relu, output_activation=softmax)


@BIASES
def test_ugrnn(use_bias):
    compare(recur.ugrnn(4, use_bias=use_bias, **F64), ugrnn)
    compare(recur.ugrnn(4, activation="tanh", **F64), ugrnn, activation=np.tanh)


@BIASES
@pytest.mark.parametrize("peepholes", [None, "diagonal", "full"])
def test_lstm(peepholes, use_bias):
    compare(recur.lstm(4, peepholes=peepholes, use_bias=use_bias, **F64), lstm, peepholes=peepholes)


@BIASES
@pytest.mark.parametrize("reset", ["after", "before"])
@pytest.mark.parametrize("update", ["keep", "replace"])
def test_gru(reset, update, use_bias):
    cell = recur.gru(4, reset=reset, update=update, use_bias=use_bias, **F64)
    compare(cell, gru, reset=reset, update=update)


def test_leaky_integrator():
    compare(recur.leaky_integrator(**F64), leaky_integrator)


@BIASES
@pytest.mark.parametrize("complex_state", [False, True])
def test_diagonal(complex_state, use_bias):
    compare(recur.diagonal(4, complex_state=complex_state, use_bias=use_bias, **F64), diagonal)


def test_coupled_lstm():
    compare(recur.coupled_lstm(4, **F64), coupled_lstm)
    cell = recur.coupled_lstm(4, use_bias=False, activation="relu", **F64)
    compare(cell, coupled_lstm, activation=relu)


def test_original_lstm():
    compare(recur.original_lstm(4, **F64), original_lstm)
    cell = recur.original_lstm(4, use_bias=False, activation="relu", **F64)
    compare(cell, original_lstm, activation=relu)


def test_projected_lstm():
    compare(recur.projected_lstm(4, 2, **F64), projected_lstm)
    cell = recur.projected_lstm(3, 5, use_bias=False, activation="relu", **F64)
    compare(cell, projected_lstm, activation=relu)


def test_layer_norm_lstm():
    compare(recur.layer_norm_lstm(4, **F64), layer_norm_lstm)
    cell = recur.layer_norm_lstm(4, activation="relu", epsilon=0.1, **F64)
    compare(cell, layer_norm_lstm, activation=relu, epsilon=0.1)


@BIASES
@pytest.mark.parametrize("reset", ["before", "after"])
def test_mgu(reset, use_bias):
    compare(recur.mgu(4, reset=reset, use_bias=use_bias, **F64), mgu, reset=reset)


def test_mgu_resets_before_as_published():
    compare(recur.mgu(4, activation="relu", **F64), mgu, activation=relu)


def test_indrnn():
    compare(recur.indrnn(4, **F64), indrnn)
    compare(recur.indrnn(4, use_bias=False, activation="tanh", **F64), indrnn, activation=np.tanh)


def remembering(state):
    """A normalizer is a sum of exponentials, so it is positive."""
    return state._replace(normalizer=1 + abs(state.normalizer))


def empty(state):
    return jax.tree.map(jnp.zeros_like, state)


def half_empty(state):
    """Units that remember something beside units that do not, one and a half heads of them."""
    used = jnp.asarray([1.0, 0.0, 0.0, 0.0, 1.0, 1.0])
    full = remembering(state)
    return full._replace(cell=used * full.cell, normalizer=used * full.normalizer)


@pytest.mark.parametrize("carry_of", [remembering, empty, half_empty])
@pytest.mark.parametrize("forget_gate", ["exponential", "sigmoid"])
def test_slstm(forget_gate, carry_of):
    cell = recur.slstm(6, 2, forget_gate=forget_gate, **F64)
    compare(cell, slstm, forget_gate=forget_gate, carry_of=carry_of)


@pytest.mark.parametrize("heads", [1, 6])
def test_slstm_with_one_head_and_with_heads_of_one_unit(heads):
    cell = recur.slstm(6, heads, use_bias=heads == 1, activation="relu", **F64)
    compare(cell, slstm, activation=relu, carry_of=remembering)


@BIASES
def test_minimal(use_bias):
    compare(recur.min_gru(4, use_bias=use_bias, **F64), min_gru)
    compare(recur.min_lstm(4, use_bias=use_bias, **F64), min_lstm)


def test_minimal_with_other_candidates():
    compare(recur.min_gru(4, activation=recur.cells.positive, **F64), min_gru, activation=positive)
    compare(
        recur.min_lstm(4, activation=recur.cells.positive, **F64), min_lstm, activation=positive
    )
    compare(recur.min_gru(4, activation="tanh", **F64), min_gru, activation=np.tanh)
    compare(recur.min_lstm(4, activation="tanh", **F64), min_lstm, activation=np.tanh)


def test_positive():
    a = np.linspace(-30, 30, 13)
    assert_close(np.asarray(recur.cells.positive(jnp.asarray(a))), positive(a), 1e-12)


def test_lru():
    compare(recur.lru(4, **F64), lru)


# Odd and even kernels, one larger than the space, and a space of other lengths each way.
SPACES = pytest.mark.parametrize(
    "shape, kernel_size", [((5, 3), (3,)), ((4, 3, 2), (2, 3)), ((2, 3, 2, 2), (3, 1, 4))]
)


@SPACES
@pytest.mark.parametrize("peepholes", [False, True])
def test_conv_lstm(peepholes, shape, kernel_size):
    cell = recur.conv_lstm(2, kernel_size, peepholes=peepholes, **F64)
    compare(cell, conv_lstm, shape=shape)


@SPACES
def test_conv_gru(shape, kernel_size):
    compare(recur.conv_gru(2, kernel_size, **F64), conv_gru, shape=shape)


def test_convolutions_without_biases():
    options = {"use_bias": False, "activation": "relu", **F64}
    for cell, oracle in ((recur.conv_lstm, conv_lstm), (recur.conv_gru, conv_gru)):
        compare(cell(2, (3,), **options), oracle, shape=(4, 3), activation=relu)


@BIASES
@pytest.mark.parametrize("depth", [1, 3])
def test_recurrent_highway(depth, use_bias):
    compare(recur.recurrent_highway(4, depth, use_bias=use_bias, **F64), recurrent_highway)


def test_recurrent_highway_with_another_activation():
    cell = recur.recurrent_highway(4, 2, activation="relu", **F64)
    compare(cell, recurrent_highway, activation=relu)
