"""Products of a concatenation, split into sums of products.

A cell may multiply its input and its state by one kernel:

    [x_t, h_{t-1}] W = x_t W_x + h_{t-1} W_h

Only the second product depends on the carry, so the first can run before the loop. The values are
the same up to rounding.
"""

from __future__ import annotations

import itertools
from collections.abc import Callable
from functools import partial
from typing import Any

import jax
import jax.numpy as jnp
from jax.extend.core import JaxprEqn

from recur.structure.jaxprs import Rule, Traced, aval_of, trace, variables
from recur.structure.narrow import is_product_of_vector


def split_concatenations(traced: Traced, *arguments: Any) -> Traced:
    """Splits products of concatenations of which only a part depends on the carry.

    Args:
      traced: a step.
      *arguments: the arguments for which it was traced.
    """
    on_carry = set(traced.arguments[1])
    for equation in traced.jaxpr.eqns:
        if equation.effects or on_carry & set(variables(equation.invars)):
            on_carry.update(equation.outvars)
    makers = {v: e for e in traced.jaxpr.eqns for v in e.outvars}

    def rule_for(equation: JaxprEqn) -> Rule | None:
        if not is_product_of_vector(equation):
            return None
        side = [aval_of(atom).ndim for atom in equation.invars].index(1)
        vector: Any = equation.invars[side]
        maker = makers.get(vector)
        if maker is None or maker.primitive.name != "concatenate":
            return None
        parts = [(atom, atom in on_carry) for atom in maker.invars]
        if len({flag for _, flag in parts}) == 1 or equation.invars[1 - side] in on_carry:
            return None
        return lambda read: [_sum_of_products(equation, side, parts, read)]

    rules = {e.outvars[0]: rule for e in traced.jaxpr.eqns if (rule := rule_for(e)) is not None}
    return trace(partial(traced.run, rules), *arguments) if rules else traced


def _sum_of_products(equation: JaxprEqn, side: int, parts: list, read: Callable) -> jax.Array:
    """Returns the product of the parts without the carry, plus that of the parts with it."""
    (contracted, _) = equation.params["dimension_numbers"]
    axis = contracted[1 - side][0]
    kernel = read(equation.invars[1 - side])
    ends = [*itertools.accumulate((aval_of(atom).size for atom, _ in parts), initial=0)]
    products = []
    for wanted in (False, True):
        chosen = [n for n, (_, flag) in enumerate(parts) if flag == wanted]
        vector = [read(parts[n][0]) for n in chosen]
        rows = [jax.lax.slice_in_dim(kernel, ends[n], ends[n + 1], axis=axis) for n in chosen]
        factors = [jnp.concatenate(vector), jnp.concatenate(rows, axis)]
        products.append(equation.primitive.bind(*factors[:: -1 if side else 1], **equation.params))
    return products[0] + products[1]
