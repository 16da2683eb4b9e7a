"""Slices of wide pre-activations become slices of kernels."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from recur.structure.jaxprs import evaluate, trace, variables
from recur.structure.narrow import narrow
from recur_tests.helpers import assert_close
from recur_tests.structure.steps import HIDDEN, XS, draw_params

H = np.linspace(-1, 1, HIDDEN)
X = XS[0]


def gates(m):
    i, f, g, o = jnp.split(m, 4)
    return jax.nn.sigmoid(i) * g + jnp.tanh(f) * o


def slices(m):
    return [m[n * HIDDEN : (n + 1) * HIDDEN] for n in range(4)]


def windows(m):
    return [m[n : n + 9].sum() for n in range(3)]


def narrowed(function):
    """The widths of the products that results need, before and after; the values are the same."""
    arguments = (draw_params(), H, X)
    traced = trace(function, *arguments)
    found = narrow(traced, *arguments)

    def run(traced):
        read = evaluate(traced.jaxpr.eqns, traced.values(*arguments))
        return [read(atom) for atom in traced.outputs]

    assert_close(run(found), run(traced), 1e-12)
    return widths(traced), widths(found)


def widths(traced):
    needed, found = set(variables(traced.outputs)), []
    for equation in reversed(traced.jaxpr.eqns):
        if needed & set(equation.outvars):
            needed.update(variables(equation.invars))
            if equation.primitive.name == "dot_general":
                found.append(equation.outvars[0].aval.shape[-1])
    return sorted(found)


EIGHT = ([16, 16], [4] * 8)
NARROWED = {
    "split": (lambda p, h, x: gates(x @ p["W4"] + h @ p["U4"] + p["b4"]), EIGHT),
    "slices": (lambda p, h, x: sum(map(jnp.sin, slices(x @ p["W4"] + h @ p["U4"]))), EIGHT),
    "of a part": (
        lambda p, h, x: jnp.sin((x @ p["W4"] + h @ p["U4"])[4:8]),
        ([16, 16], [4, 4]),
    ),
    "split twice": (
        lambda p, h, x: sum(map(jnp.sin, jnp.split((x @ p["W4"] + h @ p["U4"])[:8], 2))),
        ([16, 16], [4] * 4),
    ),
    "of one product": (lambda p, h, x: gates(h @ p["U4"]), ([16], [4] * 4)),
    "from the left": (
        lambda p, h, x: gates(p["W4"].T @ x + jnp.asarray(p["U4"].T) @ h),
        EIGHT,
    ),
    "scaled and cast": (
        lambda p, h, x: gates(((2.0 * (x @ p["W4"]) - h @ p["U4"]) * p["b4"]).astype("float32")),
        EIGHT,
    ),
    "the other sum has no product": (
        lambda p, h, x: gates(jnp.tanh(p["b4"]) + h @ p["U4"]),
        ([16], [4] * 4),
    ),
    "of unequal widths": (
        lambda p, h, x: sum(part.sum() for part in jnp.split(h @ p["U4"], [1, 7])),
        ([16], [1, 6, 9]),
    ),
}


@pytest.mark.parametrize("function, expected", NARROWED.values(), ids=NARROWED.keys())
def test_slices_move_to_the_products(function, expected):
    assert narrowed(function) == expected


KEPT = {
    "read whole": lambda p, h, x: gates(m := h @ p["U4"]) + m.sum(),
    "an output": lambda p, h, x: (gates(m := h @ p["U4"]), m),
    "through a norm": lambda p, h, x: gates((m := h @ p["U4"]) / jnp.abs(m).max()),
    "no product": lambda p, h, x: gates(p["b4"] * 2),
    "a product of matrices": lambda p, h, x: sum(jnp.split(p["W"] @ p["U4"], 3, axis=0)),
    "strided": lambda p, h, x: (h @ p["U4"])[::2],
    "entries taken twice": lambda p, h, x: windows(h @ p["U4"]),
    "many": lambda p, h, x: jnp.split(h @ jnp.concatenate([p["U4"], p["U4"]], 1), 32),
}


@pytest.mark.parametrize("function", KEPT.values(), ids=KEPT.keys())
def test_other_slices_stay(function):
    before, after = narrowed(function)
    assert before == after


def test_nothing_to_narrow_leaves_the_trace_alone():
    traced = trace(lambda p, h, x: h @ p["U"], draw_params(), H, X)
    assert narrow(traced, draw_params(), H, X) is traced


def test_products_keep_their_scope():
    def function(p, h, x):
        with jax.named_scope("project"):
            m = h @ p["U4"]
        return gates(m)

    arguments = (draw_params(), H, X)
    traced = narrow(trace(function, *arguments), *arguments)
    products = [e for e in traced.jaxpr.eqns if e.primitive.name == "dot_general"]
    scopes = [str(product.source_info.name_stack) for product in products]
    assert len(scopes) == 5 and {scope.split("/")[-1] for scope in scopes} == {"project"}
