"""Wide pre-activations, split into one array for each gate.

A cell may compute all its gates in one array and then split it:

    i, f, g, o = split(x @ W + h @ U + b)

In a loop, elementwise functions of such slices prevent vectorization in XLA's CPU backend. So
slices are moved up through sums to the products, where they become slices of the kernels, which are
the same at all steps: `split(h @ U)` becomes `h @ U_i, h @ U_f, ...`. The values are the same.
"""

from __future__ import annotations

import collections
from collections.abc import Callable, Sequence
from functools import partial
from typing import Any

import jax
from jax.extend.core import JaxprEqn, Var

from recur.structure.jaxprs import (
    Atom,
    Rule,
    Traced,
    aval_of,
    source_of,
    trace,
    variables,
)

_MOST_GATES = 16
_ELEMENTWISE = frozenset({"add", "sub", "mul", "convert_element_type"})


def narrow(traced: Traced, *arguments: Any) -> Traced:
    """Moves slices of sums of products to the kernels of the products.

    Args:
      traced: a step.
      *arguments: the arguments for which it was traced.
    """
    producers = {v: e for e in traced.jaxpr.eqns for v in e.outvars}
    readers = collections.Counter(v for e in traced.jaxpr.eqns for v in set(variables(e.invars)))
    readers.update(set(variables(traced.outputs)))
    slicing: dict[Any, list[JaxprEqn]] = collections.defaultdict(list)
    for equation in traced.jaxpr.eqns:
        if _pieces(equation):
            slicing[equation.invars[0]].append(equation)
    wide = {
        var
        for var, equations in slicing.items()
        if len(equations) == readers[var]
        and _are_gates(var, equations)
        and _can_narrow(var, producers, readers)
    }
    if not wide:
        return traced

    def rule_for(equation: JaxprEqn) -> Rule:
        def rule(read: Callable[[Atom], Any]) -> list[Any]:
            pieces = _pieces(equation) or ()
            return [_piece(equation.invars[0], *piece, producers, read) for piece in pieces]

        return rule

    rules = {equation.outvars[0]: rule_for(equation) for var in wide for equation in slicing[var]}

    narrowed = trace(partial(traced.run, rules), *arguments)
    return narrow(narrowed, *arguments)  # slices may be sliced again


def _pieces(equation: JaxprEqn) -> list[tuple[int, int]] | None:
    """Returns the (start, stop) of each output if the equation slices a vector, else None."""
    name, params = equation.primitive.name, equation.params
    if name == "split" and aval_of(equation.invars[0]).ndim == 1:
        ends = [sum(params["sizes"][: n + 1]) for n in range(len(params["sizes"]))]
        return list(zip([0, *ends], ends, strict=False))
    if (
        name == "slice"
        and aval_of(equation.invars[0]).ndim == 1
        and params["strides"] in (None, (1,))
    ):
        return [(params["start_indices"][0], params["limit_indices"][0])]
    return None


def _are_gates(var: Var, equations: Sequence[JaxprEqn]) -> bool:
    """Whether slices are few and do not overlap, since each becomes a product."""
    pieces = [piece for equation in equations for piece in _pieces(equation) or ()]
    width = sum(stop - start for start, stop in pieces)
    return len(pieces) <= _MOST_GATES and width <= aval_of(var).shape[0]


def _can_narrow(var: Var, producers: dict, readers: Any) -> bool:
    """Whether a vector is a product, or an elementwise function of one that nothing else reads."""
    equation = producers.get(var)
    if equation is None:
        return False
    if is_product_of_vector(equation):
        return True
    if equation.primitive.name not in _ELEMENTWISE:
        return False
    return any(
        readers[v] == 1 and _can_narrow(v, producers, readers) for v in variables(equation.invars)
    )


def is_product_of_vector(equation: JaxprEqn) -> bool:
    """Whether an equation is the product of a vector and a matrix, in any order."""
    if equation.primitive.name != "dot_general":
        return False
    _, batch = equation.params["dimension_numbers"]
    return not any(batch) and sorted(aval_of(a).ndim for a in equation.invars) == [1, 2]


def _piece(atom: Any, start: int, stop: int, producers: dict, read: Callable) -> Any:
    """Computes `atom[start:stop]`, with the slice as early as possible."""
    if aval_of(atom).ndim == 0:
        return read(atom)
    equation = None if not isinstance(atom, Var) else producers.get(atom)
    if equation is not None and equation.primitive.name in _ELEMENTWISE:
        inputs = [_piece(each, start, stop, producers, read) for each in equation.invars]
        with source_of(equation):
            return equation.primitive.bind(*inputs, **equation.params)
    if equation is not None and is_product_of_vector(equation):
        inputs = [*map(read, equation.invars)]
        side = 0 if inputs[0].ndim == 2 else 1
        (contracted, _) = equation.params["dimension_numbers"]
        axis = 1 - contracted[side][0]
        inputs[side] = jax.lax.slice_in_dim(inputs[side], start, stop, axis=axis)
        with source_of(equation):
            return equation.primitive.bind(*inputs, **equation.params)
    return jax.lax.slice_in_dim(read(atom), start, stop)
