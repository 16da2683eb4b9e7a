"""Every combinator against its equations, in NumPy, around the steps of several cells."""

from functools import partial

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from flax import linen as nn

import recur
from recur.cells import LSTMState
from recur_tests.helpers import assert_close, random_like, to_numpy
from recur_tests.oracles import combinators, elman, gru, jordan, linear, lstm
from recur_tests.oracles.attention import attend
from recur_tests.oracles.combinators import over_time, step_of
from recur_tests.oracles.normalized import (
    bare_layer_norm,
    layer_norm,
    normalized_elman,
    normalized_gru,
    normalized_gru_before,
    normalized_lstm,
    rms_norm,
)

F64 = {"param_dtype": jnp.float64}
dense = partial(nn.Dense, **F64)
STEPS = 5

ELMAN, GRU, LSTM = (make(4, **F64) for make in (recur.elman, recur.gru, recur.lstm))
BEFORE = recur.gru(4, reset="before", **F64)
JORDAN = recur.jordan(4, 2, **F64)  # y, which is the carry, is narrower than h
ELMAN_STEP = step_of(elman.elman)
GRU_STEP = step_of(gru.gru, reset="after")
BEFORE_STEP = step_of(gru.gru, reset="before")
LSTM_STEP = step_of(lstm.lstm)
JORDAN_STEP = step_of(jordan.jordan)

PAIRS = {
    "elman": (ELMAN, ELMAN_STEP),
    "gru": (GRU, GRU_STEP),
    "lstm": (LSTM, LSTM_STEP),
    "jordan": (JORDAN, JORDAN_STEP),
}


def example(cell, context, width):
    """Random inputs, params and carry of a lifted cell, none of them zero."""
    layer = recur.scan(cell)
    xs = random_like(jax.ShapeDtypeStruct((STEPS, width), jnp.float64), 0)
    init = lambda key: layer.init(key, xs, context=context)  # noqa: E731
    params = random_like(jax.eval_shape(init, jax.random.key(0)), 1)
    carry = jax.eval_shape(lambda params: layer.init_carry(params, xs, context=context), params)
    return params, random_like(carry, 2), xs


def agree(actual, expected):
    """Leaf by leaf: the containers of the oracles are their own."""
    actual, expected = jax.tree.leaves(actual), jax.tree.leaves(expected)
    assert_close(to_numpy(actual), expected, 1e-12)


def compare(cell, step, *, context=None, width=3, lift=recur.scan):
    """Runs the cell and the step of the oracle on the same random params, carry and inputs."""
    params, carry, xs = example(cell, context, width)
    layer = lift(cell)
    run = jax.jit(lambda params, carry: layer.run(params, xs, carry=carry, context=context))
    agree(run(params, carry), expected_run(step, params, carry, xs))


def expected_run(step, params, carry, xs):
    return over_time(step)(to_numpy(params), to_numpy(carry), to_numpy(xs))


def linear_map(params, x):
    """What `dense` does."""
    return x @ params["kernel"] + params["bias"]


@pytest.mark.parametrize("name", ["gru", "jordan"])
def test_readin(name):
    cell, step = PAIRS[name]
    compare(recur.readin(cell, dense(2)), combinators.readin(step, linear_map))


@pytest.mark.parametrize("name", ["lstm", "jordan"])
def test_feedback(name):
    cell, step = PAIRS[name]
    compare(recur.feedback(cell), combinators.feedback(step))


def test_feedback_joined_otherwise():
    cell = recur.feedback(LSTM, lambda x, y: jnp.concatenate([jnp.sin(y), x[:1]]))
    step = combinators.feedback(LSTM_STEP, lambda x, y: np.concatenate([np.sin(y), x[:1]]))
    compare(cell, step)


@pytest.mark.parametrize("lift", [recur.scan, recur.loop])
def test_stack_with_skips(lift):
    cell = recur.stack(LSTM, JORDAN, GRU, skips=True)
    step = combinators.stack_with_skips(LSTM_STEP, JORDAN_STEP, GRU_STEP)
    compare(cell, step, lift=lift)


