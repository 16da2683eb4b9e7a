"""Dependencies of equations, and which of them move out of the loop."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from recur.structure import find_structure, has_callbacks, has_custom_vjp_or_control_flow
from recur.structure.groups import group
from recur_tests.structure.steps import HIDDEN, TABLE, XS, by_name, draw_params

CLASSES = ("invariant", "before", "inside", "after")
H = np.linspace(-1, 1, HIDDEN)


def found_in(step, *, h=H, x=XS[0], key=None):
    """The structure of `step(p, h, x, key)`."""
    found = []

    def find(p, h, x, key):
        found.append(find_structure(lambda p, h, x, key: step(p, h, x, key), p, h, x, key))

    jax.eval_shape(find, draw_params(), h, x, key)
    return found[0]


def names(structure, of):
    return [equation.primitive.name for equation in getattr(structure, of)]


def where(structure):
    """The class of each primitive; of one in several classes, the first."""
    return {name: of for of in reversed(CLASSES) for name in names(structure, of)}


@pytest.mark.parametrize("case", **by_name())
def test_products_are_found_where_they_are_expected(case):
    structure = found_in(
        lambda p, h, x, key: case.cell.step(p, h, x, key), h=case.carry, x=case.x, key=case.key
    )
    before, inside, after = (
        structure.products_of(getattr(structure, of)) for of in ("before", "inside", "after")
    )
    real = [p for p in inside if jnp.issubdtype(p.result.aval.dtype, jnp.inexact)]
    assert (len(before), len(group(real)), len(after)) == case.products


@pytest.mark.parametrize("case", **by_name())
def test_classes_are_what_their_equations_depend_on(case):
    """Each equation is in one class, and reads only values that are known where it runs."""
    structure = found_in(
        lambda p, h, x, key: case.cell.step(p, h, x, key), h=case.carry, x=case.x, key=case.key
    )
    of_bound, of_carry, of_x, of_key = structure.traced.arguments
    known = {*structure.traced.jaxpr.constvars, *of_bound}
    for given, of in (
        ((), "invariant"),
        ((*of_x, *of_key), "before"),
        (of_carry, "inside"),
        ((), "after"),
    ):
        known |= set(given)
        for equation in getattr(structure, of):
            assert {atom for atom in equation.invars if not hasattr(atom, "val")} <= known
            assert not known & set(equation.outvars)
            known |= set(equation.outvars)
    assert {a for a in structure.traced.outputs if not hasattr(a, "val")} <= known
    next_carry = {a for a in structure.next_carry if not hasattr(a, "val")}
    assert not next_carry & {v for e in structure.after for v in e.outvars}


def test_four_classes():
    def step(p, h, x, key):
        kernel = jnp.arctan(p["U"])
        m = jnp.sin(x) @ p["W"] + h @ kernel
        h = jnp.tanh(m)
        return h, jnp.cos(h) @ p["V"]

    structure = found_in(step)
    assert names(structure, "invariant") == ["atan"]
    assert names(structure, "before") == ["sin", "dot_general"]
    assert names(structure, "inside") == ["dot_general", "add", "tanh"]
    assert names(structure, "after") == ["cos", "dot_general"]


def test_elementwise_work_that_leads_to_no_product_stays():
    """Moved values are stored for all steps, which costs more than computing them."""

    def step(p, h, x, key):
        h = jnp.tanh(jnp.sin(x).sum() + h * p["b"])
        return h, h

    assert where(found_in(step))["sin"] == "inside"


def test_what_follows_a_product_of_the_input_moves_with_it():
    def step(p, h, x, key):
        u = jnp.exp(jnp.sin(x) @ p["W"])
        h = jnp.tanh(u + jnp.cos(x).sum() * h)
        return h, h

    classes = where(found_in(step))
    assert classes["sin"] == classes["exp"] == "before"
    assert classes["cos"] == "inside"


def test_a_bias_stays_in_the_loop_where_it_would_be_the_last_to_move():
    """Before the loop it would read and write the array of all steps once more."""

    def bias_last(p, h, x, key):
        h = jnp.tanh(x @ p["W"] + p["b"] + h @ p["U"])
        return h, h

    def bias_within(p, h, x, key):
        h = jnp.tanh(jnp.sin(x @ p["W"] + p["b"]) + h @ p["U"])
        return h, h

    assert names(found_in(bias_last), "before") == ["dot_general"]
    assert names(found_in(bias_within), "before") == ["dot_general", "add", "sin"]


def test_random_bits_of_threefry_keys_are_drawn_before_the_loop_and_others_in_it():
    def step(p, h, x, key):
        h = jnp.tanh(x @ p["W"] + h * jax.random.normal(key, h.shape, h.dtype))
        return h, h

    for impl, of in (("threefry2x32", "before"), ("rbg", "inside"), ("unsafe_rbg", "inside")):
        structure = found_in(step, key=jax.random.key(0, impl=impl))
        assert where(structure)["random_bits"] == of
        assert where(structure)["dot_general"] == "before"


def test_noise_for_the_output_stays_where_vmap_would_change_it():
    def step(p, h, x, key):
        h = jnp.tanh(x @ p["W"] + h)
        return h, h @ p["U"] * jax.random.normal(key, h.shape, h.dtype)

    structure = found_in(step, key=jax.random.key(0, impl="rbg"))
    assert where(structure)["random_bits"] == "inside"
    assert names(structure, "after").count("dot_general") == 1


def test_keys_of_bound_are_drawn_from_once():
    def step(p, h, x, key):
        h = jnp.tanh(x @ p["W"] + h * jax.random.normal(jax.random.key(7), h.shape, h.dtype))
        return h, h

    assert where(found_in(step))["random_bits"] == "invariant"


def test_control_flow_on_the_input_stays_with_all_that_reads_it():
    """Under `vmap` both branches would run."""

    def step(p, h, x, key):
        u = jax.lax.cond(x[0] > 0, jnp.sin, jnp.cos, x)
        h = jnp.tanh(jnp.exp(u) @ p["W"] + x @ p["W"] + h)
        return h, h

    structure = found_in(step)
    assert where(structure)["cond"] == where(structure)["exp"] == "inside"
    assert names(structure, "before") == ["dot_general"]
    assert len(structure.products_of(structure.inside)) == 1


def test_control_flow_for_the_output_stays_and_what_leads_to_it():
    def step(p, h, x, key):
        h = jnp.tanh(h @ p["U"] + x @ p["W"])
        return h, jnp.exp(jax.lax.cond(h[0] > 0, jnp.sin, jnp.cos, h @ p["V"])) @ p["U"]

    structure = found_in(step)
    assert names(structure, "inside").count("dot_general") == 2
    assert names(structure, "after") == ["exp", "dot_general"]


def test_the_output_is_computed_after_the_loop_where_no_more_is_stored():
    def wider(p, h, x, key):
        h = jnp.tanh(h @ p["U"])
        return h, jnp.concatenate([h, jnp.sin(h)])

    def narrower(p, h, x, key):
        h = jnp.tanh(h @ p["U"])
        return h, jnp.sin(h)[:2] * jnp.exp(jnp.cos(h))[0]

    assert names(found_in(wider), "after")[-1:] == ["concatenate"]
    assert not names(found_in(narrower), "after")


def test_effects_never_move():
    def step(p, h, x, key):
        u = jnp.sin(x) @ p["W"]
        jax.debug.print("{}", u)
        jax.debug.print("{}", jnp.arctan(p["b"]))
        h = jnp.tanh(u + h)
        y = h @ p["U"]
        jax.debug.print("{}", y)
        return h, y

    structure = found_in(step)
    assert sum(bool(equation.effects) for equation in structure.inside) == 3
    assert names(structure, "inside").count("dot_general") == 1
    assert names(structure, "before") == ["sin", "dot_general"]
    assert not names(structure, "after")
    assert has_callbacks(structure.inside)


def test_what_nobody_reads_is_dropped():
    def step(p, h, x, key):
        jnp.arctan(h @ p["V"])
        return h + x @ p["W"], h

    assert "atan" not in where(found_in(step))
    assert len(found_in(step).products) == 1


def test_a_product_has_one_factor_that_is_the_same_at_all_steps():
    def step(p, h, x, key):
        outer = jnp.outer(h, x @ p["W"])  # of two that vary
        square = p["U"] @ p["V"]  # of none
        h = jnp.tanh(outer @ h + square @ h)
        return h, h

    structure = found_in(step)
    assert [product.side for product in structure.products.values()] == [0, 1]
    [product] = structure.products_of(structure.inside)
    assert product.factor is structure.carry[0]
    assert names(structure, "invariant") == ["dot_general"]


def test_constants_of_the_trace_are_the_same_at_all_steps():
    weights = jnp.ones((HIDDEN, HIDDEN)) * 0.5

    def step(p, h, x, key):
        h = jnp.tanh(h @ jnp.sin(weights))
        return h, h

    structure = found_in(step)
    assert names(structure, "invariant") == ["sin"]
    assert len(structure.products) == 1


def test_the_carry_and_the_output_of_a_structure():
    structure = found_in(lambda p, h, x, key: ((h[0] + 1, h[1]), (x, h[1])), h=(H, H))
    first, second = structure.carry
    assert structure.next_carry[1] is second is structure.outputs[1]
    assert structure.next_carry[0] in structure.on_carry and first in structure.on_carry
    assert structure.outputs[0] not in structure.on_carry


@pytest.mark.parametrize(
    "carry, message",
    [
        (lambda h: h[:2], r"float64\[4\], got float64\[2\]"),
        (lambda h: h.astype(jnp.float32), r"got float32\[4\]"),
        (lambda h: (h,), r"got \(float64\[4\]"),
    ],
)
def test_another_carry_than_the_one_given_is_an_error(carry, message):
    with pytest.raises(ValueError, match=message):
        found_in(lambda p, h, x, key: (carry(h), h))


@pytest.mark.parametrize("case", **by_name())
def test_where_forward_mode_does_not_reach(case):
    structure = found_in(
        lambda p, h, x, key: case.cell.step(p, h, x, key), h=case.carry, x=case.x, key=case.key
    )
    assert has_custom_vjp_or_control_flow(structure.inside) == case.reverse_only


def test_a_custom_vjp_is_found_within_control_flow_and_custom_jvps():
    spike = TABLE["custom_vjp"]

    @jax.custom_jvp
    def wrapped(h):
        return spike.step(draw_params(), h, XS[0])[0]

    wrapped.defjvp(lambda h, d: (wrapped(*h), d[0]))
    equations = jax.make_jaxpr(wrapped)(H).jaxpr.eqns
    assert has_custom_vjp_or_control_flow(equations)
