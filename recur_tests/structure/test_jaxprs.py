import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jax.extend import source_info_util

from recur.structure.jaxprs import (
    contains,
    evaluate,
    is_callback,
    is_control_flow,
    made_by,
    read_by,
    trace,
)
from recur_tests.helpers import assert_close, inner_jaxprs

X = np.linspace(-1, 1, 4)


def names(traced):
    return [equation.primitive.name for equation in traced.jaxpr.eqns]


def run(traced, *arguments, rules=None):
    read = evaluate(traced.jaxpr.eqns, traced.values(*arguments), rules)
    return jax.tree.unflatten(traced.structure, [read(atom) for atom in traced.outputs])


def test_calls_are_inlined_however_deep_they_are():
    @jax.jit
    def inner(x):
        return jnp.sin(x)

    @jax.checkpoint
    def outer(x):
        return jnp.cos(jax.jit(inner)(x)) * 2

    traced = trace(lambda x: outer(x) + jnp.tanh(x), X)
    assert names(traced) == ["sin", "cos", "mul", "tanh", "add"]
    assert_close(run(traced, X), jnp.cos(jnp.sin(X)) * 2 + jnp.tanh(X))


def test_functions_with_derivatives_of_their_own_and_control_flow_stay_whole():
    @jax.custom_jvp
    def with_jvp(x):
        return jnp.sin(x)

    with_jvp.defjvp(lambda x, d: (with_jvp(*x), 2 * d[0]))

    @jax.custom_vjp
    def with_vjp(x):
        return jnp.cos(x)

    with_vjp.defvjp(lambda x: (with_vjp(x), None), lambda _, g: (3 * g,))

    def function(x):
        x = jax.jit(with_vjp)(jax.jit(with_jvp)(x))
        x = jax.lax.cond(x[0] > 0, jnp.sin, jnp.cos, x)
        x, _ = jax.lax.scan(lambda c, _: (jnp.sin(c), None), x, None, length=2)
        return jax.lax.while_loop(lambda x: x[0] > 10, jnp.sin, x)

    traced = trace(function, X)
    found = names(traced)
    assert found[0].startswith("custom_jvp_call") and found[1].startswith("custom_vjp_call")
    assert {"cond", "scan", "while"} <= set(found)
    assert not {"jit", "pjit", "closed_call"} & set(found)
    assert sum(map(is_control_flow, traced.jaxpr.eqns)) == 3
    assert_close(run(traced, X), function(X))

    def gradient(of):
        return jax.jit(jax.grad(lambda x: of(with_vjp(with_jvp(x))).sum()))(X)

    assert_close(gradient(lambda x: run(trace(jnp.sin, x), x)), gradient(jnp.sin))


def test_arguments_and_results_are_pytrees():
    def function(first, second):
        return {"sum": first["a"] + second[1], "same": first["a"], "number": 2.0, "none": None}

    given = {"a": X, "b": None}, (X[0], X * 3)
    traced = trace(function, *given)
    assert [len(variables) for variables in traced.arguments] == [1, 2]
    assert jax.tree.structure(run(traced, *given)) == jax.tree.structure(function(*given))
    assert_close(run(traced, *given)["sum"], X + X * 3)
    assert run(traced, *given)["number"] == 2.0


def test_shapes_are_traced_as_arrays_are():
    traced = trace(jnp.sin, jax.ShapeDtypeStruct((4,), X.dtype))
    assert_close(run(traced, X), jnp.sin(X))


def test_constants_are_values_that_the_function_closes_over():
    """They may be tracers, so a trace is valid for one transformation only."""
    seen = []

    @jax.jit
    def function(weight):
        traced = trace(lambda x: jnp.sin(x) * weight, X)
        seen.extend(traced.constants)
        return run(traced, X)

    assert_close(function(3.0 * np.ones(4)), jnp.sin(X) * 3)
    assert any(isinstance(constant, jax.core.Tracer) for constant in seen)


def test_equations_keep_their_parameters():
    def function(x):
        matrix = x[:, None] * x[None].astype(jnp.float32).astype(x.dtype)
        return jnp.dot(
            matrix.astype(jnp.bfloat16),
            matrix.astype(jnp.bfloat16),
            precision="highest",
            preferred_element_type=jnp.float32,
        )

    traced = trace(function, X)
    again = jax.make_jaxpr(lambda x: run(traced, x))(X).jaxpr
    [product], [expected] = (
        [e for e in jaxpr.eqns if e.primitive.name == "dot_general"]
        for jaxpr in (again, jax.make_jaxpr(function)(X).jaxpr)
    )
    assert product.params == expected.params
    assert product.params["preferred_element_type"] == jnp.float32


