import jax
import jax.numpy as jnp
import numpy as np
import pytest

import recur
from recur.modules import ACTIVATIONS
from recur_tests.contract.cases import STEPS

XS = np.ones((STEPS, 3))
NOT_ELEMENTWISE = {"softmax", "log_softmax"}


def gated_by(function):
    cell = recur.elman(3, param_dtype=jnp.float64)

    def gates(bound, h, u, m):
        h = function(bound, h, u + m)
        return h, h

    return recur.scan(cell._replace(gates=gates))


def trace(layer):
    return jax.eval_shape(lambda key: layer(layer.init(key, XS), XS), jax.random.key(0))


@pytest.mark.parametrize(
    ("function", "primitive"),
    [
        (lambda bound, h, a: jax.nn.standardize(a), "reduce_sum"),
        (lambda bound, h, a: jnp.tanh(a + jnp.roll(h, 1)), "slice|concatenate|gather"),
        (lambda bound, h, a: jnp.tanh(a + h @ bound.recurrent_kernel), "dot_general"),
        (lambda bound, h, a: jnp.tanh(a) * jnp.max(h), "reduce_max"),
        (lambda bound, h, a: jnp.cumsum(a), "cumsum|scan"),
        (lambda bound, h, a: jax.lax.cond(True, lambda: a[::-1], lambda: a), "cond|rev"),
        (lambda bound, h, a: jax.jit(jnp.sort)(a), "sort"),
        (lambda bound, h, a: jax.checkpoint(lambda a: a - a.mean())(a), "reduce_sum"),
        (lambda bound, h, a: jax.nn.softmax(a), "reduce_max|reduce_sum"),
    ],
)
def test_gates_that_mix_units_are_an_error_that_names_the_primitive(function, primitive):
    with pytest.raises(TypeError, match=f"must be elementwise .* primitive '({primitive})'"):
        trace(gated_by(function))


@pytest.mark.parametrize("name", sorted(set(ACTIVATIONS) - NOT_ELEMENTWISE))
def test_every_elementwise_activation_passes(name):
    trace(recur.scan(recur.elman(3, activation=name, param_dtype=jnp.float64)))


@pytest.mark.parametrize("name", sorted(NOT_ELEMENTWISE))
def test_an_activation_that_mixes_units_is_an_error(name):
    with pytest.raises(TypeError, match="must be elementwise"):
        trace(recur.scan(recur.elman(3, activation=name, param_dtype=jnp.float64)))


def test_bound_params_may_be_mixed_for_they_do_not_depend_on_the_carry():
    def normed(bound, h, a):
        return jnp.tanh(a) * jax.nn.softmax(bound.bias)

    trace(gated_by(normed))


@jax.custom_vjp
def straight_through(a):
    return jnp.sign(a)


straight_through.defvjp(lambda a: (jnp.sign(a), None), lambda _, g: (g,))


def test_where_and_calls_of_functions_are_followed():
    def piecewise(bound, h, a):
        return jax.jit(lambda a: jnp.where(a > 0, jax.checkpoint(jnp.sin)(a), h))(a)

    trace(gated_by(piecewise))
    trace(gated_by(lambda bound, h, a: h * straight_through(a)))


def test_the_loop_runs_any_gates_for_it_needs_no_structure():
    cell = recur.elman(3, activation="softmax", param_dtype=jnp.float64)
    layer = recur.loop(cell)
    assert jnp.allclose(layer(layer.init(jax.random.key(0), XS), XS).sum(-1), 1)
