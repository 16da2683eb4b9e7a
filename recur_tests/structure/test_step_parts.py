"""The three parts of a step, run in succession, equal the step."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from recur.structure import Parts, find_structure
from recur_tests.helpers import assert_close, inner_jaxprs
from recur_tests.structure.steps import (
    HIDDEN,
    XS,
    by_name,
    draw_carry,
    draw_params,
    numbers,
)


def parts_of(step, p, h, x, key=None):
    return Parts(find_structure(step, p, h, x, key), p)


@pytest.mark.parametrize("case", **by_name())
def test_prepare_advance_and_read_are_the_step(case):
    """From a carry that is not zero, also where `prepare` and `read` are mapped over steps."""
    carry, step = draw_carry(case.carry), case.cell.step

    @jax.jit
    def both(p, carry):
        parts = parts_of(step, p, carry, case.x, case.key)
        prepared = parts.prepare(case.x, case.key)
        after, crossing = parts.advance(carry, prepared.inside)
        ys = jax.vmap(lambda _, *given: parts.read(*given))(
            jnp.zeros(2), *jax.tree.map(lambda a: jnp.stack([a, a]), (crossing, prepared.after))
        )
        alone = (after, parts.read(crossing, prepared.after))
        return alone, ys, step(p, carry, case.x, case.key)

    alone, ys, expected = both(draw_params(), carry)
    assert jax.tree.structure(alone) == jax.tree.structure(expected)
    assert_close(numbers(alone), numbers(expected), case.tolerance)
    last = jax.tree.map(lambda leaf: leaf[1], numbers(ys))
    assert_close(last, numbers(expected[1]), case.tolerance)


def lstm_like(p, carry, x, key=None):
    c, h = carry
    i, o = jax.nn.sigmoid(x @ p["W"] + h @ p["U"] + p["b"]), jax.nn.sigmoid(h @ jnp.sin(p["V"]))
    c = 0.5 * c + i
    h = o * jnp.tanh(c)
    return (c, h), h @ p["V"]


def test_what_the_parts_hold():
    p, carry = draw_params(), (np.ones(HIDDEN), np.ones(HIDDEN))
    parts = parts_of(lstm_like, p, carry, XS[0])
    [group] = parts.groups
    assert len(group.products) == 2
    assert_close(parts.kernels, [jnp.concatenate([p["U"], jnp.sin(p["V"])], axis=1)])
    assert_close(parts.constants, [p["b"]])  # neither V, which only the output reads, nor kernels
    assert [var.aval.shape for var in parts.crossing] == [(HIDDEN,)]
    [found] = parts.sums
    assert len(found.products) == len(found.constants) == 1
    prepared = parts.prepare(XS[0])
    assert_close(prepared.inside, [XS[0] @ p["W"]], 1e-12)
    assert not prepared.after


def test_advance_takes_all_that_it_depends_on():
    """So that a lift can differentiate along kernels, constants, carry and inputs."""
    p, carry = draw_params(), (np.ones(HIDDEN), np.linspace(-1, 1, HIDDEN))
    parts = parts_of(lstm_like, p, carry, XS[0])
    inside = parts.prepare(XS[0]).inside
    doubled = jax.tree.map(lambda leaf: 2 * leaf, (parts.kernels, parts.constants, carry, inside))
    after, crossing, factors = parts.advance_with(*doubled)
    c, h = doubled[2]
    i, o = jnp.split(h @ doubled[0][0], 2)
    c = 0.5 * c + jax.nn.sigmoid(doubled[3][0] + i + doubled[1][0])
    expected = (c, jax.nn.sigmoid(o) * jnp.tanh(c))
    assert_close(after, expected, 1e-12)
    assert_close((crossing, factors), ([expected[1]], [h]), 1e-12)


def test_shifts_are_zero_and_have_the_derivative_of_what_is_added():
    p, carry = draw_params(), (np.ones(HIDDEN), np.linspace(-1, 1, HIDDEN))
    parts = parts_of(lstm_like, p, carry, XS[0])
    inside, given = parts.prepare(XS[0]).inside, (parts.kernels, parts.constants, carry)

    def advance(shift):
        return parts.advance_with(*given, inside, shifts=[[None, shift]])[0][1]

    def expected(shift):
        c = 0.5 * carry[0] + jax.nn.sigmoid(inside[0] + carry[1] @ p["U"] + p["b"])
        return jax.nn.sigmoid(carry[1] @ jnp.sin(p["V"]) + shift) * jnp.tanh(c)

    zero = jnp.zeros(HIDDEN)
    found = jax.jvp(advance, (zero,), (jnp.arange(4.0),))
    assert_close(found, jax.jvp(expected, (zero,), (jnp.arange(4.0),)), 1e-12)


def test_another_way_to_multiply():
    p, carry = draw_params(), (np.ones(HIDDEN), np.ones(HIDDEN))
    parts = parts_of(lstm_like, p, carry, XS[0])
    calls = []

    def multiply(group, factor, kernel):
        calls.append(kernel)
        return [jnp.zeros(product.result.aval.shape) for product in group.products]

    inside = parts.prepare(XS[0]).inside
    (_, h), *_ = parts.advance_with(["kernel"], parts.constants, carry, inside, multiply=multiply)
    assert calls == ["kernel"]  # once for both products of the group
    c = 0.5 + jax.nn.sigmoid(inside[0] + p["b"])
    assert_close(h, 0.5 * jnp.tanh(c), 1e-12)


def test_invariants_are_computed_once_by_the_parts():
    def step(p, h, x, key=None):
        h = jnp.tanh(x @ jnp.arctan(p["W"]) + h @ jnp.arctan(p["U"])) * jnp.arctan(p["b"])
        return h, h @ jnp.arctan(p["V"])

    def all_parts(p, h):
        parts = parts_of(step, p, h, XS[0])
        prepared = jax.vmap(parts.prepare)(XS)

        def advance(h, inside):
            return parts.advance(h, inside)

        _, crossing = jax.lax.scan(advance, h, prepared.inside)
        return jax.vmap(parts.read)(crossing, prepared.after)

    def names(jaxpr):
        for equation in jaxpr.eqns:
            yield equation.primitive.name
            for inner in inner_jaxprs(equation):
                yield from names(inner)

    found = [*names(jax.make_jaxpr(all_parts)(draw_params(), np.ones(HIDDEN)).jaxpr)]
    assert found.count("atan") == 4


def test_scopes_and_lines_of_a_step_stay():
    def step(p, h, x, key=None):
        with jax.named_scope("project"):
            u = x @ p["W"]
        with jax.named_scope("recurrent"):
            m = h @ p["U"]
        with jax.named_scope("activate"):
            h = jnp.tanh(u + m)
        with jax.named_scope("read"):
            return h, h @ p["V"]

    def run(p, h):
        parts = parts_of(step, p, h, XS[0])
        prepared = jax.vmap(parts.prepare)(XS)
        h, crossing = parts.advance(h, jax.tree.map(lambda leaf: leaf[0], prepared.inside))
        return h, parts.read(crossing, [])

    jaxpr = jax.make_jaxpr(run)(draw_params(), np.ones(HIDDEN)).jaxpr
    scopes = {}
    for equation in jaxpr.eqns:
        name, stack = equation.primitive.name, str(equation.source_info.name_stack)
        scopes.setdefault(name, []).append(stack)
    assert scopes["product"] == ["vmap(project)", "recurrent", "read"]
    assert scopes["tanh"] == ["activate"]
    assert set(scopes["add"]) == {"activate"}