@pytest.mark.parametrize("name", ["lstm", "elman"])
def test_highway(name):
    cell, step = PAIRS[name]
    compare(recur.highway(cell, **F64), combinators.highway(step), width=4)


@pytest.mark.parametrize("shortcut, name", [(False, "gru"), (False, "lstm"), (True, "lstm")])
def test_deep_transition(shortcut, name):
    cell, step = PAIRS[name]
    psi = nn.Sequential([dense(5), nn.tanh, dense(4)])

    def expected_psi(params, h):
        return linear_map(params["layers_2"], np.tanh(linear_map(params["layers_0"], h)))

    expected = combinators.deep_transition(step, expected_psi, shortcut=shortcut)
    compare(recur.deep_transition(cell, psi, shortcut=shortcut), expected)


WIDE = {"force_float32_reductions": False, **F64}  # or Flax promotes dtypes
NORMS = {
    "layer": (nn.LayerNorm(**WIDE), layer_norm),
    "layer-bare": (nn.LayerNorm(use_scale=False, use_bias=False, **WIDE), bare_layer_norm),
    "rms": (nn.RMSNorm(**WIDE), rms_norm),
}


@pytest.mark.parametrize("name", NORMS)
def test_normalize(name):
    norm, expected = NORMS[name]
    compare(recur.normalize(ELMAN, norm), normalized_elman(expected))
    compare(recur.normalize(GRU, norm), normalized_gru(expected))
    compare(recur.normalize(BEFORE, norm), normalized_gru_before(expected))
    compare(recur.normalize(LSTM, norm), normalized_lstm(expected))


V = np.asarray([0.3, -1.2, 0.7, 0.1, -0.4])


def context_of(value):
    return {"image": jnp.asarray(value)}


def by_gate(step):
    """The step with the tuples of `condition`, one entry a product, in the form of the bias."""

    def like_bias(bias, parts):
        if isinstance(bias, tuple):
            return type(bias)(*parts)
        return parts[0] if isinstance(parts, tuple) else parts

    def stepped(params, carry, x):
        kernel = like_bias(params.cell.bias, params.kernel)
        is_first_step = hasattr(carry, "entering")
        if is_first_step:
            carry = carry._replace(entering=like_bias(params.cell.bias, carry.entering))
        return step(params._replace(kernel=kernel), carry, x)

    return stepped


CONDITIONED = {
    **PAIRS,
    "before": (BEFORE, BEFORE_STEP),
    "feedback": (recur.feedback(JORDAN), combinators.feedback(JORDAN_STEP)),
}
SUMMING = recur.cell(
    lambda key, x: jnp.asarray([0.5, -0.3]),
    lambda params, x: jnp.zeros(2),
    lambda params, h, x: 2 * (jnp.tanh(params * h + jnp.tanh(x).sum()),),
)


def summing_step(params, h, x):
    """No product of the input."""
    h = np.tanh(params * h + np.tanh(x).sum())
    return h, h


@pytest.mark.parametrize("name", CONDITIONED)
def test_condition_every_step(name):
    cell, step = CONDITIONED[name]
    cell = recur.condition(cell, "image", **F64)
    expected = by_gate(combinators.condition_every_step(step, V))
    compare(cell, expected, context=context_of(V))


@pytest.mark.parametrize("name", CONDITIONED)
def test_condition_first_step(name):
    cell, step = CONDITIONED[name]
    cell = recur.condition(cell, "image", at="first step", **F64)
    compare(cell, by_gate(combinators.condition_first_step(step)), context=context_of(V))


def test_condition_of_what_has_no_product_of_the_input():
    cell = recur.condition(SUMMING, "image", **F64)
    expected = combinators.condition_every_step(summing_step, V)
    compare(cell, expected, context=context_of(V))
    cell = recur.condition(SUMMING, "image", at="first step", **F64)
    compare(cell, combinators.condition_first_step(summing_step), context=context_of(V))


