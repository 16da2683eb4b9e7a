"""The structure of a step: the dependencies of its equations, and its matrix products.

The equations of `step(bound, carry, x, key)` are sorted into four classes:

    invariant   depend on bound only                               once
    before      depend on x and key, not on the carry              before the loop, for all steps
    inside      depend on the carry, and the next carry on them    in the loop
    after       depend on the carry, and only the output on them   after the loop, for all steps

Only costly equations move out of the loop: products, the equations before or after them, and random
bits. Cheap elementwise equations stay, since results outside the loop are stored for all steps.
"""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Callable, Iterable, Sequence
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
from jax.extend.core import JaxprEqn, Literal, Var

from recur.checks import check_function, check_step_carry, check_step_result
from recur.structure.concatenations import split_concatenations
from recur.structure.jaxprs import (
    Atom,
    Traced,
    aval_of,
    contains,
    is_callback,
    is_control_flow,
    made_by,
    read_by,
    trace,
    variables,
)
from recur.structure.narrow import narrow

# Like products, they cost far more than storing their result.
_CONVOLUTIONS = frozenset({"conv_general_dilated", "convolution", "correlation"})
_THREEFRY = "key<fry>"


class Product(NamedTuple):
    """A `dot_general` whose one factor, the kernel, is the same at all steps.

    Attributes:
      equation: the equation of the jaxpr.
      factor: the variable that varies over time, such as h in `h @ U`.
      kernel: the variable that does not, such as U.
      side: int, the position of the factor in the product, 0 or 1.
    """

    equation: JaxprEqn
    factor: Var
    kernel: Var
    side: int

    @property
    def result(self) -> Var:
        """The variable that holds the product."""
        return self.equation.outvars[0]


@dataclasses.dataclass(frozen=True)
class Structure:
    """The structure of the step of a cell.

    Attributes:
      traced: the step as a jaxpr, with the arguments bound, carry, x and key.
      invariant: the equations whose values are the same for all steps.
      before: the equations that run for all steps at once, before the loop.
      inside: the equations of the loop.
      after: the equations that run for all steps at once, after the loop.
      products: a dict from the result of each product with one invariant factor to that product,
        in any class.
      on_carry: the set of variables that depend on the carry.
    """

    traced: Traced
    invariant: Sequence[JaxprEqn]
    before: Sequence[JaxprEqn]
    inside: Sequence[JaxprEqn]
    after: Sequence[JaxprEqn]
    products: dict[Var, Product]
    on_carry: frozenset[Var]

    @property
    def carry(self) -> Sequence[Var]:
        """The variables of the carry before the step."""
        return self.traced.arguments[1]

    @property
    def next_carry(self) -> Sequence[Atom]:
        """The atoms of the carry after the step."""
        return self.traced.outputs[: len(self.carry)]

    @property
    def outputs(self) -> Sequence[Atom]:
        """The atoms of the output of the step."""
        return self.traced.outputs[len(self.carry) :]

    def products_of(self, equations: Iterable[JaxprEqn]) -> list[Product]:
        """Returns the products among some equations."""
        return [self.products[var] for var in made_by(equations) if var in self.products]


def find_structure(step: Callable[..., Any], bound: Any, carry: Any, x: Any, key: Any) -> Structure:
    """Traces a step and sorts its equations by what they depend on.

    Args:
      step: `step(bound, carry, x, key) -> (carry, y)`, for one step of one sequence.
      bound: bound params; here and below, arrays or their shapes.
      carry: the carry before the step.
      x: the input of the step.
      key: the key of the step, or None.

    Returns:
      A `Structure`.

    Raises:
      TypeError: if `step` is not a function, or does not return a pair.
      ValueError: if it changes the structure, shapes or dtypes of the carry.
    """
    check_function("step", step)
    arguments = (bound, carry, x, key)
    traced = split_concatenations(trace(step, *arguments), *arguments)
    traced = narrow(traced, *arguments)
    _check_carry(traced, carry)
    of_bound, of_carry, *_ = traced.arguments
    equations = _needed(traced)
    constant = {*traced.jaxpr.constvars, *of_bound}
    on_carry: set[Var] = set(of_carry)
    invariant: list[JaxprEqn] = []
    varying: list[JaxprEqn] = []  # depend on x, but not on the carry
    for equation in equations:
        inputs = set(variables(equation.invars))
        if equation.effects or inputs & on_carry:
            on_carry.update(equation.outvars)
        elif inputs <= constant:
            constant.update(equation.outvars)
            invariant.append(equation)
        else:
            varying.append(equation)
    products = _find_products(equations, constant)
    before = _worth_moving_before(varying)
    rest = _others(equations, [*invariant, *before])
    after = _worth_moving_after(rest, products, traced, len(of_carry), on_carry)
    return Structure(
        traced=traced,
        invariant=invariant,
        before=before,
        inside=_others(rest, after),
        after=after,
        products=products,
        on_carry=frozenset(on_carry),
    )


def _check_carry(traced: Traced, carry: Any) -> None:
    result = jax.tree.unflatten(traced.structure, [aval_of(atom) for atom in traced.outputs])
    check_step_result(result)
    after, _ = result
    check_step_carry(carry, jax.tree.map(lambda a: jax.ShapeDtypeStruct(a.shape, a.dtype), after))


def _needed(traced: Traced) -> list[JaxprEqn]:
    """Returns the equations that the results or effects depend on."""
    needed = set(variables(traced.outputs))
    kept = []
    for equation in reversed(traced.jaxpr.eqns):
        if equation.effects or needed & set(equation.outvars):
            needed.update(variables(equation.invars))
            kept.append(equation)
    return kept[::-1]


