"""Rewritten steps, against the same steps written by hand."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import recur
from recur.structure import (
    input_products,
    named_shapes,
    on_inputs,
    on_named,
    on_next_carry,
    on_products,
    recurrent_products,
)
from recur_tests.helpers import assert_close
from recur_tests.structure.steps import HIDDEN, XS, draw_params
from recur_tests.structure.test_classes import H

X = XS[0]
STATE = (H, -0.5 * H)


def lstm(p, carry, x, key=None, *, mask=1.0, norm=lambda m: m, drop=lambda g: g, wide=False):
    """An LSTM of one kernel a gate or of a wide one, with what combinators change in its place."""
    c, h = carry
    v = h * mask
    w, u = jnp.split(p["W4"], 4, axis=1), jnp.split(p["U4"], 4, axis=1)
    if wide:
        i, f, g, o = jnp.split(x @ p["W4"] + v @ p["U4"], 4)
    else:
        i, f, g, o = (x @ w[n] + norm(v @ u[n]) for n in range(4))
    g = drop(recur.name(jnp.tanh(g), "candidate"))
    c = jax.nn.sigmoid(f) * c + jax.nn.sigmoid(i) * g
    h = jax.nn.sigmoid(o) * jnp.tanh(c)
    return (c, h), h @ p["V"]


def wide(p, carry, x, key=None):
    return lstm(p, carry, x, wide=True)


MASK = np.array([0.0, 2.0, 0.0, 2.0])


def normalized(m):
    return (m - m.mean()) / jnp.sqrt(m.var() + 1e-3)


def assert_same(rewritten, by_hand, state=STATE):
    """The same in values, and in the gradient of a scan."""
    p = draw_params()
    assert_close(jax.jit(rewritten)(p, state, X), by_hand(p, state, X))

    def gradient(step, lift):
        cell = recur.cell(draw_params, lambda p, x: state, lambda p, c, x: step(p, c, x))
        return jax.jit(jax.grad(lambda p: jnp.sin(lift(cell)(p, XS)).sum()))(p)

    assert_close(gradient(rewritten, recur.scan), gradient(by_hand, recur.loop))


def test_a_name_is_the_identity():
    assert_close(jax.grad(lambda x: (recur.name(x, "a") ** 2).sum())(X), 2 * X)


@pytest.mark.parametrize("step", [lstm, wide])
def test_a_named_value_is_replaced(step):
    rewritten = on_named(step, "candidate", lambda p, g: g * MASK + p["b"].sum(), "caller")
    p = draw_params()
    assert_same(
        rewritten,
        lambda p, c, x: lstm(p, c, x, drop=lambda g: g * MASK + p["b"].sum()),
    )
    [shape] = named_shapes(step, "candidate", p, STATE, X, "caller")
    assert (shape.shape, shape.dtype) == ((HIDDEN,), jnp.float64)


def test_all_values_of_a_name_are_replaced_and_the_name_stays():
    def step(p, h, x, key=None):
        h = recur.name(jnp.sin(h), "a") + recur.name(jnp.cos(h), "a") + recur.name(h, "b")
        return h, h

    twice = on_named(step, "a", lambda _, v: v + 1, "caller")
    twice = on_named(twice, "a", lambda _, v: v * 2, "caller")
    assert_close(twice(None, H, X)[0], 2 * (jnp.sin(H) + jnp.cos(H) + 2) + H)


@jax.custom_jvp
def candidate(x):
    return jnp.tanh(x)


candidate.defjvp(lambda x, d: (candidate(*x), d[0]))
UNNAMED = {
    "no name": lambda h: jnp.tanh(h),
    "another name": lambda h: recur.name(jnp.tanh(h), "other"),
    "a function of that name": lambda h: jax.jit(candidate)(h),
    "within control flow": lambda h: jax.lax.cond(
        h[0] > 0, lambda h: recur.name(h, "candidate"), jnp.sin, h
    ),
}


@pytest.mark.parametrize("act", UNNAMED.values(), ids=UNNAMED.keys())
def test_a_missing_name_is_an_error(act):
    def step(p, h, x, key=None):
        return 2 * (act(h),)

    rewritten = on_named(step, "candidate", lambda _, g: g * 0, "recurrent_dropout")
    message = r"recurrent_dropout: the step names no value 'candidate'. Name it .* recur.name"
    with pytest.raises(TypeError, match=message):
        rewritten(None, H, X)
    with pytest.raises(TypeError, match=message):
        named_shapes(step, "candidate", None, H, X, "recurrent_dropout")


@pytest.mark.parametrize("step", [lstm, wide])
def test_the_factor_of_recurrent_products_is_replaced(step):
    """It is computed once for products with one factor; other readers of h are unchanged."""
    calls = []

    def masked(p, n, h):
        calls.append(n)
        return h * MASK

    rewritten = on_products(step, factor=masked)
    rewritten(draw_params(), STATE, X)
    assert calls == [0]
    assert_same(rewritten, lambda p, c, x: lstm(p, c, x, mask=MASK))


def test_the_result_of_recurrent_products_is_replaced():
    rewritten = on_products(lstm, result=lambda p, n, m: normalized(m))
    assert_same(rewritten, lambda p, c, x: lstm(p, c, x, norm=normalized))


def test_a_wide_product_is_seen_as_one_product_a_gate():
    products, _ = recurrent_products(wide, draw_params(), STATE, X)
    assert [product.result.aval.shape for product in products] == 4 * [(HIDDEN,)]
    rewritten = on_products(wide, result=lambda p, n, m: normalized(m))
    assert_same(rewritten, lambda p, c, x: lstm(p, c, x, norm=normalized))


def test_products_are_counted_in_the_order_of_the_step():
    seen = []

    def step(p, h, x, key=None):
        r = jax.nn.sigmoid(x @ p["W"] + h @ p["U"])
        h = jnp.tanh((r * h) @ p["V"] + h @ p["U"].T)
        return h, h @ p["V"]  # for the output alone: not of the recurrence

    on_products(step, result=lambda p, n, m: seen.append(n) or m)(draw_params(), H, X)
    assert seen == [0, 1, 2]
    products, structure = recurrent_products(step, draw_params(), H, X)
    assert [product.factor is structure.carry[0] for product in products] == [True, False, True]


def test_rewritten_steps_are_steps_to_rewrite():
    step = on_named(lstm, "candidate", lambda _, g: g * MASK, "caller")
    step = on_products(step, factor=lambda _, n, h: h * MASK)
    step = on_products(step, result=lambda _, n, m: normalized(m))
    assert_same(
        step,
        lambda p, c, x: lstm(p, c, x, mask=MASK, norm=normalized, drop=lambda g: g * MASK),
    )


def test_products_of_the_input_are_replaced():
    """Only the last of consecutive products, and none that only the output reads."""

    def step(p, h, x, key=None, change=lambda u: u):
        deep = jnp.tanh(x @ p["W"])
        h = jnp.tanh(change(deep @ p["U"]) + change(x @ p["W"]) + h @ p["V"])
        return h, h + x @ p["W"]

    products, structure = input_products(step, draw_params(), H, X)
    assert len(products) == 2
    assert all(product.result not in structure.on_carry for product in products)
    assert_same(
        on_inputs(step, lambda p, n, u: normalized(u) * p["b"]),
        lambda p, h, x: step(p, h, x, change=lambda u: normalized(u) * p["b"]),
        H,
    )


def blend(old, new):
    return jax.tree.map(lambda a, b: 0.25 * a + 0.75 * b, old, new)


def test_the_next_carry_is_replaced_and_the_output_reads_it():
    """Values that the next carry depends on are unchanged: h reads the old cell state."""

    def by_hand(p, carry, x):
        changed = blend(carry, lstm(p, carry, x)[0])
        return changed, changed[1] @ p["V"]

    assert_same(on_next_carry(lstm, blend), by_hand)


def test_the_next_carry_of_odd_kinds():
    """A part that is a constant, one that is unchanged, and one that only the carry reads."""

    def step(p, carry, x, key=None):
        a, b, c = carry
        c = jnp.tanh(c + b)
        return (jnp.ones(()), b, c), (a, b, c + 1)

    carry = (jnp.asarray(3.0), H, 2 * H)
    changed, (a, b, c) = on_next_carry(step, blend)(None, carry, X)
    assert_close(changed, blend(carry, step(None, carry, X)[0]))
    assert_close((a, b, c), (carry[0], H, changed[2] + 1))


def test_steps_with_keys_and_effects_are_rewritten():
    seen = []

    def step(p, h, x, key=None):
        jax.debug.callback(lambda v: seen.append(float(v)), x[0])
        h = jnp.tanh(h @ p["U"] + jax.random.normal(key, h.shape, h.dtype))
        return h, h

    key = jax.random.key(2)
    found = on_products(step, factor=lambda p, n, h: 2 * h)(draw_params(), H, X, key)
    jax.effects_barrier()
    assert seen == [X[0]]
    assert_close(found, step(draw_params(), 2 * H, X, key))
