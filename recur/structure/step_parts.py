"""A step split into three parts, before, in and after the loop of a lift.

    u_t          = prepare(x_t)                before the loop
    carry_t, v_t = advance(carry_{t-1}, u_t)   in the loop
    y_t          = read(v_t, u_t)              after the loop

`prepare` and `read` can be mapped over all steps at once.
"""

from __future__ import annotations

import copy
import dataclasses
from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
from jax.ad_checkpoint import checkpoint_name
from jax.extend.core import JaxprEqn, Var

from recur.structure.classes import Product, Structure, bytes_of, is_costly
from recur.structure.groups import Group, group, multiply_steps
from recur.structure.jaxprs import (
    Atom,
    Rule,
    Values,
    aval_of,
    evaluate,
    made_by,
    read_by,
    variables,
)
from recur.structure.sums import find_sums

SAVED = "recur.product"  # the name of values that a gradient saves; all others are recomputed

Multiply = Callable[[Group, jax.Array, Any], list[jax.Array]]  # (group, factor, kernel) -> results


class Prepared(NamedTuple):
    """The results of `prepare` for one step.

    Attributes:
      inside: the values that the loop reads.
      after: the values that `read` reads.
    """

    inside: list[Any]
    after: list[Any]


class Parts:
    """The parts of a step for given bound params: before, in and after the loop.

    Attributes:
      groups: the products of the loop whose kernels can be differentiated.
      sums: the sums of an input with products and constants that the loop reads only as a sum.
      kernels: the kernel of each group.
      constants: the other bound values that the loop reads.
      crossing: the variables of the loop that the output reads, stored at each step.
    """

    def __init__(self, found: Structure, bound: Any):
        """Computes the values that are the same for all steps."""
        self.found = found
        of_bound, _, *of_step = found.traced.arguments
        self._known = found.traced.values(bound)
        evaluate(found.invariant, self._known)

        per_step = [*(var for given in of_step for var in given), *made_by(found.before)]
        of_loop = [*found.carry, *made_by(found.inside)]
        loop_reads = read_by(found.inside) | set(variables(found.next_carry))
        output_reads = read_by(found.after) | set(variables(found.outputs))
        self._inside = [var for var in per_step if var in loop_reads]
        self._after = [var for var in per_step if var in output_reads]
        self.crossing = [var for var in of_loop if var in output_reads]

        self.groups = group(filter(_is_inexact, found.products_of(found.inside)))
        grouped = {product.result for each in self.groups for product in each.products}
        others = [e for e in found.inside if not grouped & set(e.outvars)]
        self._costly = [*filter(is_costly, others)]
        factors = {each.factor for each in self.groups}
        others_read = read_by(others) | factors | set(variables(found.next_carry))
        self.constant_vars = [var for var in self._known if var in others_read]
        self._known_vars = [*self._known]
        self._take_values(self._known)
        results = [*found.next_carry, *self.crossing, *self._after]
        self.sums = find_sums(found.inside, self._inside, grouped, set(self.constant_vars), results)

    def _take_values(self, known: Values) -> None:
        self._known = known
        kernels = [[known[product.kernel] for product in each.products] for each in self.groups]
        self.kernels = [each.join(of) for each, of in zip(self.groups, kernels, strict=True)]
        self.constants = [known[var] for var in self.constant_vars]

    @property
    def values(self) -> list[Any]:
        """All values that are the same for all steps."""
        return [*self._known.values()]

    def without_values(self) -> Parts:
        """Returns the parts without kernels and constants, for `advance_with`.

        A derivative rule may keep these parts for the lifetime of the program. The values may be
        tracers, so they are passed to it as arguments.
        """
        parts = copy.copy(self)
        traced = self.found.traced._replace(constants=())
        parts.found = dataclasses.replace(self.found, traced=traced)
        parts._known, parts.kernels, parts.constants = {}, [], []
        return parts

    def with_values(self, values: Sequence[Any]) -> Parts:
        """Returns the parts with other `values`."""
        parts = copy.copy(self)
        parts._take_values(dict(zip(self._known_vars, values, strict=True)))
        return parts

    def bytes_per_step(self) -> int:
        """Returns the bytes stored for one step, except its input and output."""
        made = set(made_by(self.found.before))
        prepared = made & {*self._inside, *self._after}
        return bytes_of(prepared | (set(self.crossing) if self.found.after else set()))

    def prepare(self, x: Any, key: Any = None) -> Prepared:
        """Computes the values of one step that do not depend on the carry."""
        values = dict(self._known)
        for of_argument, given in zip(self.found.traced.arguments[2:], (x, key), strict=True):
            values.update(zip(of_argument, jax.tree.leaves(given), strict=True))
        evaluate(self.found.before, values, self._rules_of_steps(self.found.before))
        return Prepared([values[var] for var in self._inside], [values[var] for var in self._after])

    def advance(self, carry: Any, inside: Sequence[Any]) -> tuple[Any, list[Any]]:
        """Computes the next carry, and the values of the step that `read` reads."""
        found = self.advance_with(self.kernels, self.constants, carry, inside)
        return found[0], found[1]

    def advance_with(
        self,
        kernels: Sequence[Any],
        constants: Sequence[Any],
        carry: Any,
        inside: Sequence[Any],
        shifts: Sequence[Sequence[Any]] | None = None,
        multiply: Multiply = Group.multiply,
    ) -> tuple[Any, list[Any], list[jax.Array]]:
        """Computes `advance` as a function of kernels and constants.

        Args:
          kernels: the kernel of each group, as `multiply` expects it.
          constants: the other bound values that the loop reads.
          carry: the carry before the step.
          inside: the values that `prepare` computed for the loop.
          shifts: for each group, a shift of zero for each of its products, or None if the product
            is in a sum; no shifts by default.
          multiply: computes the products of a group from its factor and its kernel.

        Returns:
          The next carry, the values that `read` reads, and the factor of each group.
        """
        leaves, structure = jax.tree.flatten(carry)
        values: Values = dict(zip(self.constant_vars, constants, strict=True))
        values.update(zip(self.found.carry, leaves, strict=True))
        values.update(zip(self._inside, inside, strict=True))
        rules = self._rules_of_products(kernels, shifts, multiply)
        for equation in [found.equation for found in self.sums] + self._costly:
            rules[equation.outvars[0]] = _kept_rule(equation)
        read = evaluate(self.found.inside, values, rules)
        after = jax.tree.unflatten(structure, [read(atom) for atom in self.found.next_carry])
        factors = [read(each.factor) for each in self.groups]
        return after, [values[var] for var in self.crossing], factors

    def read(self, crossing: Sequence[Any], after: Sequence[Any]) -> Any:
        """Computes the output of one step."""
        values = dict(self._known)
        values.update(zip(self.crossing, crossing, strict=True))
        values.update(zip(self._after, after, strict=True))
        read = evaluate(self.found.after, values, self._rules_of_steps(self.found.after))
        _, structure = self.found.traced.structure.children()
        return jax.tree.unflatten(structure, [read(atom) for atom in self.found.outputs])

    def known_inside(self, inside: Sequence[Any]) -> Values:
        """Returns the values that the loop reads, except the carry, by variable."""
        return {**self._known, **dict(zip(self._inside, inside, strict=True))}

    def _rules_of_products(
        self, kernels: Sequence[Any], shifts: Any, multiply: Multiply
    ) -> dict[Var, Rule]:
        """Makes rules that compute products by group, when the first product of it is needed."""
        in_sums = {var for found in self.sums for var in found.products}
        results: dict[Var, jax.Array] = {}

        def rule_for(number: int, product: Product) -> Rule:
            def rule(read):
                if product.result not in results:
                    of_group = self.groups[number]
                    found = multiply(of_group, read(of_group.factor), kernels[number])
                    if shifts is not None:
                        found = [*map(_shifted, found, shifts[number])]
                    results.update(zip((p.result for p in of_group.products), found, strict=True))
                result = results[product.result]
                return [result if product.result in in_sums else _kept(result)]

            return rule

        return {
            product.result: rule_for(number, product)
            for number, of_group in enumerate(self.groups)
            for product in of_group.products
        }

    def _rules_of_steps(self, equations: Sequence[JaxprEqn]) -> dict[Var, Rule]:
        """Makes rules for products that are mapped over all steps at once, in a faster form."""

        def rule_for(product: Product) -> Rule:
            return lambda read: [
                multiply_steps(product, read(product.factor), read(product.kernel))
            ]

        return {p.result: rule_for(p) for p in self.found.products_of(equations)}


