"""Functions as jaxprs of JAX's own primitives, which converters to other formats know."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import jax
import jax.numpy as jnp
from jax.extend.core import ClosedJaxpr, JaxprEqn, Literal

from recur.structure.jaxprs import called_by, scan_counts


def to_plain(traced: ClosedJaxpr, *shapes: Any) -> ClosedJaxpr:
    """Rewrites the jaxpr of a function as one for inference, with primitives of JAX only.

    Calls and functions with custom derivatives are inlined, names of values are left out, products
    and convolutions of `recur` become those of JAX, and loops that read backward read the flipped
    steps.
    """
    return jax.make_jaxpr(lambda *arrays: _evaluate(traced, arrays))(*shapes)


def _evaluate(closed: ClosedJaxpr, arrays: Sequence[Any]) -> list[Any]:
    jaxpr = closed.jaxpr
    values = dict(zip(jaxpr.constvars, closed.consts, strict=True))
    values.update(zip(jaxpr.invars, arrays, strict=True))

    def read(atom):
        return atom.val if isinstance(atom, Literal) else values[atom]

    for equation in jaxpr.eqns:
        outputs = _run(equation, [*map(read, equation.invars)])
        values.update(zip(equation.outvars, outputs, strict=True))
    return [*map(read, jaxpr.outvars)]


def _run(equation: JaxprEqn, arrays: list[Any]) -> Sequence[Any]:
    primitive, params = equation.primitive, equation.params
    if primitive.name == "name":
        return arrays
    if primitive.name == "scan":
        return _scan(arrays, **params)
    if primitive.name == "while":
        return _while(arrays, **params)
    if primitive.name == "cond":
        branches = [lambda *given, b=branch: _evaluate(b, given) for branch in params["branches"]]
        return jax.lax.switch(arrays[0], branches, *arrays[1:])
    called = called_by(equation)
    if called:
        return _evaluate(ClosedJaxpr(*called), arrays)
    is_own = getattr(primitive.impl, "__module__", "").startswith("recur.")
    result = (primitive.impl if is_own else primitive.bind)(*arrays, **params)
    return result if primitive.multiple_results else [result]


def _scan(arrays: list[Any], *, jaxpr: Any, reverse: bool, length: Any, **params: Any) -> list[Any]:
    first, count = scan_counts(params)
    constants, carry, xs = arrays[:first], arrays[first : first + count], arrays[first + count :]

    def turned(steps):
        return [jnp.flip(leaf, 0) for leaf in steps] if reverse else steps

    def body(carry, x):
        outputs = _evaluate(jaxpr, [*constants, *carry, *x])
        return outputs[:count], outputs[count:]

    carry, ys = jax.lax.scan(body, carry, turned(xs), None if xs else length)
    return [*carry, *turned(ys)]


def _while(arrays: list[Any], *, cond_jaxpr: Any, body_jaxpr: Any, **params: Any) -> list[Any]:
    first = params["cond_nconsts"]
    second = first + params["body_nconsts"]
    return jax.lax.while_loop(
        lambda carry: _evaluate(cond_jaxpr, [*arrays[:first], *carry])[0],
        lambda carry: _evaluate(body_jaxpr, [*arrays[first:second], *carry]),
        arrays[second:],
    )
