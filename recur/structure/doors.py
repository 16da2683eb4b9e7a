"""Rewriting of steps: functions that replace products and named values within a step.

Most combinators call `step` and change its inputs and outputs. A few change intermediate values,
such as a norm of `h @ U`. They rewrite the step: it is traced, and its equations are evaluated with
some of them replaced.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from typing import Any

import jax
from jax.ad_checkpoint import checkpoint_name
from jax.extend.core import JaxprEqn, Literal

from recur.checks import check_function, describe, signature
from recur.structure.classes import Product, Structure, find_structure
from recur.structure.jaxprs import Atom, Rule, aval_of, evaluate, made_by, variables
from recur.types import CellStep


def name(value: jax.Array, name: str) -> jax.Array:
    """Names an intermediate value of a step, so that combinators can act on it.

    It returns the value unchanged. `recur.recurrent_dropout` acts on the value named "candidate":
    the new content that a step adds to its memory.

    Args:
      value: any array.
      name: a name, which several values can share.

    Returns:
      The value.

    Raises:
      TypeError: if `name` is not a string.

    Example:
      >>> import jax, jax.numpy as jnp, recur
      >>> def step(params, h, x):
      ...     g = recur.name(jnp.tanh(x + h @ params), "candidate")
      ...     h = 0.9 * h + g
      ...     return h, h
      >>> cell = recur.cell(
      ...     init=lambda key, x: jax.random.normal(key, (3, 3)),
      ...     init_carry=lambda params, x: jnp.zeros(3),
      ...     step=step,
      ... )
      >>> layer = recur.scan(recur.recurrent_dropout(cell, 0.5))
      >>> xs = jnp.ones((4, 3))
      >>> layer(layer.init(jax.random.key(0), xs), xs, key=jax.random.key(1)).shape
      (4, 3)
    """
    if not isinstance(name, str):
        raise TypeError(
            f"name: expected the name as a string, got {type(name).__name__}. The value is the "
            'first argument: recur.name(value, "candidate").'
        )
    return checkpoint_name(value, name)


def on_named(
    step: CellStep, wanted: str, function: Callable[[Any, jax.Array], jax.Array], caller: str
) -> CellStep:
    """Rewrites a step with `function(bound, value)` in place of each value of a given name.

    Args:
      step: the step of a cell.
      wanted: the name, as given by `recur.name`.
      function: a function that keeps shape and dtype.
      caller: the combinator, for errors.

    Raises:
      TypeError: when tracing, if no value of the step has that name.
    """
    check_function("on_named: function", function)

    def rewritten(bound, carry, x, key=None):
        found = find_structure(step, bound, carry, x, key)
        named = _find_named(found, wanted, caller)

        def rule_for(equation) -> Rule:
            # Keep the name, so that the result can be rewritten again.
            def rule(read):
                value = read(equation.invars[0])
                return [name(_like(value, function(bound, value)), wanted)]

            return rule

        return found.traced.run({e.outvars[0]: rule_for(e) for e in named}, bound, carry, x, key)

    return rewritten


def reading_named(step: CellStep, wanted: Sequence[str], caller: str) -> Callable[..., Any]:
    """Rewrites a step to return its named values too, as `(carry, y, values)`.

    Args:
      step: the step of a cell.
      wanted: the names; all names of the step if there are none.
      caller: the combinator, for errors.

    Returns:
      The step, whose `values` are a dict from each name to its values, in the order of the step.

    Raises:
      TypeError: when tracing, if no value of the step has a wanted name.
    """

    def reading(bound, carry, x, key=None):
        traced = find_structure(step, bound, carry, x, key).traced
        named = [e for e in traced.jaxpr.eqns if e.primitive.name == "name"]
        names = wanted or sorted({equation.params["name"] for equation in named})
        for each in names:
            _check_is_named(each, named, caller)
        read = evaluate(traced.jaxpr.eqns, traced.values(bound, carry, x, key))
        values = {
            each: [read(e.outvars[0]) for e in named if e.params["name"] == each] for each in names
        }
        return *jax.tree.unflatten(traced.structure, [read(a) for a in traced.outputs]), values

    return reading


def named_shapes(
    step: CellStep, wanted: str, bound: Any, carry: Any, x: Any, caller: str
) -> list[jax.ShapeDtypeStruct]:
    """Returns the shapes of the values of a given name, in the order of the step."""
    named = _find_named(find_structure(step, bound, carry, x, None), wanted, caller)
    avals = [aval_of(equation.outvars[0]) for equation in named]
    return [jax.ShapeDtypeStruct(aval.shape, aval.dtype) for aval in avals]


def _find_named(found: Structure, wanted: str, caller: str) -> list[JaxprEqn]:
    named = [e for e in found.traced.jaxpr.eqns if e.params.get("name") == wanted]
    named = [e for e in named if e.primitive.name == "name"]
    _check_is_named(wanted, named, caller)
    return named


def _check_is_named(wanted: str, named: list[JaxprEqn], caller: str) -> None:
    if wanted not in {equation.params["name"] for equation in named}:
        raise TypeError(
            f"{caller}: the step names no value {wanted!r}. Name it in the step, "
            f"recur.name(value, {wanted!r}), outside custom derivatives and control flow. In a "
            "stack, wrap each cell."
        )


def recurrent_products(
    step: CellStep, bound: Any, carry: Any, x: Any, key: Any = None
) -> tuple[list[Product], Structure]:
    """Finds the recurrent products of a step, whose factor depends on the carry, in order."""
    found = find_structure(step, bound, carry, x, key)
    inside = found.products_of(found.inside)
    return [product for product in inside if product.factor in found.on_carry], found


def on_products(
    step: CellStep,
    *,
    factor: Callable[[Any, int, jax.Array], jax.Array] | None = None,
    result: Callable[[Any, int, jax.Array], jax.Array] | None = None,
) -> CellStep:
    """Rewrites a step with its recurrent products `h @ U` replaced by `result(factor(h) @ U)`.

    Args:
      step: the step of a cell.
      factor: `factor(bound, n, h)`, which replaces the factor of the n-th product; it is called
        once for all products with the same factor. It keeps shape and dtype.
      result: `result(bound, n, m)`, which replaces the n-th product. It keeps shape and dtype.
    """
    for argument, function in {"factor": factor, "result": result}.items():
        if function is not None:
            check_function(f"on_products: {argument}", function)

    def rewritten(bound, carry, x, key=None):
        products, found = recurrent_products(step, bound, carry, x, key)
        changed: dict[Atom, Any] = {}

        def rule_for(n: int, product: Product) -> Rule:
            def rule(read):
                def read_changed(atom):
                    if factor is None or atom is not product.factor:
                        return read(atom)
                    if atom not in changed:
                        changed[atom] = _like(read(atom), factor(bound, n, read(atom)))
                    return changed[atom]

                local = {v: read_changed(v) for v in _variables_of(product)}
                m = evaluate([product.equation], local)(product.result)
                return [m if result is None else _like(m, result(bound, n, m))]

            return rule

        rules = {product.result: rule_for(n, product) for n, product in enumerate(products)}
        return found.traced.run(rules, bound, carry, x, key)

    return rewritten


def input_products(
    step: CellStep, bound: Any, carry: Any, x: Any, key: Any = None
) -> tuple[list[Product], Structure]:
    """Finds the products through which the input affects the next carry, in the order of the step.

    Of consecutive products, such as those of an MLP before the cell, only the last is included.
    """
    found = find_structure(step, bound, carry, x, key)
    needed = set(variables(found.next_carry))
    last = []
    for equation in reversed(found.traced.jaxpr.eqns):
        if needed & set(equation.outvars):
            product = found.products.get(equation.outvars[0])
            if product is None or product.result in found.on_carry:
                needed.update(variables(equation.invars))
            else:
                last.append(product)
    return last[::-1], found


def on_inputs(step: CellStep, function: Callable[[Any, int, jax.Array], jax.Array]) -> CellStep:
    """Rewrites a step with `function(bound, n, u)` in place of u, the n-th product of the input.

    Args:
      step: the step of a cell.
      function: a function that keeps shape and dtype.
    """
    check_function("on_inputs: function", function)

    def rewritten(bound, carry, x, key=None):
        products, found = input_products(step, bound, carry, x, key)

        def rule_for(n: int, product: Product) -> Rule:
            def rule(read):
                local = {v: read(v) for v in _variables_of(product)}
                u = evaluate([product.equation], local)(product.result)
                return [_like(u, function(bound, n, u))]

            return rule

        rules = {product.result: rule_for(n, product) for n, product in enumerate(products)}
        return found.traced.run(rules, bound, carry, x, key)

    return rewritten


def on_next_carry(step: CellStep, function: Callable[[Any, Any], Any]) -> CellStep:
    """Rewrites a step with `function(carry, next_carry)` as its next carry, also for its output.

    Values that only the output needs, such as a product of the new hidden state, are computed from
    the changed carry. Values that the next carry depends on are unchanged.

    Args:
      step: the step of a cell.
      function: a function that keeps structure, shapes and dtypes.
    """
    check_function("on_next_carry: function", function)

    def rewritten(bound, carry, x, key=None):
        found = find_structure(step, bound, carry, x, key)
        traced, atoms = found.traced, found.next_carry
        values = traced.values(bound, carry, x, key)
        for_carry = _needed_for(atoms, traced.jaxpr.eqns)
        read = evaluate(for_carry, values)
        of_carry, of_output = traced.structure.children()
        after = jax.tree.unflatten(of_carry, map(read, atoms))
        changed = _like(after, function(carry, after))
        made = found.on_carry & set(made_by(for_carry))
        pairs = zip(atoms, jax.tree.leaves(changed), strict=True)
        values.update({a: v for a, v in pairs if not isinstance(a, Literal) and a in made})
        computed = set(map(id, for_carry))
        evaluate([e for e in traced.jaxpr.eqns if id(e) not in computed], values)
        return changed, jax.tree.unflatten(of_output, map(read, found.outputs))

    return rewritten


def _like(before: Any, after: Any) -> Any:
    """Returns `after` if it has the structure, shapes and dtypes of `before`."""
    expected, came = jax.eval_shape(lambda *trees: trees, before, after)
    if signature(expected) != signature(came):
        raise ValueError(
            f"expected a function that keeps shapes and dtypes, {describe(expected)}, got "
            f"{describe(came)}."
        )
    return after


def _needed_for(atoms: Iterable[Atom], equations: Sequence[JaxprEqn]) -> list[JaxprEqn]:
    """Returns the equations on which some atoms depend."""
    needed, kept = set(variables(atoms)), []
    for equation in reversed(equations):
        if needed & set(equation.outvars):
            needed.update(variables(equation.invars))
            kept.append(equation)
    return kept[::-1]


def _variables_of(product: Product) -> list[Any]:
    return [product.factor, product.kernel]
