"""The origin of a value that is not finite: its jaxpr is evaluated, and followed backward."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jax.extend import source_info_util
from jax.extend.core import ClosedJaxpr, Jaxpr, JaxprEqn, Literal, Var, jaxpr_as_fun

from recur.structure.jaxprs import (
    Atom,
    Values,
    called_by,
    evaluate,
    made_by,
    scan_counts,
    variables,
)


class Origin(NamedTuple):
    """The operation whose result is the first one that is not finite.

    Attributes:
      operation: the name of its primitive; "constant" of a value that the program contains.
      source: its source line.
      value: the first value of its result that is not finite.
      entry: the index of that value in the result.
      shape: the shape of the result.
      steps: the positions in the loops around it, the outermost first.
      near: for each input that it depends on, by number, how many operations are between them.
    """

    operation: str
    source: str
    value: float
    entry: tuple[int, ...]
    shape: tuple[int, ...]
    steps: tuple[int, ...] = ()
    near: Mapping[int, int] = {}


class Found(NamedTuple):
    """What `Finder.find` has found.

    Attributes:
      input: the number of an input that was not finite; None if the search has ended.
      origin: the origin; if the search goes on, the origin in case that input is a constant.
    """

    input: int | None
    origin: Origin | None


class Loop(NamedTuple):
    """A loop that has run.

    Attributes:
      body: its body.
      constants: the values that all steps read.
      before: the carry before each step, by position.
      xs: the inputs of each step, by position.
      results: the carry after each step and its outputs, by position.
      order: the positions in the order of the steps.
    """

    body: ClosedJaxpr
    constants: list[Any]
    before: list[Any]
    xs: list[Any]
    results: list[Any]
    order: list[int]


class Finder:
    """Finds origins. Each jaxpr is compiled once, also if it is the body of a loop."""

    def __init__(self) -> None:
        self._compiled: dict[Any, tuple[Jaxpr, Callable[..., Any]]] = {}

    def find(
        self, jaxpr: Jaxpr, constants: Sequence[Any], inputs: Sequence[Any], place: int
    ) -> Found:
        """Follows an output that is not finite back to its origin, or to an input.

        Args:
          jaxpr: the equations.
          constants: the values of its constants.
          inputs: the values of its inputs.
          place: the number of the output.

        Returns:
          A `Found`.
        """
        values = self._values(jaxpr, constants, inputs)
        maker = {var: (e, number) for e in jaxpr.eqns for number, var in enumerate(e.outvars)}
        fallback: Origin | None = None

        def read(atom: Atom) -> Any:
            return atom.val if isinstance(atom, Literal) else values[atom]

        atom = jaxpr.outvars[place]
        while not isinstance(atom, Literal) and atom in maker:
            equation, number = maker[atom]
            inside = self._inside(equation, [*map(read, equation.invars)], number)
            if inside is not None:
                origin = inside.origin and _outside(jaxpr, equation, inside.origin)
                if inside.input is None:
                    return _ended(origin, fallback)
                fallback, atom = fallback or origin, equation.invars[inside.input]
                continue
            bad = [each for each in equation.invars if not is_finite(read(each))]
            nan = [each for each in bad if _has_nan(read(each))]
            here = Origin(
                equation.primitive.name,
                source_info_util.summarize(equation.source_info),
                *first_bad(read(atom)),
                near=_nearest(jaxpr, {var: 0 for var in variables(equation.invars)}),
            )
            if not bad:
                return Found(None, here)
            if _has_nan(read(atom)) and not nan:
                fallback = here
            atom = (nan or bad)[0]
        if atom in jaxpr.invars:
            return Found(jaxpr.invars.index(atom), fallback)
        return _ended(Origin("constant", "", *first_bad(read(atom))), fallback)

    def results(self, jaxpr: Jaxpr, constants: Sequence[Any], inputs: Sequence[Any]) -> list[Any]:
        """The values of all outputs."""
        values = self._values(jaxpr, constants, inputs)
        return [a.val if isinstance(a, Literal) else values[a] for a in jaxpr.outvars]

    def _values(self, jaxpr: Jaxpr, constants: Sequence[Any], inputs: Sequence[Any]) -> Values:
        """The values of all variables. They are kept apart, so XLA cannot simplify one away."""
        run = self._function("all", jaxpr, lambda *given: _all_values(jaxpr, given))
        values = dict(zip([*jaxpr.constvars, *jaxpr.invars], [*constants, *inputs], strict=True))
        values.update(zip(made_by(jaxpr.eqns), run(*constants, *inputs), strict=True))
        return values

    def _inside(self, equation: JaxprEqn, inputs: list[Any], place: int) -> Found | None:
        """Searches the function that an equation calls, if it calls one."""
        name, params = equation.primitive.name, equation.params
        if name == "scan":
            return self._in_loop(self._run_scan(params, inputs), place)
        if name == "while":
            first = params["cond_nconsts"]
            return _shifted(self._in_loop(self._run_while(params, inputs), place), first)
        if name == "cond":
            branch = params["branches"][int(inputs[0])]
            return _shifted(self.find(branch.jaxpr, branch.consts, inputs[1:], place), 1)
        called = called_by(equation)
        return called and self.find(*called, inputs, place)

    def _in_loop(self, loop: Loop, place: int) -> Found | None:
        """Searches the body of a loop, from the step of a bad result to the steps before it."""
        bad = [not is_finite(loop.results[place][position]) for position in loop.order]
        constants, carries = len(loop.constants), len(loop.before)
        if not any(bad):  # also of a loop without steps
            return None
        at = bad.index(True)
        if place < carries and bad[-1]:  # where the last run of bad carries began
            at = len(bad) - [*bad[::-1], False].index(False)
        fallback = None
        while True:
            position = loop.order[at]
            each = [array[position] for array in (*loop.before, *loop.xs)]
            inputs = [*loop.constants, *each]
            found = self.find(loop.body.jaxpr, loop.body.consts, inputs, place)
            origin = found.origin and found.origin._replace(steps=(position, *found.origin.steps))
            if found.input is None:
                return _ended(origin, fallback)
            fallback = fallback or origin
            if not constants <= found.input < constants + carries or at == 0:
                return Found(found.input, fallback)
            at, place = at - 1, found.input - constants

    def _run_scan(self, params: Mapping[str, Any], inputs: list[Any]) -> Loop:
        body, (constants, carries) = params["jaxpr"], scan_counts(params)
        inside = constants + carries
        length, reverse = params["length"], params["reverse"]

        def run(*inputs):
            def step(carry, xs):
                made = jaxpr_as_fun(body)(*inputs[:constants], *carry, *xs)
                after, ys = made[: len(carry)], made[len(carry) :]
                return after, (carry, [*after, *ys])

            first, xs = list(inputs[constants:inside]), list(inputs[inside:])
            return jax.lax.scan(step, first, xs, length, reverse)[1]

        before, results = self._function("scan", body.jaxpr, run)(*inputs)
        order = list(range(length))[:: -1 if reverse else 1]
        return Loop(body, inputs[:constants], before, inputs[inside:], results, order)

    def _run_while(self, params: Mapping[str, Any], inputs: list[Any]) -> Loop:
        test, body = params["cond_jaxpr"], params["body_jaxpr"]
        first = params["cond_nconsts"]
        inside = first + params["body_nconsts"]
        goes_on = self._function("while", test.jaxpr, jaxpr_as_fun(test))
        step = self._function("while", body.jaxpr, jaxpr_as_fun(body))
        carries = [inputs[inside:]]
        while goes_on(*inputs[:first], *carries[-1])[0]:
            carries.append(step(*inputs[first:inside], *carries[-1]))
        before, after = (list(zip(*part, strict=True)) for part in (carries[:-1], carries[1:]))
        return Loop(body, inputs[first:inside], before, [], after, list(range(len(carries) - 1)))

    def _function(self, kind: str, jaxpr: Jaxpr, function: Callable) -> Callable:
        """The compiled function of a jaxpr, which is kept with it."""
        key = (kind, id(jaxpr))
        if key not in self._compiled:
            self._compiled[key] = (jaxpr, jax.jit(function))
        return self._compiled[key][1]


def is_finite(value: Any) -> bool:
    """Whether all numbers of an array are finite."""
    return not _is_inexact(value) or bool(jnp.isfinite(value).all())


def first_bad(value: Any) -> tuple[float, tuple[int, ...], tuple[int, ...]]:
    """The first value of an array that is not finite, its index, and the shape of the array."""
    numbers = np.asarray(jnp.abs(value) if jnp.iscomplexobj(value) else value, np.float64)
    bad = ~np.isfinite(numbers)
    index = tuple(map(int, np.unravel_index(bad.argmax(), bad.shape)))
    return float(numbers[index]), index, numbers.shape


def _has_nan(value: Any) -> bool:
    return _is_inexact(value) and bool(jnp.isnan(value).any())


def _is_inexact(value: Any) -> bool:
    return jnp.issubdtype(getattr(value, "dtype", jnp.result_type(float)), jnp.inexact)


def _all_values(jaxpr: Jaxpr, given: Sequence[Any]) -> list[Any]:
    """The results of all equations."""
    values = dict(zip([*jaxpr.constvars, *jaxpr.invars], given, strict=True))
    evaluate(jaxpr.eqns, values)
    return [values[var] for var in made_by(jaxpr.eqns)]


def _ended(origin: Any, fallback: Origin | None) -> Found:
    """The end of a search. A constant, such as -inf of a mask, is not the cause of a NaN."""
    return Found(None, fallback if fallback and origin.operation == "constant" else origin)


def _shifted(found: Found | None, by: int) -> Found | None:
    """What was found in a function that reads the inputs of an equation from number `by` on."""
    if found is None:
        return None
    origin = found.origin
    if origin:
        origin = origin._replace(near={number + by: n for number, n in origin.near.items()})
    return Found(None if found.input is None else found.input + by, origin)


def _outside(jaxpr: Jaxpr, equation: JaxprEqn, origin: Origin) -> Origin:
    """An origin within the function that an equation calls, seen from around the equation."""
    given = equation.invars
    starts = {given[n]: d for n, d in origin.near.items() if not isinstance(given[n], Literal)}
    return origin._replace(near=_nearest(jaxpr, starts))


def _nearest(jaxpr: Jaxpr, starts: Mapping[Any, int]) -> dict[int, int]:
    """How many equations are between some variables and each input, by the number of the input."""
    distances: dict[Var, int] = dict(starts)
    for equation in reversed(jaxpr.eqns):
        after = [distances[var] for var in equation.outvars if var in distances]
        for var in variables(equation.invars) if after else ():
            distances[var] = min(distances.get(var, min(after) + 1), min(after) + 1)
    return {n: distances[var] for n, var in enumerate(jaxpr.invars) if var in distances}
