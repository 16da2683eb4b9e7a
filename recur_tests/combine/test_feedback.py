import jax
import jax.numpy as jnp
import numpy as np
import pytest

import recur
from recur.cells.jordan import JordanParams
from recur.combine.adapt import readin
from recur.combine.feedback import Feedback, feedback
from recur.types import Cell
from recur_tests.combine.loops import products_in_loop
from recur_tests.contract.cases import dense
from recur_tests.contract.own_cells import conditioned_cell, leaky_integrator
from recur_tests.helpers import assert_close, random_like, weighted_sum

LSTM = recur.lstm(4, param_dtype=jnp.float64)
XS = np.linspace(-1, 1, 15).reshape(5, 3)


def feed_forward() -> Cell:
    """A cell that keeps nothing: y = tanh(tanh([x, y] W) V)."""

    def init(key, x):
        w, v = jax.random.split(key)
        return jax.random.normal(w, (x.shape[0], 4)), jax.random.normal(v, (4, 2))

    def step(params, carry, x):
        w, v = params
        return carry, jnp.tanh(jnp.tanh(x @ w) @ v)

    return recur.cell(init, lambda params, x: (), step)


def test_around_a_feed_forward_net_it_is_the_network_of_jordan():
    net, jordan = recur.scan(feedback(feed_forward())), recur.scan(recur.jordan(4, 2))
    w, v = net.init(jax.random.key(0), XS)
    assert w.shape == (3 + 2, 4)
    y = jnp.array([0.5, -0.5])
    carry, ys = net.run((w, v), XS, carry=Feedback((), y))
    final, expected = jordan.run(JordanParams(w[:3], w[3:], None, v, None, None), XS, carry=y)
    assert_close((carry.output, ys), (final, expected))


def test_a_decoder_runs_on_its_own():
    cell = recur.readout(LSTM, dense(2))
    decoder = recur.scan(feedback(cell))
    nothing = jnp.zeros((5, 0))
    params = random_like(jax.eval_shape(decoder.init, jax.random.key(0), nothing), seed=1)
    bound = cell.bind(params, jnp.zeros(2))
    state, y, ys = cell.init_carry(bound, jnp.zeros(2)), jnp.zeros(2), []
    for _ in range(5):
        state, y = cell.step(bound, state, y)
        ys.append(y)
    assert_close(decoder.run(params, nothing), (Feedback(state, y), jnp.stack(ys)))


def test_the_first_step_sees_zeros_and_the_next_what_came_before():
    cell = feedback(LSTM)
    params = random_like(jax.eval_shape(cell.init, jax.random.key(0), XS[0]), seed=1)
    bound = cell.bind(params, XS[0])
    start = cell.init_carry(bound, XS[0])
    assert_close(start.output, jnp.zeros(4))
    carry, y = cell.step(bound, start, XS[0])
    assert_close(carry, Feedback(*LSTM.step(params, start.cell, jnp.append(XS[0], jnp.zeros(4)))))
    assert_close(
        cell.step(bound, carry, XS[1])[1], LSTM.step(params, carry.cell, jnp.append(XS[1], y))[1]
    )


def test_what_is_fed_back_is_in_the_loop():
    cell = feedback(recur.readout(LSTM, dense(2)))
    assert products_in_loop(cell) == [(2,), (16,), (16,)]  # h V, [x, y] W, h U


def test_how_they_are_joined_is_the_callers():
    """Where the output is added to the input, widths may follow the input's."""
    fed = feedback(leaky_integrator(), lambda x, y: x + 2 * y)
    params = jnp.array([0.3, -0.2, 0.1])
    a, h, ys = jax.nn.sigmoid(params), jnp.zeros(3), []
    for x in XS:
        h = a * h + (1 - a) * (x + 2 * h)
        ys.append(h)
    assert_close(recur.scan(fed)(params, XS), jnp.stack(ys))


def test_outputs_of_any_structure_are_fed_back():
    both = recur.readout(LSTM, lambda h: {"h": h, "sum": h.sum()})
    layer = recur.scan(feedback(both, lambda x, y: jnp.append(x, y["sum"])))
    params = layer.init(jax.random.key(0), XS)
    assert params.cell.kernel.input.shape == (4, 4)
    carry, ys = layer.run(params, XS)
    assert_close(carry.output, jax.tree.map(lambda leaf: leaf[-1], ys))


def test_a_context_reaches_the_cell():
    layer = recur.scan(feedback(conditioned_cell(), jnp.add))
    context = {"image": jnp.ones(3)}
    params = layer.init(jax.random.key(0), XS, context=context)
    first = recur.scan(conditioned_cell())(params, XS[:1], context=context)
    assert_close(layer(params, XS[:1], context=context), first)


@pytest.mark.parametrize("compute", [None, jnp.bfloat16])
@pytest.mark.parametrize("weights", [jnp.float32, jnp.bfloat16])
def test_the_output_has_the_dtype_that_the_weights_give_it(weights, compute):
    """The weights of `init` are float32, and those of the call may be others."""
    with jax.numpy_dtype_promotion("standard"):
        layer = recur.scan(feedback(recur.gru(4, dtype=compute)))
        xs = jnp.asarray(XS, jnp.bfloat16)
        params = jax.tree.map(lambda p: p.astype(weights), layer.init(jax.random.key(0), xs))
        assert layer(params, xs).dtype == (compute or weights)


def test_in_a_batch_it_keeps_to_lengths_and_resets():
    cell = feedback(recur.readout(recur.residual(readin(LSTM, dense(5))), dense(2)), join=None)
    with pytest.raises(ValueError, match="residual: expected a cell whose output has the shape"):
        cell.init(jax.random.key(0), XS[0])
    cell = feedback(
        recur.readout(recur.residual(LSTM), dense(2)), lambda x, y: jnp.append(x[:2], y)
    )
    layer = recur.scan(readin(cell, dense(4)))
    batched = recur.batch(layer)
    xs = jnp.stack([XS, np.sin(5 * XS)]).at[1, 4:].set(jnp.nan)
    params = random_like(jax.eval_shape(layer.init, jax.random.key(0), XS), seed=1)
    reset = jnp.zeros((2, 5), bool).at[1, 2].set(True)

    def loss(params):
        ys = batched(params, xs, length=jnp.array([5, 4]), reset=reset)
        return weighted_sum(ys), ys

    gradient, ys = jax.jit(jax.grad(loss, has_aux=True))(params)
    assert_close(ys[0], layer(params, XS))
    assert_close(ys[1, :2], layer(params, xs[1, :2]))
    assert_close(ys[1, 2:4], layer(params, xs[1, 2:4]))
    assert not ys[1, 4:].any()
    assert all(jnp.isfinite(leaf).all() for leaf in jax.tree.leaves(gradient))


def test_wrong_input_is_an_error():
    with pytest.raises(TypeError, match="feedback: expected a cell, got a layer"):
        feedback(recur.scan(LSTM))
    with pytest.raises(TypeError, match="feedback: join: expected a function, got str"):
        feedback(LSTM, "concatenate")
    with pytest.raises(
        ValueError, match=r"float64\[3\] for x alone, and float64\[6\] for x joined"
    ):
        recur.scan(feedback(leaky_integrator())).init(jax.random.key(0), XS)
    grid = recur.readout(LSTM, lambda y: y.reshape(2, 2))
    with pytest.raises(ValueError, match="feedback: expected arrays to concatenate"):
        recur.scan(feedback(grid)).init(jax.random.key(0), XS)
