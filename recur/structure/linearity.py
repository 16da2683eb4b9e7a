"""Linearity in the carry, found in a step: the a and b of `carry_t = a_t ⊙ carry_{t-1} + b_t`.

Each value of the loop is either the same whatever the carry, or a ⊙ c + b for one part c of the
carry, elementwise. The equations of the loop are run on such pairs (a, b), and what does not keep
to the form is refused.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
from jax.extend.core import JaxprEqn, Literal

from recur.manual_axes import vary_over
from recur.structure.jaxprs import Atom, aval_of, evaluate, variables
from recur.structure.step_parts import Parts

# What maps a ⊙ c + b to f(a) ⊙ f(c) + f(b), element by element, and in their order.
_MAPS = frozenset(
    """broadcast_in_dim convert_element_type copy copy_p expand_dims name neg optimization_barrier
    pcast pvary reduce_precision reshape squeeze""".split()
)


class Affine(NamedTuple):
    """The value a ⊙ c + b, where c is one part of the carry."""

    a: jax.Array
    b: jax.Array
    part: int


def linear_coefficients(parts: Parts, inside: Sequence[Any], asker: str) -> tuple[Any, Any]:
    """Finds a and b of one step, each with the leaves of the carry.

    Args:
      parts: of the step.
      inside: what `parts.prepare` gave for the loop.
      asker: the lift, for errors.

    Raises:
      TypeError: if the step is not linear in its carry, with the name of the primitive.
    """
    found = parts.found
    values: dict[Any, Any] = dict(parts.known_inside(inside))
    for part, var in enumerate(found.carry):
        one, zero = (make(aval_of(var).shape, aval_of(var).dtype) for make in (jnp.ones, jnp.zeros))
        values[var] = Affine(one, zero, part)

    def read(atom: Atom) -> Any:
        return atom.val if isinstance(atom, Literal) else values[atom]

    needed = set(variables(found.next_carry))
    for equation in reversed(found.inside):
        if needed & set(equation.outvars):
            needed.update(variables(equation.invars))
    for equation in found.inside:
        if not needed & set(equation.outvars):
            continue
        inputs = [read(atom) for atom in equation.invars]
        if any(isinstance(value, Affine) for value in inputs):
            values[equation.outvars[0]] = _apply(equation, inputs, asker)
        else:
            evaluate([equation], values)
    pairs = [
        _as_affine(read(atom), part, aval_of(var), asker)
        for part, (atom, var) in enumerate(zip(found.next_carry, found.carry, strict=True))
    ]
    return [pair.a for pair in pairs], [pair.b for pair in pairs]


def _apply(equation: JaxprEqn, inputs: list[Any], asker: str) -> Affine:
    """The equation on pairs."""
    name = equation.primitive.name
    [part, *others] = {value.part for value in inputs if isinstance(value, Affine)}
    is_affine = [isinstance(value, Affine) for value in inputs]
    a, b = ([_side(value, side) for value in inputs] for side in ("a", "b"))

    def run(*given: Any) -> jax.Array:
        return equation.primitive.bind(*vary_over(given, given), **equation.params)

    if others:
        _refuse(equation, asker, "which mixes parts of the carry")
    if name in ("add", "add_any", "sub"):
        return Affine(run(*a), run(*b), part)
    if name == "mul" and not all(is_affine):
        constant = inputs[is_affine.index(False)]
        linear = inputs[is_affine.index(True)]
        return Affine(linear.a * constant, linear.b * constant, part)
    if name == "div" and is_affine == [True, False] and _is_inexact(equation):
        return Affine(run(inputs[0].a, inputs[1]), run(inputs[0].b, inputs[1]), part)
    if name == "select_n" and not is_affine[0]:
        return Affine(run(inputs[0], *a[1:]), run(inputs[0], *b[1:]), part)
    if name in _MAPS and _keeps_size(equation) and _keeps_numbers(equation):
        return Affine(run(*a), run(*b), part)
    return _refuse(equation, asker, "")


def _side(value: Any, side: str) -> Any:
    """The a or the b of a value; a constant is 0 ⊙ c + b."""
    if isinstance(value, Affine):
        return getattr(value, side)
    return jnp.zeros_like(value) if side == "a" else value


def _keeps_size(equation: JaxprEqn) -> bool:
    return aval_of(equation.invars[0]).size == aval_of(equation.outvars[0]).size


def _is_inexact(equation: JaxprEqn) -> bool:
    """Whether numbers are real or complex: a division of integers rounds."""
    return jnp.issubdtype(aval_of(equation.outvars[0]).dtype, jnp.inexact)


def _keeps_numbers(equation: JaxprEqn) -> bool:
    """Whether a cast is one among real or among complex numbers."""
    before, after = aval_of(equation.invars[0]).dtype, aval_of(equation.outvars[0]).dtype
    return jnp.issubdtype(after, jnp.inexact) and (
        jnp.issubdtype(before, jnp.complexfloating) <= jnp.issubdtype(after, jnp.complexfloating)
    )


def _as_affine(value: Any, part: int, aval: Any, asker: str) -> Affine:
    if not isinstance(value, Affine):
        b = jnp.broadcast_to(jnp.asarray(value, aval.dtype), aval.shape)
        return Affine(jnp.zeros_like(b), b, part)
    if value.part != part:
        raise TypeError(
            f"{asker}: expected a step that is linear in its carry, part by part; the next part "
            f"{part} is made from part {value.part}. {_REMEDY}"
        )
    return value


_REMEDY = "recur.scan, recur.loop and, in parallel, recur.newton run any cell."


def _refuse(equation: JaxprEqn, asker: str, why: str) -> Any:
    inner = equation.params.get("name")
    called = f" ({inner})" if isinstance(inner, str) else ""
    raise TypeError(
        f"{asker}: expected a step that is linear in its carry, elementwise, and the carry passes "
        f"through the primitive {equation.primitive.name!r}{called}{why and ', '}{why}. {_REMEDY}"
    )
