"""Whether a function is elementwise, read off its jaxpr.

What makes the sequential loop of a `GatedCell` fast is that its gates touch each unit alone: their
Jacobian is diagonal, one number a unit, found by one tangent. A product or a reduction hidden there
would give silently wrong gradients, so the cell is refused instead.
"""

from __future__ import annotations

import collections
from typing import Any

import jax
from jax.extend.core import Jaxpr, Literal

from recur.types import Bound, Carry, GatedCell

# By name, for jax adds and renames primitives: an unknown one is refused, with its name, until it
# is known to be elementwise.
ELEMENTWISE = frozenset(
    """
    abs acos acosh add and asin asinh atan atan2 atanh cbrt ceil clamp conj convert_element_type
    copy copy_p cos cosh digamma div eq erf erf_inv erfc exp exp2 expm1 floor ge gt imag integer_pow
    is_finite lgamma log log1p logistic lt le max min mul ne neg nextafter not optimization_barrier
    or pcast pow pvary real reduce_precision rem round rsqrt select_n sign sin sinh sqrt square sub
    tan tanh xor
    """.split()
)


def jaxpr_of_gates(cell: GatedCell, bound: Bound, carry: Carry, u: Any) -> Jaxpr:
    """The gates as a function of carry, u and m; with `bound` they may do what they like."""
    m = jax.eval_shape(cell.products, bound, carry)
    return jax.make_jaxpr(lambda *given: cell.gates(bound, *given))(carry, u, m).jaxpr


def check_elementwise(jaxpr: Jaxpr) -> None:
    """Raises a TypeError unless the gates are elementwise in carry, u and m."""
    _walk(jaxpr, [True] * len(jaxpr.invars))


def only_added(jaxpr: Jaxpr, carry: Carry, u: Any) -> list[int | None]:
    """For each m of the gates, the u that it is added to, if nothing else is done with either.

    Args:
      jaxpr: of the gates.
      carry: a carry.
      u: what `project` gives for one step, or its shape.

    Returns:
      One number of a leaf of u, or None, for each leaf of m.
    """
    begin, count = len(jax.tree.leaves(carry)), len(jax.tree.leaves(u))
    us, ms = jaxpr.invars[begin : begin + count], jaxpr.invars[begin + count :]
    read = [*(atom for equation in jaxpr.eqns for atom in equation.invars), *jaxpr.outvars]
    uses = collections.Counter(atom for atom in read if not isinstance(atom, Literal))
    added: dict[Any, Any] = {}
    for equation in jaxpr.eqns:
        if equation.primitive.name == "add" and not any(
            isinstance(atom, Literal) or uses[atom] > 1 for atom in equation.invars
        ):
            a, b = equation.invars
            added |= {a: b, b: a}
    return [us.index(added[m]) if added.get(m) in us else None for m in ms]


def _walk(jaxpr: Jaxpr, depends: list[bool]) -> list[bool]:
    """Follows what depends on the arguments through a jaxpr; tells which outputs do."""
    marked = {var for var, mark in zip(jaxpr.invars, depends, strict=True) if mark}

    def is_marked(atom):
        return not isinstance(atom, Literal) and atom in marked

    for equation in jaxpr.eqns:
        marks = [is_marked(atom) for atom in equation.invars]
        if not any(marks):
            continue
        inner = _inner(equation)
        if inner is not None:
            outputs = _walk(inner, marks)
        else:
            _check(equation, marks)
            outputs = [True] * len(equation.outvars)
        marked.update(v for v, mark in zip(equation.outvars, outputs, strict=True) if mark)
    return [is_marked(atom) for atom in jaxpr.outvars]


def _inner(equation: Any) -> Jaxpr | None:
    """The jaxpr that a call of a function (jit, custom_jvp, checkpoint) runs once, if it is one."""
    for name in ("jaxpr", "call_jaxpr", "fun_jaxpr"):
        inner = equation.params.get(name)
        if inner is not None and equation.primitive.name not in ("scan", "while"):
            return getattr(inner, "jaxpr", inner)
    return None


def _check(equation: Any, marks: list[bool]) -> None:
    shapes = {v.aval.shape for v, mark in zip(equation.invars, marks, strict=True) if mark}
    shapes |= {v.aval.shape for v in equation.outvars}
    if equation.primitive.name not in ELEMENTWISE or len(shapes) > 1:
        raise TypeError(
            "gates of a GatedCell must be elementwise in carry, u and m, and here is the primitive "
            f"{equation.primitive.name!r} with shapes {sorted(shapes)}. A product belongs in "
            "kernels, what the input contributes in project, what is made of the output in read; a "
            "reduction makes it a plain Cell: recur.types.Cell(cell.init, cell.bind, cell.start, "
            "cell.step)."
        )