def _find_products(equations: Iterable[JaxprEqn], constant: set[Var]) -> dict[Var, Product]:
    products = {}
    for equation in equations:
        if equation.primitive.name == "dot_general":
            is_constant = [isinstance(a, Literal) or a in constant for a in equation.invars]
            if is_constant.count(True) == 1:
                side = is_constant.index(False)
                factor, kernel = equation.invars[side], equation.invars[1 - side]
                assert isinstance(factor, Var) and isinstance(kernel, Var)  # literals are scalars
                products[equation.outvars[0]] = Product(equation, factor, kernel, side)
    return products


def _worth_moving_before(varying: Sequence[JaxprEqn]) -> list[JaxprEqn]:
    """Returns the equations before or after a product, a convolution or threefry random bits.

    Equations that `vmap` would change stay in the loop, with all equations that depend on them.
    """
    staying: set[Var] = set()
    from_product: set[Var] = set()
    for equation in varying:
        inputs = set(variables(equation.invars))
        if _is_changed_by_vmap(equation) or inputs & staying:
            staying.update(equation.outvars)
        elif is_costly(equation) or inputs & from_product:
            from_product.update(equation.outvars)
    wanted = set(from_product)
    for equation in reversed(varying):
        if wanted & set(equation.outvars):
            wanted.update(variables(equation.invars))
    moved = [e for e in varying if wanted & set(e.outvars) and not staying & set(e.outvars)]
    return _without_last_sums(moved, varying)


def _without_last_sums(moved: Sequence[JaxprEqn], varying: Sequence[JaxprEqn]) -> list[JaxprEqn]:
    """Leaves final additions of a constant, such as a bias, to the loop.

    Before the loop they would read and write the array of all steps once more.
    """
    made = set(made_by(varying))
    read: set[Var] = set()
    kept = []
    for equation in reversed(moved):
        varies = [atom in made for atom in equation.invars if not isinstance(atom, Literal)]
        is_sum = equation.primitive.name == "add" and varies == [True, False]
        is_sum |= equation.primitive.name == "add" and varies == [False, True]
        if not is_sum or read & set(equation.outvars):
            read.update(variables(equation.invars))
            kept.append(equation)
    return kept[::-1]


def is_costly(equation: JaxprEqn) -> bool:
    """Whether computing an equation costs far more than storing its result."""
    name = equation.primitive.name
    return name in ("dot_general", "random_bits") or name in _CONVOLUTIONS


def _is_changed_by_vmap(equation: JaxprEqn) -> bool:
    """Whether an equation must not run for all steps at once.

    Under `vmap` a `cond` runs both branches, keys other than threefry keys draw different numbers,
    and callbacks are called differently or not at all.
    """
    return is_control_flow(equation) or is_callback(equation) or _reads_other_keys(equation)


def _reads_other_keys(equation: JaxprEqn) -> bool:
    dtypes = [aval_of(atom).dtype for atom in equation.invars if hasattr(aval_of(atom), "dtype")]
    keys = [dtype for dtype in dtypes if jnp.issubdtype(dtype, jax.dtypes.prng_key)]
    return any(str(dtype) != _THREEFRY for dtype in keys)


def _worth_moving_after(
    equations: Sequence[JaxprEqn],
    products: dict[Var, Product],
    traced: Traced,
    carry_size: int,
    on_carry: set[Var],
) -> list[JaxprEqn]:
    """Returns the equations that only the output needs, if moving them is worth it.

    It is if there is a product among them, or if it does not store more. Equations that `vmap`
    would change stay in the loop, with all equations they depend on; so do effects.
    """
    needed = set(variables(traced.outputs[:carry_size]))
    for equation in reversed(equations):
        if equation.effects or needed & set(equation.outvars):
            needed.update(variables(equation.invars))
    candidates = [e for e in equations if not (e.effects or needed & set(e.outvars))]
    for equation in reversed(candidates):
        if _is_changed_by_vmap(equation) or needed & set(equation.outvars):
            needed.update([*equation.outvars, *variables(equation.invars)])
    candidates = [e for e in candidates if not needed & set(e.outvars)]
    made = set(made_by(candidates))
    stored = {v for v in read_by(candidates) - made if v in on_carry}
    saved = made & set(variables(traced.outputs))
    has_product = any(var in products for var in made) or any(map(is_costly, candidates))
    return candidates if has_product or bytes_of(stored) <= bytes_of(saved) else []


def bytes_of(of: Iterable[Var]) -> int:
    """Returns the size of some variables in bytes."""
    sizes = [math.prod(aval_of(var).shape) * aval_of(var).dtype.itemsize for var in of]
    return sum(sizes)


def _others(equations: Sequence[JaxprEqn], taken: Sequence[JaxprEqn]) -> list[JaxprEqn]:
    known = set(map(id, taken))
    return [equation for equation in equations if id(equation) not in known]


def has_callbacks(equations: Iterable[JaxprEqn]) -> bool:
    """Whether some of the equations have an effect or call a function outside JAX."""
    return contains(equations, is_callback)


def has_custom_vjp_or_control_flow(equations: Iterable[JaxprEqn]) -> bool:
    """Whether some equations have a `custom_vjp` or control flow, which need reverse mode."""

    def is_reverse_only(equation):
        return is_control_flow(equation) or equation.primitive.name.startswith("custom_vjp_call")

    return contains(equations, is_reverse_only)
