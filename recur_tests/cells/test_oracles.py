"""Every cell against its equations, transcribed in NumPy; from carries that are not zero."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import recur
from recur_tests.helpers import assert_close, random_like, to_numpy
from recur_tests.oracles.elman import elman
from recur_tests.oracles.gated import gated
from recur_tests.oracles.gru import gru
from recur_tests.oracles.jordan import jordan
from recur_tests.oracles.linear import diagonal, leaky
from recur_tests.oracles.lstm import lstm

F64 = {"param_dtype": jnp.float64}
BIASES = pytest.mark.parametrize("use_bias", [True, False])


def relu(a):
    return np.maximum(a, 0)


def softmax(a):
    return np.exp(a) / np.exp(a).sum()


def compare(cell, oracle, **options):
    """Runs the cell and its oracle on the same random params, carry and inputs."""
    layer = recur.scan(cell)
    xs = random_like(jax.ShapeDtypeStruct((7, 3), jnp.float64), 0)
    params = random_like(layer.init(jax.random.key(0), xs), 1)
    carry = random_like(layer.start(params, xs), 2)
    final, ys = layer.run(params, xs, carry=carry)
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
def test_gated(use_bias):
    compare(recur.gated(4, use_bias=use_bias, **F64), gated)
    compare(recur.gated(4, activation="tanh", **F64), gated, activation=np.tanh)


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


def test_leaky():
    compare(recur.leaky(**F64), leaky)


@BIASES
@pytest.mark.parametrize("complex_state", [False, True])
def test_diagonal(complex_state, use_bias):
    compare(recur.diagonal(4, complex_state=complex_state, use_bias=use_bias, **F64), diagonal)
