"""A report on the structure of a cell: which products run in the loop, and which outside."""

from __future__ import annotations

import collections
from collections.abc import Iterable, Sequence
from typing import Any, NamedTuple

import jax
from jax.extend.core import JaxprEqn

from recur.checks import check_cell, check_context
from recur.keys import check_key
from recur.structure.classes import Structure, find_structure
from recur.structure.jaxprs import aval_of
from recur.structure.linearity import linear_coefficients
from recur.structure.step_parts import Parts
from recur.types import Cell, Context


class StructureReport(NamedTuple):
    """A report on the structure of a cell; `print` shows it as a short table.

    Attributes:
      cell: str, the call that created the cell.
      before: the shapes of the products that run for all steps at once before the loop, a list of
        strings such as "[I] x [I, H]".
      inside: the shapes of the products in the loop; those with one factor are one product.
      after: the shapes of the products that run for all steps at once after the loop.
      equations: a dict with the number of equations that are "invariant", "before" the loop,
        "inside" and "after" it.
      varying: the number of products in the loop of two values that both change over time, which no
        lift or combinator treats as a product.
      linear: bool, whether the step is linear in its carry, so that `recur.associative` can run it.
      stored: the dtypes and shapes of the arrays that the loop stores at each step for the
        equations after it.
    """

    cell: str
    before: Sequence[str]
    inside: Sequence[str]
    after: Sequence[str]
    equations: dict[str, int]
    varying: int
    linear: bool
    stored: Sequence[str]

    def __str__(self) -> str:
        varying = [f"{self.varying} of two values that change"] if self.varying else []
        rows = [
            ("before the loop", self.before, [], self.equations["before"]),
            ("in the loop", self.inside, varying, self.equations["inside"]),
            ("after the loop", self.after, [], self.equations["after"]),
        ]
        lines = [self.cell]
        for where, products, others, count in rows:
            shown = ", ".join([*_counted(products), *others]) or "none"
            lines.append(f"  {where:16}{count:3} equations, products: {shown}")
        lines.append(f"  {'once':16}{self.equations['invariant']:3} equations")
        lines.append(f"  {'stored':16}{', '.join(_counted(self.stored)) or 'none'}")
        lines.append(f"  {'linear':16}{'yes' if self.linear else 'no'}")
        return "\n".join(lines)


def structure_of(
    cell: Cell, x: Any, *, context: Context = None, key: jax.Array | None = None
) -> StructureReport:
    """Reports the structure of a cell: which products run before, in and after the loop.

    Args:
      cell: any cell.
      x: an example of one step of one sequence, `[I]`, or its `jax.ShapeDtypeStruct`.
      context: named values that do not change over time.
      key: a typed key, to include the noise of the step.

    Returns:
      A `StructureReport`.

    Raises:
      TypeError: if `cell` is not a cell, context not a mapping, or key not a typed key.

    Example:
      >>> import jax.numpy as jnp, recur
      >>> print(recur.structure_of(recur.elman(4), jnp.ones(3)))
      elman(4)
        before the loop   1 equations, products: [3] x [3, 4]
        in the loop       4 equations, products: [4] x [4, 4]
        after the loop    0 equations, products: none
        once              0 equations
        stored          float32[4]
        linear          no
    """
    check_cell(cell, "structure_of")
    check_context(context)
    key = None if key is None else check_key(key)
    params = jax.eval_shape(
        lambda key, x, context: cell.init(key, x, context=context), jax.random.key(0), x, context
    )
    reports: list[StructureReport] = []

    def report(params, x, context, key):
        bound = cell.bind(params, x, key=key, context=context)
        carry = cell.init_carry(bound, x)
        found = find_structure(cell.step, bound, carry, x, key)
        parts = Parts(found, bound)
        inside = [[product for product in group.products] for group in parts.groups]
        reports.append(
            StructureReport(
                cell=repr(cell),
                before=_products(found, found.before),
                inside=[_shape_of(group) for group in inside],
                after=_products(found, found.after),
                equations={
                    name: len(getattr(found, name))
                    for name in ("invariant", "before", "inside", "after")
                },
                varying=_count_varying(found),
                linear=_is_linear(parts, x, key),
                stored=[_show(aval_of(var)) for var in parts.crossing],
            )
        )

    jax.eval_shape(report, params, x, context, key)
    return reports[0]


def _products(found: Structure, equations: Iterable[JaxprEqn]) -> list[str]:
    return [_shape_of([product]) for product in found.products_of(equations)]


def _count_varying(found: Structure) -> int:
    """Counts the products in the loop without a constant factor."""
    products = [e for e in found.inside if e.primitive.name == "dot_general"]
    return len(products) - len(found.products_of(found.inside))


def _shape_of(group: Sequence[Any]) -> str:
    factor, kernel = aval_of(group[0].factor), list(aval_of(group[0].kernel).shape)
    if len(group) > 1:
        kernel[-1] = sum(aval_of(product.kernel).shape[-1] for product in group)
    return f"{list(factor.shape)} x {kernel}"


def _is_linear(parts: Parts, x: Any, key: Any) -> bool:
    try:
        linear_coefficients(parts, parts.prepare(x, key).inside, "structure_of")
    except TypeError:
        return False
    return True


def _counted(shown: Sequence[str]) -> list[str]:
    """Returns each text once, with its count if it is there more than once."""
    return [k if n == 1 else f"{n} of {k}" for k, n in collections.Counter(shown).items()]


def _show(aval: Any) -> str:
    return f"{aval.dtype}{list(aval.shape)}"