def test_equations_keep_their_scope_and_their_line():
    """Also within inlined calls; operations of a rule have those of its equation, once."""

    def function(x):
        with jax.named_scope("outer"):
            x = jax.jit(lambda x: jnp.sin(jax.named_call(jnp.cos, name="inner")(x)))(x)
        return jnp.tanh(x)

    traced = trace(function, X)
    by_name = {e.primitive.name: e for e in traced.jaxpr.eqns}

    def rule(read):
        [result] = evaluate([by_name["sin"]], {by_name["cos"].outvars[0]: read(cosine)})(
            by_name["sin"].outvars[0]
        )[None]
        return [jnp.exp(result)]

    cosine = by_name["sin"].invars[0]
    rules = {by_name["sin"].outvars[0]: rule}
    again = jax.make_jaxpr(lambda x: run(traced, x, rules=rules))(X).jaxpr
    scopes = {e.primitive.name: str(e.source_info.name_stack) for e in again.eqns}
    assert scopes["sin"] == scopes["exp"] == "outer"
    assert scopes["cos"].startswith("outer/") and scopes["cos"].endswith("inner")
    assert scopes["tanh"] == ""
    lines = {e.primitive.name: source_info_util.summarize(e.source_info) for e in again.eqns}
    assert lines["tanh"] == source_info_util.summarize(by_name["tanh"].source_info)
    assert "test_jaxprs.py" in lines["tanh"] and lines["exp"] == lines["sin"]


def test_rules_run_in_place_of_equations():
    traced = trace(lambda x: jnp.sin(jnp.cos(x)) + 1, X)
    cosine = traced.jaxpr.eqns[0]
    rules = {cosine.outvars[0]: lambda read: [read(cosine.invars[0]) * 10]}
    assert_close(run(traced, X, rules=rules), jnp.sin(X * 10) + 1)


def test_what_equations_read_and_write():
    traced = trace(lambda x, y: jnp.sin(x * 2) + y, X, X)
    [of_x], [of_y] = traced.arguments
    assert {of_x, of_y} <= read_by(traced.jaxpr.eqns)
    assert traced.outputs[0] in made_by(traced.jaxpr.eqns)


@pytest.mark.parametrize("wrap", ["none", "jit", "cond", "scan", "custom_jvp"])
def test_equations_are_found_within_equations(wrap):
    def inner(x):
        return jnp.arctan(x)

    custom = jax.custom_jvp(inner)
    custom.defjvp(lambda x, d: (custom(*x), d[0]))
    wraps = {
        "none": inner,
        "jit": jax.jit(inner),
        "cond": lambda x: jax.lax.cond(x[0] > 0, inner, jnp.sin, x),
        "scan": lambda x: jax.lax.scan(lambda c, _: (inner(c), None), x, None, length=1)[0],
        "custom_jvp": custom,
    }
    equations = jax.make_jaxpr(wraps[wrap])(X).jaxpr.eqns
    assert contains(equations, lambda e: e.primitive.name == "atan")
    assert not contains(equations, lambda e: e.primitive.name == "asin")


def test_callbacks_are_found():
    def has_callback(function):
        return contains(jax.make_jaxpr(function)(X).jaxpr.eqns, is_callback)

    def pure(x):
        return jax.pure_callback(np.sin, jax.ShapeDtypeStruct(x.shape, x.dtype), x)

    def printing(x):
        jax.debug.print("{}", x)
        return x

    assert has_callback(pure) and has_callback(printing)
    assert has_callback(lambda x: jax.lax.cond(x[0] > 0, printing, jnp.sin, x))
    assert not has_callback(jnp.sin)


def test_effects_are_kept_by_a_trace():
    seen = []

    def function(x):
        jax.debug.callback(lambda v: seen.append(float(v)), x[0])
        return x * 2

    traced = trace(jax.jit(function), X)
    assert not seen
    run(traced, X)
    jax.effects_barrier()
    assert seen == [X[0]]
    assert not inner_jaxprs(traced.jaxpr.eqns[-1])
