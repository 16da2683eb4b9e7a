"""Loops in chunks of steps: the values of the whole loop, with memory that does not grow with T."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jax.experimental import io_callback
from jax.test_util import check_grads

import recur
from recur.lift import chunks
from recur_tests.helpers import assert_close, count_primitives

ROWS, STEPS, WIDTH = 3, 48, 2
XS = np.random.default_rng(0).standard_normal((ROWS, STEPS, WIDTH))
LENGTH = np.array([48, 17, 0])
RESET = np.arange(STEPS) % 7 == np.array([[0], [2], [5]])
CELLS = {
    "lstm": recur.lstm(4),
    "reset before": recur.gru(4, reset="before"),
    "projection": recur.projected_lstm(4, 2),
    "linear": recur.lru(4),
    "noise": recur.variational_dropout(recur.gru(4), inputs=0.2, recurrent=0.3),
}


@pytest.fixture(autouse=True)
def small_chunks(monkeypatch):
    """A chunk of 8 to 16 steps for all that is tested here."""
    monkeypatch.setattr(chunks, "_MAX_BYTES", 4096)
    monkeypatch.setattr(chunks, "_MIN_STEPS", 4)


def draw(layer, xs):
    """Params in float64."""
    params = layer.init(jax.random.key(0), xs)
    widened = lambda leaf: leaf.astype(np.promote_types(leaf.dtype, np.float64))  # noqa: E731
    return jax.tree.map(widened, params)


def loops(layer, *arguments):
    """The number of loops in the jaxpr of a layer."""
    return count_primitives(jax.make_jaxpr(layer)(*arguments), "scan")


def run(layer, params, xs):
    key = jax.random.key(3)
    given = {"length": LENGTH, "reset": RESET, "key": key}
    return [layer.run(params, xs, all_carries=each, **given) for each in (False, True)]


def values_and_gradient(cell, params, *, reverse):
    """The outputs of a layer, and the gradient of the sum of their squares."""
    layer = recur.batch(recur.scan(cell, reverse=reverse))

    @jax.jit
    def of(params, xs):
        return run(layer, params, xs)

    def loss(params, xs):
        return sum((jnp.abs(leaf) ** 2).sum() for leaf in jax.tree.leaves(of(params, xs)))

    return of(params, XS), jax.grad(loss, (0, 1))(params, XS)


@pytest.mark.parametrize("reverse", [False, True])
@pytest.mark.parametrize("name", CELLS)
def test_values_and_gradients_are_those_of_the_whole_loop(name, reverse, monkeypatch):
    layer = recur.batch(recur.scan(CELLS[name], reverse=reverse))
    params = draw(layer, XS)
    assert loops(layer, params, XS) == 2
    found = values_and_gradient(CELLS[name], params, reverse=reverse)
    monkeypatch.setattr(chunks, "_MAX_BYTES", 2**23)
    expected = values_and_gradient(CELLS[name], params, reverse=reverse)
    assert_close(found, expected, 1e-11)


def test_a_gradient_is_that_of_the_whole_loop():
    """One product per kernel, for all steps, and none for inputs that are not differentiated."""
    layer = recur.batch(recur.scan(recur.lstm(4)))
    params = draw(layer, XS)

    def products(xs):
        loss = lambda params: (layer(params, xs) ** 2).sum()  # noqa: E731
        return count_primitives(jax.make_jaxpr(jax.grad(loss))(params), "dot_general", "product")

    short = XS[:, :4]  # in one chunk
    assert loops(layer, params, short) == 1
    assert products(XS) == products(short)


def test_tangents_and_second_derivatives():
    layer = recur.batch(recur.scan(recur.elman(4)))
    params = draw(layer, XS)
    assert loops(layer, params, XS) == 2
    check_grads(lambda p: layer(p, XS).sum(), (params,), order=2, atol=1e-5)


@pytest.mark.parametrize("count", [47, 53])
def test_a_prime_number_of_steps_is_not_cut(count):
    layer = recur.scan(recur.lstm(4))
    xs = np.ones((100 * count, 2))[:count]
    assert loops(layer, draw(layer, xs), xs) == 1


@jax.custom_vjp
def steep(x):
    """Tanh with a slope of 3."""
    return jnp.tanh(x)


steep.defvjp(lambda x: (jnp.tanh(x), None), lambda _, slope: (3 * slope,))


def test_what_forward_mode_does_not_know_is_not_cut():
    layer = recur.batch(recur.scan(recur.elman(4, activation=steep)))
    oracle = recur.batch(recur.loop(recur.elman(4, activation=steep)))
    params, xs = draw(layer, XS), XS[:, :24]
    assert loops(layer, params, xs) == 1

    def gradient(layer):
        return jax.grad(lambda params: (layer(params, xs) ** 2).sum())(params)

    assert_close(gradient(layer), gradient(oracle), 1e-10)


def test_effects_happen_once_in_their_order():
    seen = []

    def step(params, h, x):
        io_callback(lambda h: seen.append(float(h[0])), None, h, ordered=True)
        return 2 * (jnp.tanh(h + x @ params),)

    cell = recur.cell(lambda key, x: jnp.ones((500, 500)), lambda p, x: jnp.zeros(500), step)
    xs = np.ones((8, 500))
    jax.block_until_ready(recur.scan(cell)(jnp.ones((500, 500)), xs))
    assert len(seen) == len(xs)


def test_memory_without_a_derivative_does_not_grow_with_steps():
    layer = recur.scan(recur.lstm(16))

    def held(count):
        xs = jax.ShapeDtypeStruct((count, 16), jnp.float32)
        params = layer.init(jax.random.key(0), xs)
        compiled = jax.jit(layer).lower(params, xs).compile()
        return compiled.memory_analysis().temp_size_in_bytes

    assert held(16_000) < held(160) + 4096
