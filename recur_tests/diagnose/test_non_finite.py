"""Where NaN and infinity begin: in layers, loops, branches, calls and gradients."""

import inspect
import itertools
import math
import re

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest
from flax import linen as nn

import recur
from recur.diagnose import explain_non_finite, find_non_finite
from recur.train import fit, init_state, make_step

ONES = jnp.ones(3)


def place_of(found):
    return found.operation, found.value, found.steps, found.entry


def source_line(found):
    return int(re.search(r"test_non_finite\.py:(\d+)", found.source)[1])


def line_of(function, text):
    """The number of the line of a function that has a text."""
    lines, first = inspect.getsourcelines(function)
    return next(number for number, line in enumerate(lines, start=first) if text in line)


def test_nothing_is_found_in_finite_values_and_masks():
    def softmax(scores):
        return jax.nn.softmax(jnp.where(scores > 0, scores, -jnp.inf))

    assert find_non_finite(softmax, jnp.array([1.0, -1.0])) is None
    assert find_non_finite(lambda key: jax.random.normal(key), jax.random.key(0)) is None
    assert find_non_finite(lambda x: x, jnp.arange(3)) is None


def test_a_mask_of_everything_is_a_nan_in_the_subtraction():
    found = find_non_finite(lambda s: jax.nn.softmax(jnp.where(s > 0, s, -jnp.inf)), -ONES)
    assert place_of(found)[:2] == ("sub", pytest.approx(math.nan, nan_ok=True))


def test_an_overflow_is_the_origin_of_the_nan_after_it():
    def ratio(x):
        large = jnp.exp(x)  # overflows
        return large / (1 + large)

    found = find_non_finite(jax.jit(ratio), jnp.array([1.0, 1e4]))
    assert place_of(found) == ("exp", math.inf, (), (1,))
    assert source_line(found) == line_of(ratio, "# overflows")


def test_an_argument_that_is_not_finite_is_named():
    def scaled(params, x):
        return {"y": params["scale"] * x, "z": x}

    found = find_non_finite(scaled, {"scale": jnp.array(jnp.nan)}, ONES)
    assert (found.operation, found.result, found.arguments) == ("argument", "y", ("params/scale",))
    assert "params/scale is nan before the first operation" in str(found)


@pytest.mark.parametrize("reverse", [False, True])
def test_the_step_and_the_weight_of_a_recurrence_that_overflows(reverse):
    """H doubles its exponent at each step; NumPy says at which step it overflows."""
    layer = recur.chain(recur.scan(recur.elman(2, activation="relu"), reverse=reverse), nn.Dense(2))
    xs = jnp.ones((40, 2), jnp.float32)
    elman, dense = layer.init(jax.random.key(0), xs)
    ones = jax.tree.map(jnp.ones_like, elman)
    params = (ones._replace(recurrent_kernel=jnp.full((2, 2), 1e3, jnp.float32)), dense)
    h, step = np.zeros(2, np.float32), 0
    with np.errstate(over="ignore"):
        while np.isfinite(h).all():
            h = np.float32(2) + h @ np.full((2, 2), 1e3, np.float32)
            step += 1
    wanted = 40 - step if reverse else step - 1
    found = find_non_finite(layer, params, xs)
    assert (found.value, found.steps) == (math.inf, (wanted,))
    assert found.arguments == ("params/0/recurrent_kernel",)
    batched = find_non_finite(recur.batch(layer), params, jnp.stack([xs, xs]))
    assert batched.steps == found.steps and batched.shape == (2, 2)


def test_only_the_gradient_is_not_finite():
    def root(params):
        return jnp.where(params["w"] > 0, jnp.sqrt(params["w"]), 0.0).sum()  # here

    given = {"w": jnp.array([4.0, 0.0])}
    assert find_non_finite(root, given) is None
    found = find_non_finite(jax.grad(root), given)
    assert (found.result, found.operation, found.entry) == ("w", "div", (1,))
    assert source_line(found) == line_of(root, "# here")