@pytest.mark.parametrize("name", CONDITIONED)
def test_what_enters_at_the_first_step(name):
    cell = recur.condition(CONDITIONED[name][0], "image", at="first step", **F64)
    params, _, xs = example(cell, context_of(V), 3)
    carry = recur.scan(cell).init_carry(params, xs, context=context_of(V))
    agree(carry.entering, [V @ kernel for kernel in to_numpy(params.kernel)])
    assert not any(np.any(leaf) for leaf in jax.tree.leaves(carry.cell))


@pytest.mark.parametrize("learned", [False, True])
def test_condition_initial_carry(learned):
    inner = recur.lstm(
        4, initial_carry_init=jax.nn.initializers.normal() if learned else None, **F64
    )
    cell = recur.condition(inner, "image", at="initial carry", **F64)
    params, _, xs = example(cell, context_of(V), 3)
    layer = recur.scan(cell)
    run = jax.jit(lambda params: layer.run(params, xs, context=context_of(V)))
    actual, params = run(params), to_numpy(params)
    initial = params.cell.initial_carry if learned else LSTMState(np.zeros(4), np.zeros(4))
    carry = combinators.condition_start(initial, params.kernel, V)
    agree(actual, lstm.lstm(params.cell, carry, to_numpy(xs)))


@pytest.mark.parametrize("name", ["elman", "jordan"])
def test_film(name):
    cell, step = PAIRS[name]
    compare(recur.film(cell, "image", **F64), combinators.film(step, V), context=context_of(V))


ROWS = np.random.default_rng(0).standard_normal((4, 5))
MODES = [("output", False), ("output", True), ("state", False)]


@pytest.mark.parametrize("query, feed_input", MODES)
@pytest.mark.parametrize("score", ["additive", "multiplicative", "dot"])
def test_attend(score, query, feed_input):
    options = {"score": score, "query": query, "feed_input": feed_input}
    features = None if score == "multiplicative" else 6
    context = {"memory": jnp.asarray(ROWS)}
    cell = recur.attend(LSTM, "memory", features=features, **options, **F64)
    compare(cell, attend(LSTM_STEP, ROWS, **options), context=context)


@pytest.mark.parametrize("query, feed_input", MODES)
@pytest.mark.parametrize("valid", [[True, False, True, False], [False] * 4])
def test_attend_to_valid_rows(valid, query, feed_input):
    valid = np.asarray(valid)
    rows = np.where(valid[:, None], ROWS, np.nan)
    options = {"query": query, "feed_input": feed_input}
    context = {"memory": recur.combine.Memory(jnp.asarray(rows), jnp.asarray(valid))}
    expected = attend(GRU_STEP, rows, valid, **options)
    compare(recur.attend(GRU, "memory", **options, **F64), expected, context=context)


def test_attend_with_an_output_that_is_no_state():
    cell = recur.attend(JORDAN, "memory", feed_input=True, **F64)
    expected = attend(JORDAN_STEP, ROWS, feed_input=True)
    compare(cell, expected, context={"memory": jnp.asarray(ROWS)})


RATES = {
    "elman": 0.3,
    "gru": 0.3,
    "lstm": LSTMState(hidden=0.05, cell=0.5),
    "jordan": 0.3,
}


@pytest.mark.parametrize("name", RATES)
def test_zoneout_in_expectation(name):
    cell, step = PAIRS[name]
    compare(recur.zoneout(cell, RATES[name]), combinators.zoneout(step, RATES[name]))


def test_zoneout_in_expectation_of_one_rate_and_of_affine_cells():
    compare(recur.zoneout(LSTM, 0.3), combinators.zoneout(LSTM_STEP, 0.3))
    step = combinators.zoneout(step_of(linear.diagonal), 0.3)
    compare(recur.zoneout(recur.diagonal(4, **F64), 0.3), step)
