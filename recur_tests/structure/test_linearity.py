"""Steps that are linear in their carry, and those that are not."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import recur
from recur.structure import Parts, find_structure, linear_coefficients
from recur_tests.helpers import assert_close, random_like, weighted_sum
from recur_tests.structure.steps import HIDDEN, WIDE_XS, draw_params, inexact_sum

H = np.linspace(0.5, 2, HIDDEN)
INTEGERS = np.array([7, 2, 5, 1])


def next_carry(of, carry=H):
    """A step whose output is its next carry, and the carry to start from."""

    def step(p, h, x):
        h = of(p, h, x)
        return h, h

    return step, carry


def gated(p, h, x):
    z = jax.nn.sigmoid(x @ p["U"])
    h = (1 - z) * h + z * jnp.tanh(x)
    return h, jax.nn.relu(h) @ p["V"]


def two_parts(p, carry, x):
    c, n = carry
    z = jax.nn.sigmoid(x)
    c, n = z * c + x, z * n + 1
    return (c, n), c / n


ROTATED = H.astype(complex) * np.exp(1j)
LINEAR = {
    "a gated sum": (gated, H),
    "two parts": (two_parts, (H, H + 1)),
    "h + z (x - h)": next_carry(lambda p, h, x: h + jnp.sin(x) * (x - h)),
    "x - h": next_carry(lambda p, h, x: x - h),
    "negated and divided": next_carry(lambda p, h, x: -(h / (2 + p["b"])) - x),
    "selected by x": next_carry(lambda p, h, x: jnp.where(x > 0, h * 0.5 + x @ p["U"], h)),
    "selected, forgotten": next_carry(lambda p, h, x: jnp.where(x > 0, x, p["b"] * h)),
    "reshaped": next_carry(lambda p, h, x: (h.reshape(2, 2) * p["b"].reshape(2, 2)).reshape(4) + x),
    "squeezed": next_carry(lambda p, h, x: (jnp.squeeze(h) * p["b"] + x)[None], H[None]),
    "called": next_carry(lambda p, h, x: jax.jit(lambda h, x: h * p["b"] + x)(h, x)),
    "named": next_carry(lambda p, h, x: recur.name(h * p["b"], "a") + x),
    "independent of the carry": next_carry(lambda p, h, x: jnp.tanh(x @ p["U"])),
    "constant": (lambda p, h, x: (jnp.ones(HIDDEN), h), H),
    "complex": next_carry(
        lambda p, h, x: jnp.exp(jax.lax.complex(-(p["b"] ** 2), p["b"])) * h + x.astype(complex),
        ROTATED,
    ),
    "a count": next_carry(lambda p, n, x: n * 3 + 1, INTEGERS),
    "a count of inputs": next_carry(lambda p, n, x: n + (x > 0).astype(n.dtype), INTEGERS),
    "a flag": next_carry(lambda p, flag, x: jnp.where(x > 0, x > 0.5, flag), H > 1),
    "a number read by the output": (
        lambda p, n, x: (n + 1, (n.astype(x.dtype) ** 2) * x @ p["U"]),
        INTEGERS,
    ),
}
NOT_LINEAR = {
    "tanh": (next_carry(lambda p, h, x: jnp.tanh(h) + x), "tanh"),
    "h * h": (next_carry(lambda p, h, x: h * h * 0.1 + x), "mul"),
    "h ** 2": (next_carry(lambda p, h, x: h**2 * 0.1 + x), "integer_pow|square"),
    "x / h": (next_carry(lambda p, h, x: p["b"] / h + x), "div"),
    "h @ U": (next_carry(lambda p, h, x: h @ p["U"] + x), "dot_general"),
    "a sum over units": (next_carry(lambda p, h, x: h.sum() + x), "reduce_sum"),
    "turned around": (next_carry(lambda p, h, x: h[::-1] + x), "rev"),
    "transposed": (next_carry(lambda p, h, x: h.reshape(2, 2).T.reshape(4) + x), "transpose"),
    "one unit for all": (next_carry(lambda p, h, x: h[0] * p["b"] + x), "slice"),
    "a running sum": (next_carry(lambda p, h, x: jax.lax.cumsum(h) + x), "cumsum"),
    "selected by h": (next_carry(lambda p, h, x: jnp.where(h > 0, h, x)), "gt"),
    "the larger": (next_carry(lambda p, h, x: jnp.maximum(h, x)), "max"),
    "relu": (next_carry(lambda p, h, x: jax.nn.relu(h) + x), "custom_jvp_call"),
    "a branch": (
        next_carry(lambda p, h, x: jax.lax.cond(x[0] > 0, lambda h: 2 * h, lambda h: h, h)),
        "cond",
    ),
    "a stopped gradient": (
        next_carry(lambda p, h, x: jax.lax.stop_gradient(h) * 0.5 + x),
        "stop_gradient",
    ),
    "rounded": (
        next_carry(lambda p, h, x: h.astype(jnp.int32).astype(h.dtype) + x),
        "convert_element_type",
    ),
    "wrapped": (
        next_carry(lambda p, n, x: (100 * n).astype(jnp.int8).astype(n.dtype), INTEGERS),
        "convert_element_type",
    ),
    "half of an integer": (
        next_carry(lambda p, n, x: jax.lax.div(n, jnp.full_like(n, 2)) + 1, INTEGERS),
        "div",
    ),
    "conjugated": (next_carry(lambda p, h, x: jnp.conj(h) + x.astype(complex), ROTATED), "conj"),
    "the real part": (
        next_carry(lambda p, h, x: (h.real + x).astype(complex), ROTATED),
        "real",
    ),
    "two parts mixed": (
        (lambda p, s, x: ((s[0] + s[1], s[1] * 0.5 + x), s[0]), (H, H + 1)),
        "add' to it, which mixes parts of the carry",
    ),
    "flags turned": (next_carry(lambda p, flag, x: flag ^ (x > 0), H > 1), "xor"),
}


def cell_of(step, carry):
    return recur.cell(
        draw_params, lambda p, x: jax.tree.map(jnp.zeros_like, carry), lambda p, c, x: step(p, c, x)
    )


@pytest.mark.parametrize("step, carry", LINEAR.values(), ids=LINEAR.keys())
def test_linear_steps_run_in_parallel(step, carry):
    """With the values and the gradients of the loop, from a carry that is not zero."""
    flags = {"mask": np.array([True, True, False, True]), "reset": np.arange(4) == 2}

    def results(lift):
        layer = lift(cell_of(step, carry))

        def loss(params, xs):
            ends = layer.run(params, xs, carry=carry, **flags)
            return inexact_sum(ends), ends

        return jax.jit(jax.grad(loss, (0, 1), has_aux=True))(draw_params(), WIDE_XS)

    assert_close(results(recur.associative), results(recur.loop))


@pytest.mark.parametrize("given, primitive", NOT_LINEAR.values(), ids=NOT_LINEAR.keys())
def test_other_steps_are_refused_by_the_name_of_the_primitive(given, primitive):
    layer = recur.associative(cell_of(*given))
    message = rf"associative: expected a step that is linear in its carry.* '({primitive})"
    with pytest.raises(TypeError, match=message):
        jax.eval_shape(layer, draw_params(), WIDE_XS)


def test_parts_that_change_places_are_refused():
    layer = recur.associative(cell_of(lambda p, s, x: ((s[1], s[0] + x), x), (H, H)))
    with pytest.raises(TypeError, match="part by part, .* next part 0 depends on part 1"):
        jax.eval_shape(layer, draw_params(), WIDE_XS)


def test_the_remedy_is_named():
    layer = recur.associative(cell_of(*NOT_LINEAR["tanh"][0]))
    with pytest.raises(TypeError, match=r"recur.scan, recur.loop and \(in parallel\) recur.newton"):
        jax.eval_shape(layer, draw_params(), WIDE_XS)


def test_what_only_the_output_does_may_be_anything():
    def step(p, h, x):
        h = 0.5 * h + x
        return h, jnp.tanh(h @ p["U"]) / h.sum()

    assert_close(
        recur.associative(cell_of(step, H))(draw_params(), WIDE_XS),
        recur.loop(cell_of(step, H))(draw_params(), WIDE_XS),
    )


def test_coefficients_are_those_of_the_step():
    """The next carry is a c + b, for any carry c."""

    @jax.jit
    def both(p, carry, other):
        structure = find_structure(
            lambda p, c, x, key: two_parts(p, c, x), p, carry, WIDE_XS[0], None
        )
        parts = Parts(structure, p)
        a, b = linear_coefficients(parts, parts.prepare(WIDE_XS[0]).inside, "caller")
        found = [jax.tree.map(lambda a, c, b: a * c + b, a, [*c], b) for c in (carry, other)]
        return found, [[*two_parts(p, c, WIDE_XS[0])[0]] for c in (carry, other)]

    found, expected = both(draw_params(), (H, -H), random_like((H, H), 4))
    assert_close(found, expected, 1e-12)


def test_nan_in_the_carry_reaches_only_what_it_reaches_in_a_loop():
    """A select of the step itself is one of a and b."""

    def step(p, h, x):
        h = jnp.where(x > 0, x, h * 0.5 + x)
        return h, h

    xs, nan = jnp.ones((3, HIDDEN)).at[1:, 2].set(-1.0), jnp.full(HIDDEN, jnp.nan)
    found, expected = (
        lift(cell_of(step, H)).run(draw_params(), xs, carry=nan, reset=jnp.arange(3) == 0)
        for lift in (recur.associative, recur.loop)
    )
    assert_close(found, expected)
    assert jnp.isfinite(weighted_sum(expected))