def test_in_a_gradient_through_time():
    def loss(a, xs):
        def step(h, x):
            h = jnp.sqrt(a * h * x)
            return h, h

        return jax.lax.scan(step, 1.0, xs)[1].sum()

    xs = jnp.array([1.0, 0.5, 0.0, 1.0])  # h_2 = 0, where the square root has no derivative
    assert find_non_finite(loss, 1.0, xs) is None
    found = find_non_finite(jax.grad(loss), 1.0, xs)
    assert found.steps == (3,) or found.steps == (2,)
    assert math.isinf(found.value) or math.isnan(found.value)


@pytest.mark.parametrize("reverse", [False, True])
def test_a_nan_that_moves_between_carries_is_followed_to_its_step(reverse):
    """It begins in one carry, goes through two others, and only then is in an output."""

    def delayed(scale, xs):
        def step(carry, x):
            last, middle, first = carry
            return (scale * middle, scale * first, jnp.log(x)), scale * last

        return jax.lax.scan(step, (1.0, 1.0, 1.0), xs, reverse=reverse)[1]

    found = find_non_finite(delayed, 2.0, jnp.ones(9).at[4].set(-1.0))
    assert (found.operation, found.steps) == ("log", (4,))
    assert math.isnan(found.value)


def test_in_branches_whiles_and_nested_loops():
    def branch(x):
        return jax.lax.cond(x > 0, lambda x: x, lambda x: jnp.sqrt(x), x)

    assert find_non_finite(branch, -1.0).operation == "sqrt"

    def repeated(x):
        return jax.lax.while_loop(lambda c: c[0] < 9, lambda c: (c[0] + 1, jnp.exp(c[1])), (0, x))

    found = find_non_finite(repeated, 0.0)  # exp^n(0): 1, 2.7, 15, 3.8 million, overflow
    assert place_of(found)[:3] == ("exp", math.inf, (4,))

    def no_step(x):
        return jax.lax.while_loop(lambda c: False, lambda c: c, jnp.log(x))

    assert find_non_finite(no_step, -1.0).operation == "log"
    layer = recur.checkpoint(recur.scan(recur.elman(2, activation="relu")), segments=4)
    xs = jnp.ones((40, 2), jnp.float32)
    params = jax.tree.map(lambda w: jnp.full_like(w, 1e3), layer.init(jax.random.key(0), xs))
    assert len(find_non_finite(layer, params, xs).steps) == 2


def losses(params, carry, batch, key):
    scale = jnp.log(params["scale"])  # of a weight that descends below 0
    return scale * batch, (carry, {})


@pytest.mark.parametrize("donate", [(), 0])
def test_fit_explains_the_update_and_keeps_its_error(donate):
    optimizer = optax.sgd(0.5)
    state = init_state({"scale": jnp.asarray(1.0)}, optimizer, jax.random.key(0))
    step = jax.jit(make_step(losses, optimizer), donate_argnums=donate)
    w, update = 1.0, 1
    while w > 0:
        w, update = w - 0.5 / w, update + 1
    with pytest.raises(FloatingPointError) as caught:
        fit(
            step,
            state,
            itertools.repeat(1.0),
            steps=9,
            report_every=2,
            explain=explain_non_finite(losses),
        )
    text = str(caught.value)
    assert text.startswith(f"update {update}: the loss is ")
    assert " in log, line " in text and "The nearest arguments are params/scale. Lower" in text
    assert f"test_non_finite.py:{line_of(losses, '# of a weight')}" in text


def test_explanations_of_gradients_weights_and_ensembles():
    def root(params, carry, batch, key):
        return jnp.sqrt(params["w"]).sum(), (carry, {})

    explain, optimizer = explain_non_finite(root), optax.sgd(0.1)

    def state_of(w):
        return init_state({"w": jnp.array([w])}, optimizer, jax.random.key(0))

    assert "The loss is finite, but not the gradient of w. The first is inf in" in explain(
        state_of(0.0), None
    )
    assert "params/w is nan before the first operation" in explain(state_of(jnp.nan), None)
    assert "are finite" in explain(state_of(1.0), None)
    assert explain(state_of(1.0)._replace(step=jnp.zeros(3, int)), None) == ""