def _is_inexact(product: Product) -> bool:
    atoms = (product.factor, product.kernel)
    return all(jnp.issubdtype(aval_of(atom).dtype, jnp.inexact) for atom in atoms)


def _kept_rule(equation: JaxprEqn) -> Rule:
    def rule(read: Callable[[Atom], Any]) -> list[jax.Array]:
        values = {var: read(var) for var in variables(equation.invars)}
        result = evaluate([equation], values)
        return [_kept(result(var)) for var in equation.outvars]

    return rule


def _kept(value: jax.Array) -> jax.Array:
    """Marks a value as one that a gradient saves."""
    if not jnp.issubdtype(value.dtype, jnp.inexact):
        return value
    if jnp.iscomplexobj(value):
        parts = (checkpoint_name(part, SAVED) for part in (value.real, value.imag))
        return jax.lax.complex(*parts)
    return checkpoint_name(value, SAVED)


def _shifted(value: jax.Array, shift: jax.Array | None) -> jax.Array:
    return value if shift is None else _shifted_by(value, shift)


@jax.custom_jvp
def _shifted_by(value: jax.Array, shift: jax.Array) -> jax.Array:
    """Computes `value + shift` for a shift of zero, which is used for its derivative only."""
    del shift
    return value


@_shifted_by.defjvp
def _shifted_along(primals: Any, tangents: Any) -> Any:
    return primals[0], tangents[0] + tangents[1]
