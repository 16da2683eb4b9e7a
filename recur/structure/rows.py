"""Bound params of a batch, with one copy of each array that does not depend on the row."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, NamedTuple

import jax
from jax.extend.core import Literal

from recur.masks import drop_leading_axis
from recur.structure.jaxprs import evaluate, trace, variables


class ByRow(NamedTuple):
    """A pytree for each row of a batch, as two trees: one shared, and one with a batch axis.

    Attributes:
      shared: the leaves that all rows share; None in place of the others.
      of_row: the leaves that differ by row, each `[B, ...]`; None in place of the others.
    """

    shared: Any
    of_row: Any

    def join(self) -> Any:
        """Returns the pytree of one row, under a `vmap` over the axes `ByRow(None, 0)`."""
        return jax.tree.map(
            lambda a, b: b if a is None else a, *self, is_leaf=lambda leaf: leaf is None
        )

    def first(self) -> Any:
        """Returns the pytree of the first row."""
        return ByRow(self.shared, jax.tree.map(lambda leaf: leaf[0], self.of_row)).join()


def bind_rows(bind_row: Callable[[Any, Any], Any], params: Any, of_rows: Any) -> ByRow:
    """Computes `bind_row(params, of_row)` for all rows; parts that rows share are computed once.

    Args:
      bind_row: a function of one row.
      params: the values that rows share.
      of_rows: the values that differ by row, each `[B, ...]`; may be empty.
    """
    if not jax.tree.leaves(of_rows):
        bound = bind_row(params, of_rows)
        return ByRow(bound, jax.tree.map(lambda _: None, bound))
    traced = trace(bind_row, params, drop_leading_axis(of_rows))
    on_row = set(traced.arguments[1])
    shared_equations, row_equations = [], []
    for equation in traced.jaxpr.eqns:
        if equation.effects or on_row & set(variables(equation.invars)):
            on_row.update(equation.outvars)
            row_equations.append(equation)
        else:
            shared_equations.append(equation)
    of_row = [var for var in variables(traced.outputs) if var in on_row]
    known = traced.values(params)
    read = evaluate(shared_equations, known)

    def bind_one(given):
        read = evaluate(row_equations, {**known, **traced.values(params, given)})
        return [read(var) for var in of_row]

    by_row: dict[Any, Any] = dict(zip(of_row, jax.vmap(bind_one)(of_rows), strict=True))
    flags = [not isinstance(atom, Literal) and atom in by_row for atom in traced.outputs]
    pairs = list(zip(traced.outputs, flags, strict=True))
    shared = [None if flag else read(atom) for atom, flag in pairs]
    rows = [by_row[atom] if flag else None for atom, flag in pairs]
    return ByRow(*(jax.tree.unflatten(traced.structure, leaves) for leaves in (shared, rows)))
