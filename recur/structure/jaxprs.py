"""Jaxprs: tracing with calls inlined, and evaluation with some equations replaced.

A jaxpr is JAX's representation of a function: a list of equations over variables. The results here
are valid for one trace only, since constants may be tracers of an outer transformation.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
from jax.extend import source_info_util
from jax.extend.core import ClosedJaxpr, Jaxpr, JaxprEqn, Literal, Var, jaxpr_as_fun

Atom = Var | Literal
Values = dict[Var, Any]  # the value of each variable
Rule = Callable[[Callable[[Atom], Any]], Sequence[Any]]  # replaces an equation: read -> outputs

_CALLS = frozenset({"jit", "pjit", "closed_call", "core_call", "checkpoint", "remat2"})
_CONTROL_FLOW = frozenset({"cond", "while", "scan"})
_CALLBACKS = frozenset({"pure_callback", "io_callback", "debug_callback", "ffi_call"})


class Traced(NamedTuple):
    """A function of pytrees as a jaxpr, with calls inlined.

    Attributes:
      jaxpr: its equations; `constvars` are the values that the function closes over.
      constants: the values of `constvars`, which may be tracers.
      arguments: the variables of each argument, in the order of its leaves.
      outputs: the atoms of all leaves of the result.
      structure: the pytree structure of the result.
    """

    jaxpr: Jaxpr
    constants: Sequence[Any]
    arguments: Sequence[Sequence[Var]]
    outputs: Sequence[Atom]
    structure: Any

    def values(self, *arguments: Any) -> Values:
        """Returns the values of the variables of the constants and of the given first arguments."""
        values = dict(zip(self.jaxpr.constvars, self.constants, strict=True))
        for variables, argument in zip(self.arguments, arguments, strict=False):
            values.update(zip(variables, jax.tree.leaves(argument), strict=True))
        return values

    def run(self, rules: Mapping[Var, Rule], *arguments: Any) -> Any:
        """Runs the function with `rules` in place of some of its equations."""
        read = evaluate(self.jaxpr.eqns, self.values(*arguments), rules)
        return jax.tree.unflatten(self.structure, [read(atom) for atom in self.outputs])


def trace(function: Callable[..., Any], *arguments: Any) -> Traced:
    """Traces a function and inlines its calls of `jax.jit` and `jax.checkpoint`.

    Functions with custom derivatives (`jax.custom_jvp`, `jax.custom_vjp`) and control flow are not
    inlined: each is one equation.
    """
    leaves, structure = jax.tree.flatten(arguments)
    found: list[Any] = []

    def flat(*leaves):
        result, out_structure = jax.tree.flatten(function(*jax.tree.unflatten(structure, leaves)))
        found.append(out_structure)
        return [jnp.asarray(leaf) for leaf in result]

    def inlined(*leaves):
        closed = jax.make_jaxpr(flat)(*leaves)
        return _evaluate_inlined(closed.jaxpr, closed.consts, leaves)

    closed = jax.make_jaxpr(inlined)(*leaves)
    variables = iter(closed.jaxpr.invars)
    by_argument = [[next(variables) for _ in jax.tree.leaves(given)] for given in arguments]
    return Traced(closed.jaxpr, closed.consts, by_argument, closed.jaxpr.outvars, found[-1])


def evaluate(
    equations: Iterable[JaxprEqn], values: Values, rules: Mapping[Var, Rule] | None = None
) -> Callable[[Atom], Any]:
    """Evaluates equations in order, adds their results to `values`, and returns a `read(atom)`.

    Each equation keeps its parameters, source line and name scope.

    Args:
      equations: equations in an order in which each reads known values only.
      values: the known values, which are extended in place.
      rules: a dict from the first output of an equation to the rule that replaces it.
    """

    def read(atom: Atom) -> Any:
        return atom.val if isinstance(atom, Literal) else values[atom]

    for equation in equations:
        rule = (rules or {}).get(equation.outvars[0]) if equation.outvars else None
        with source_of(equation):
            outputs = _run(equation, read) if rule is None else rule(read)
        values.update(zip(equation.outvars, outputs, strict=True))
    return read


def variables(atoms: Iterable[Atom]) -> Iterator[Var]:
    """Returns the atoms that are not literals."""
    return (atom for atom in atoms if not isinstance(atom, Literal))


def aval_of(atom: Atom) -> Any:
    """Returns the shape and dtype of an atom."""
    return atom.aval


def read_by(equations: Iterable[JaxprEqn]) -> set[Var]:
    """Returns the variables that equations read."""
    return {var for equation in equations for var in variables(equation.invars)}


def made_by(equations: Iterable[JaxprEqn]) -> list[Var]:
    """Returns the variables that equations write."""
    return [var for equation in equations for var in equation.outvars]


def is_control_flow(equation: JaxprEqn) -> bool:
    """Whether an equation is a `cond`, a `while` or a `scan`."""
    return equation.primitive.name in _CONTROL_FLOW


def scan_counts(params: Mapping[str, Any]) -> tuple[int, int]:
    """The number of constants and of carries of a `scan`, in each version of JAX."""
    if "num_consts" in params:
        return params["num_consts"], params["num_carry"]
    constants, carry, _ = params["ft_in"].unpack()  # since 0.12
    return len(constants), len(carry)


def called_by(equation: JaxprEqn) -> tuple[Jaxpr, Sequence[Any]] | None:
    """Returns the function that an equation calls with its inputs, and its constants."""
    for called in (equation.params.get(key) for key in _CALLED):
        inner = getattr(called, "jaxpr", called)
        if isinstance(inner, Jaxpr) and len(inner.invars) == len(equation.invars):
            return inner, getattr(called, "consts", ())
    return None


def is_callback(equation: JaxprEqn) -> bool:
    """Whether an equation has an effect or calls a function outside XLA."""
    return bool(equation.effects) or equation.primitive.name in _CALLBACKS


def contains(equations: Iterable[JaxprEqn], is_wanted: Callable[[JaxprEqn], bool]) -> bool:
    """Whether a predicate holds for an equation or for one nested in it."""
    return any(
        is_wanted(equation) or contains(_equations_within(equation), is_wanted)
        for equation in equations
    )


def _equations_within(equation: JaxprEqn) -> Iterator[JaxprEqn]:
    for value in equation.params.values():
        for item in value if isinstance(value, (tuple, list)) else (value,):
            inner = getattr(item, "jaxpr", item)
            if isinstance(inner, Jaxpr):
                yield from inner.eqns


def _run(equation: JaxprEqn, read: Callable[[Atom], Any]) -> Sequence[Any]:
    """Runs one equation as a program by itself, which works for any primitive."""
    inputs = list(dict.fromkeys(variables(equation.invars)))
    bare = equation.replace(source_info=source_info_util.new_source_info())
    alone = Jaxpr((), inputs, equation.outvars, [bare], debug_info=_NO_DEBUG_INFO)
    return jaxpr_as_fun(ClosedJaxpr(alone, ()))(*map(read, inputs))


def source_of(equation: JaxprEqn) -> AbstractContextManager:
    """Returns a context in which operations get the source line and name scope of an equation."""
    source, stack = equation.source_info, source_info_util.current_name_stack()
    names = source.name_stack.stack
    if stack.stack[len(stack.stack) - len(names) :] != names:  # a rule may run its equation
        stack = stack + source.name_stack
    return source_info_util.user_context(source.traceback, name_stack=stack)


_CALLED = ("jaxpr", "call_jaxpr", "fun_jaxpr")  # parameters that hold a called function
_NO_DEBUG_INFO: Any = jax.make_jaxpr(lambda: ())().jaxpr.debug_info


def _evaluate_inlined(jaxpr: Jaxpr, constants: Sequence[Any], arguments: Sequence[Any]) -> Any:
    values = dict(zip(jaxpr.constvars, constants, strict=True))
    values.update(zip(jaxpr.invars, arguments, strict=True))

    def read(atom):
        return atom.val if isinstance(atom, Literal) else values[atom]

    for equation in jaxpr.eqns:
        with source_of(equation):
            if equation.primitive.name in _CALLS:
                inner = equation.params["jaxpr"]
                constants = getattr(inner, "consts", ())
                inner = getattr(inner, "jaxpr", inner)
                outputs = _evaluate_inlined(inner, constants, [*map(read, equation.invars)])
            else:
                outputs = _run(equation, read)
        values.update(zip(equation.outvars, outputs, strict=True))
    return [read(atom) for atom in jaxpr.outvars]
