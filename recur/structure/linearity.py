"""Linearity of a step in its carry: finds a and b of `carry_t = a_t ⊙ carry_{t-1} + b_t`.

Each value of the loop is either independent of the carry, or a ⊙ c + b for one part c of the carry,
elementwise. The equations of the loop are evaluated on such pairs (a, b). Any equation that does
not keep this form raises an error.
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

# Primitives f that map a ⊙ c + b to f(a) ⊙ f(c) + f(b), elementwise and in the same order.
_MAPS = frozenset(
    """broadcast_in_dim convert_element_type copy copy_p expand_dims name neg optimization_barrier
    pcast pvary reduce_precision reshape squeeze""".split()
)


class Affine(NamedTuple):
    """A value a ⊙ c + b, where c is one part of the carry.

    Attributes:
      a: the factor, an array of the shape of the value.
      b: the summand, an array of the shape of the value.
      part: int, the index of c among the leaves of the carry.
    """

    a: jax.Array
    b: jax.Array
    part: int


def linear_coefficients(parts: Parts, inside: Sequence[Any], caller: str) -> tuple[Any, Any]:
    """Finds the coefficients a and b of one step that is linear in its carry.

    Args:
      parts: the parts of the step.
      inside: the values that `parts.prepare` computed for the loop.
      caller: the lift, for errors.

    Returns:
      Two lists with the a and the b of each leaf of the carry.

    Raises:
      TypeError: if the step is not linear in its carry; the message names the primitive.
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
            values[equation.outvars[0]] = _apply(equation, inputs, caller)
        else:
            evaluate([equation], values)
    pairs = [
        _as_affine(read(atom), part, aval_of(var), caller)
        for part, (atom, var) in enumerate(zip(found.next_carry, found.carry, strict=True))
    ]
    return [pair.a for pair in pairs], [pair.b for pair in pairs]


def _apply(equation: JaxprEqn, inputs: list[Any], caller: str) -> Affine:
    """Evaluates an equation on pairs (a, b)."""
    name = equation.primitive.name
    [part, *others] = {value.part for value in inputs if isinstance(value, Affine)}
    is_affine = [isinstance(value, Affine) for value in inputs]
    a, b = ([_side(value, side) for value in inputs] for side in ("a", "b"))

    def run(*given: Any) -> jax.Array:
        return equation.primitive.bind(*vary_over(given, given), **equation.params)

    if others:
        _refuse(equation, caller, "which mixes parts of the carry")
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
    return _refuse(equation, caller, "as both factors" if name == "mul" else "")


def _side(value: Any, side: str) -> Any:
    """Returns the a or the b of a value; a constant is 0 ⊙ c + b."""
    if isinstance(value, Affine):
        return getattr(value, side)
    return jnp.zeros_like(value) if side == "a" else value


def _keeps_size(equation: JaxprEqn) -> bool:
    return aval_of(equation.invars[0]).size == aval_of(equation.outvars[0]).size


def _is_inexact(equation: JaxprEqn) -> bool:
    """Whether the result is real or complex; integer division rounds."""
    return jnp.issubdtype(aval_of(equation.outvars[0]).dtype, jnp.inexact)


def _keeps_numbers(equation: JaxprEqn) -> bool:
    """Whether a cast keeps values inexact, and does not drop an imaginary part."""
    before, after = aval_of(equation.invars[0]).dtype, aval_of(equation.outvars[0]).dtype
    return jnp.issubdtype(after, jnp.inexact) and (
        jnp.issubdtype(before, jnp.complexfloating) <= jnp.issubdtype(after, jnp.complexfloating)
    )


def _as_affine(value: Any, part: int, aval: Any, caller: str) -> Affine:
    if not isinstance(value, Affine):
        b = jnp.broadcast_to(jnp.asarray(value, aval.dtype), aval.shape)
        return Affine(jnp.zeros_like(b), b, part)
    if value.part != part:
        raise TypeError(
            f"{caller}: expected a step that is linear in its carry, part by part, got one whose "
            f"next part {part} depends on part {value.part}. {_REMEDY}"
        )
    return value


_REMEDY = "recur.scan, recur.loop and (in parallel) recur.newton run any cell."


def _refuse(equation: JaxprEqn, caller: str, why: str) -> Any:
    inner = equation.params.get("name")
    called = f" ({inner})" if isinstance(inner, str) else ""
    raise TypeError(
        f"{caller}: expected a step that is linear in its carry, elementwise, got one that applies "
        f"the primitive {equation.primitive.name!r}{called} to it{why and ', '}{why}. {_REMEDY}"
    )
