"""Inputs, products and constants that a loop only adds up.

Of `(u + b) + h @ U`, where u is an input of the loop, the loop reads nothing but the sum. Then a
change of b or of the product is the same as a change of u, and a gradient needs only that of u.
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
      place: the place of the input among all inputs.
      products: the results of the products in it.
      constants: the constants in it.
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
    """Finds the sums in a loop that have a product in them.

    Args:
      equations: of the loop.
      inputs: what varies over time.
      products: the results of products.
      constants: what does not vary.
      results: what is read of the loop; what is read twice is in no sum.
    """
    readers: dict[Var, list[JaxprEqn | None]] = collections.defaultdict(list)
    for equation in equations:
        for var in variables(equation.invars):
            readers[var].append(equation)
    for var in variables(results):
        readers[var].append(None)
    makers = {var: equation for equation in equations for var in equation.outvars}

    def terms(atom: Atom, reader: JaxprEqn) -> tuple[list[Var], list[Var]] | None:
        """Products and constants of which a term is the sum, if nothing else reads them."""
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
    """Follows an input through additions as long as nothing else reads the sum so far."""
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
