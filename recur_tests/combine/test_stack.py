import jax
import jax.numpy as jnp
import numpy as np
import pytest

import recur
from recur_tests.combine.loops import products_in_loop
from recur_tests.contract.own_cells import leaky_integrator
from recur_tests.helpers import assert_close, random_like, weighted_sum

LSTM, GRU = (make(4, param_dtype=jnp.float64) for make in (recur.lstm, recur.gru))
BEFORE = recur.gru(4, reset="before", param_dtype=jnp.float64)
XS = np.linspace(-1, 1, 15).reshape(5, 3)


def test_a_stack_of_one_is_the_cell():
    params = recur.scan(LSTM).init(jax.random.key(0), XS)
    carry, ys = recur.scan(LSTM).run(params, XS)
    assert_close(recur.scan(recur.stack(LSTM)).run((params,), XS), ((carry,), ys))


def test_the_outputs_of_one_are_the_inputs_of_the_next():
    layer = recur.loop(recur.stack(LSTM, GRU))
    params = layer.init(jax.random.key(0), XS)
    lower, upper = recur.scan(LSTM), recur.scan(GRU)
    state, hs = lower.run(params[0], XS)
    top, ys = upper.run(params[1], hs)
    assert_close(layer.run(params, XS), ((state, top), ys))


def test_scan_runs_it_layer_by_layer():
    layer = recur.scan(recur.stack(LSTM, GRU))
    jaxpr = jax.make_jaxpr(layer.run)(layer.init(jax.random.key(0), XS), XS)
    assert str(jaxpr).count(" scan[") == 2


def test_skips_around_one_cell_are_the_cell():
    params = recur.scan(LSTM).init(jax.random.key(0), XS)
    carry, ys = recur.scan(LSTM).run(params, XS)
    assert_close(recur.scan(recur.stack(LSTM, skips=True)).run((params,), XS), ((carry,), ys))


def by_hand(cells, params, carry, xs):
    """A stack with skips, as Graves writes it: a loop over steps and cells."""
    bound = []
    for level, (cell, p) in enumerate(zip(cells, params, strict=True)):
        bound.append(cell.bind(p, xs[0] if level == 0 else jnp.zeros(3 + 4)))
    ys = []
    for x in xs:
        outputs, carries = [], []
        for cell, b, c in zip(cells, bound, carry, strict=True):
            seen = jnp.concatenate([x, *outputs[-1:]])
            c, y = cell.step(b, c, seen)
            outputs.append(y)
            carries.append(c)
        carry = tuple(carries)
        ys.append(jnp.concatenate(outputs))
    return carry, jnp.stack(ys)


def test_with_skips_every_cell_sees_the_input_and_is_seen():
    cells = (LSTM, GRU)
    layer = recur.scan(recur.stack(*cells, skips=True))
    params = random_like(jax.eval_shape(layer.init, jax.random.key(0), XS), seed=1)
    carry = random_like(layer.init_carry(params, XS), seed=2)
    assert params[0].kernel.input.shape == (3, 4)
    assert params[1].kernel.reset.shape == (3 + 4, 4)

    def gradients(run):
        def loss(params, carry, xs):
            ends = run(params, carry, xs)
            return weighted_sum(ends), ends

        return jax.jit(jax.grad(loss, argnums=(0, 1, 2), has_aux=True))(params, carry, XS[:3])

    actual = gradients(lambda params, carry, xs: layer.run(params, xs, carry=carry))
    assert_close(actual, gradients(lambda *given: by_hand(cells, *given)))


def test_with_skips_the_outputs_of_all_are_joined():
    cells = (LSTM, GRU, BEFORE)
    layer = recur.scan(recur.stack(*cells, skips=True))
    params = random_like(jax.eval_shape(layer.init, jax.random.key(0), XS), seed=1)
    carry = random_like(layer.init_carry(params, XS), seed=2)
    expected = jax.jit(lambda *given: by_hand(cells, *given))(params, carry, XS)
    assert_close(jax.jit(layer.run)(params, XS, carry=carry), expected)


