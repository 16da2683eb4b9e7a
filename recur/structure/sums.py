"""Inputs, products and constants that a loop reads only as a sum.

In `(u + b) + h @ U`, where u is an input of the loop, the loop may read only the sum. Then the
gradients of b and of the product are that of u, so only that of u is computed in the loop.
"""

from __future__ import annotations

import collections
from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

from jax.extend.core import JaxprEqn, Literal, Var

from recur.structure.jaxprs import Atom, aval_of, variables


class Sum(NamedTuple):
    """A sum of one input of the loop with products and constants, of one shape and dtype.

    Attributes:
      place: the index of the input among all inputs.
      products: the results of the products in the sum.
      constants: the constants in the sum.
      equation: the last addition.
    """

    place: int
    products: list[Var]
    constants: list[Var]
    equation: JaxprEqn


def find_sums(
    equations: Sequence[JaxprEqn],
    inputs: Sequence[Var],
    products: set[Var],
    constants: set[Var],
    results: Sequence[Atom],
) -> list[Sum]:
    """Finds the sums in a loop that contain a product.

    Args:
      equations: the equations of the loop.
      inputs: the variables that vary over time.
      products: the results of products.
      constants: the variables that do not vary over time.
      results: the results of the loop. A value that is read twice is not a term of a sum.
    """
    readers: dict[Var, list[JaxprEqn | None]] = collections.defaultdict(list)
    for equation in equations:
        for var in variables(equation.invars):
            readers[var].append(equation)
    for var in variables(results):
        readers[var].append(None)
    makers = {var: equation for equation in equations for var in equation.outvars}

    def terms(atom: Atom, reader: JaxprEqn) -> tuple[list[Var], list[Var]] | None:
        """Returns the products and constants of a term, or None if something else reads them."""
        if isinstance(atom, Literal) or readers[atom] != [reader]:
            return None
        if atom in products:
            return [atom], []
        if atom in constants:
            return [], [atom]
        maker = makers.get(atom)
        if maker is None or not _is_addition(maker):
            return None
        found = [terms(each, maker) for each in maker.invars]
        if None in found:
            return None
        return sum((f[0] for f in found if f), []), sum((f[1] for f in found if f), [])

    return [
        found
        for place, var in enumerate(inputs)
        if (found := _sum_from(place, var, readers, terms)).products
    ]


def _sum_from(place: int, var: Var, readers: Mapping[Var, list], terms: Any) -> Sum:
    """Follows an input through additions while nothing else reads the partial sum."""
    found = Sum(place, [], [], None)  # type: ignore[arg-type]
    while len(readers[var]) == 1 and (reader := readers[var][0]) is not None:
        if not _is_addition(reader):
            break
        [other] = [atom for atom in reader.invars if atom is not var] or [var]
        more = terms(other, reader)
        if more is None:
            break
        found = Sum(place, found.products + more[0], found.constants + more[1], reader)
        [var] = reader.outvars
    return found


def _is_addition(equation: JaxprEqn) -> bool:
    avals = [aval_of(atom) for atom in (*equation.invars, *equation.outvars)]
    same = len({(aval.shape, str(aval.dtype)) for aval in avals}) == 1
    return same and equation.primitive.name in ("add", "add_any")