def test_it_is_a_cell_that_prints_as_it_was_made():
    stack = recur.stack(LSTM, GRU, skips=True)
    assert isinstance(stack, recur.Cell) and isinstance(stack, recur.combine.Stack)
    assert len(stack.cells) == 2
    assert repr(stack) == f"stack({LSTM!r}, {GRU!r}, skips=True)"


def test_with_skips_only_recurrent_products_are_in_the_loops():
    cell = recur.stack(LSTM, GRU, BEFORE, skips=True)
    layer = recur.scan(cell)
    jaxpr = jax.make_jaxpr(layer.run)(layer.init(jax.random.key(0), XS), XS).jaxpr
    assert str(jaxpr).count(" scan[") == 3
    assert products_in_loop(cell) == [(4,), (8,), (12,), (16,)]


def test_the_same_cell_may_stand_in_it_twice():
    layer = recur.scan(recur.stack(GRU, GRU))
    params = layer.init(jax.random.key(0), XS)
    assert (params[0].kernel.reset.shape, params[1].kernel.reset.shape) == ((3, 4), (4, 4))
    hs = recur.scan(GRU)(params[0], XS)
    assert_close(layer(params, XS), recur.scan(GRU)(params[1], hs))


def test_with_skips_associative_runs_it_too():
    cell = recur.stack(leaky_integrator(), leaky_integrator(), skips=True)
    layers = [lift(cell) for lift in (recur.associative, recur.scan)]
    params = layers[1].init(jax.random.key(0), XS)
    assert_close(*(jax.jit(layer.run)(params, XS, length=4) for layer in layers))


def test_a_stack_with_skips_stands_in_another():
    inner = recur.stack(GRU, GRU, skips=True)
    cell = recur.stack(LSTM, inner, skips=True)
    scanned, looped = recur.scan(cell), recur.loop(cell)
    params = scanned.init(jax.random.key(0), XS)
    ys = jax.jit(scanned)(params, XS)
    assert ys.shape == (5, 12)
    assert_close(ys, jax.jit(looped)(params, XS))


def test_in_a_batch_skips_keep_to_the_lengths():
    cell = recur.stack(LSTM, BEFORE, GRU, skips=True)
    layer, batched = recur.scan(cell), recur.batch(recur.scan(cell))
    xs = jnp.stack([XS, np.sin(5 * XS)]).at[1, 3:].set(jnp.nan)
    params = layer.init(jax.random.key(0), XS)

    def loss(params):
        carry, ys = batched.run(params, xs, length=jnp.array([5, 3]))
        return weighted_sum(ys), (carry, ys)

    gradient, (carry, ys) = jax.jit(jax.grad(loss, has_aux=True))(params)
    last, alone = jax.jit(layer.run)(params, xs[1, :3])
    assert_close(jax.tree.map(lambda leaf: leaf[1], carry), last)
    assert_close(ys[1], jnp.concatenate([alone, jnp.zeros((2, 12))]))
    assert all(jnp.isfinite(leaf).all() for leaf in jax.tree.leaves(gradient))


def test_wrong_input_is_an_error():
    with pytest.raises(ValueError, match="at least one cell"):
        recur.stack()
    with pytest.raises(TypeError, match="stack: expected a cell, got a layer"):
        recur.stack(LSTM, recur.scan(GRU))
    layer = recur.loop(recur.stack(LSTM, GRU))
    params = layer.init(jax.random.key(0), XS)
    with pytest.raises(ValueError, match="params: expected a tuple of 2 entries"):
        layer(params[:1], XS)
    with pytest.raises(ValueError, match="carry: expected"):
        layer.run(params, XS, carry=(jnp.zeros(4),))


def test_what_does_not_fit_side_by_side_is_an_error():
    grid = recur.readout(GRU, lambda y: y.reshape(2, 2))
    layer = recur.scan(recur.stack(grid, GRU, skips=True))
    with pytest.raises(
        ValueError, match=r"stack: expected arrays to concatenate.*\[3\], float64\[2,2\]"
    ):
        layer.init(jax.random.key(0), XS)
