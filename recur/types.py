"""The types: a cell, the two kinds of cell that tell more, and a layer.

A value that meets a cell travels in one of three lanes, by when it is known:

    params   does not change over time: weights, a learned start, a context, a mask drawn once
    xs       changes over time, but does not depend on the state: inputs, resets, keys
    carry    what each step computes for the next

All functions are pure, all values are pytrees, and the order is that of `jax.lax.scan`.
"""

from __future__ import annotations

import dataclasses
import inspect
from collections.abc import Callable, Mapping
from typing import Any, Literal, NamedTuple, Protocol, runtime_checkable

import jax

from recur.keys import split
from recur.products import product

Params = Any  # a pytree of weights
Bound = Any  # params made ready for one sequence by `bind`
Carry = Any  # a pytree of what one step hands to the next
Context = Mapping[str, Any] | None  # what does not change over time, by name
Reads = Literal["forwards", "backwards", "both ways", "step by step"]
Shaped = Any  # arrays, or jax.ShapeDtypeStruct: only shapes and dtypes count


@runtime_checkable
class AnyCell(Protocol):
    """What every kind of cell offers: one step of one recurrence, for one sequence."""

    @property
    def init(self) -> Callable[..., Params]:
        """`init(key, x, context=None) -> params`: `x` is an example of one step or its shape."""

    @property
    def bind(self) -> Callable[..., Bound]:
        """`bind(params, x, *, key=None, context=None) -> bound`: once a sequence, before it."""

    @property
    def start(self) -> Callable[..., Carry]:
        """`start(bound, x) -> carry`: before the first step; only the shape of x counts."""

    @property
    def step(self) -> Callable[..., tuple[Carry, Any]]:
        """`step(bound, carry, x, key=None) -> (carry, y)`: noise is on when a key is given."""


class Cell(NamedTuple):
    """A recurrence `(h_t, y_t) = step(bound, h_{t-1}, x_t)`, as four pure functions."""

    init: Callable[..., Params]
    bind: Callable[..., Bound]
    start: Callable[..., Carry]
    step: Callable[..., tuple[Carry, Any]]


class GatedCell(NamedTuple):
    """A cell that tells its structure: products on both sides, elementwise gates between them.

        u_t      = project(bound, x_t)                  all steps as one product, before the loop
        m_t      = hidden(bound, carry_{t-1}) @ W       for each W of kernels(bound)
        carry_t, v_t = gates(bound, carry_{t-1}, u_t, m_t)
        y_t      = read(bound, v_t, x_t)                all steps as one product, after the loop

    `step` is derived from the parts, so the sequential meaning is always there.

    Attributes:
      init: as of a `Cell`.
      bind: as of a `Cell`.
      start: as of a `Cell`.
      project: `project(bound, x, key=None) -> u`, what the input contributes, written for one step.
      hidden: `hidden(bound, carry) -> h`, the `[H]` that is fed back.
      kernels: `kernels(bound) -> Ws`, a pytree of `[H, H]`, or `[heads, d, d]` for block-diagonal
        ones; it may be empty. They are the only products inside the loop.
      gates: `gates(bound, carry, u, m) -> (carry, v)`, elementwise in carry, u and m; `m` has the
        structure of `kernels(bound)`.
      read: `read(bound, v, x, key=None) -> y`, what is made of the output, written for one step.
    """

    init: Callable[..., Params]
    bind: Callable[..., Bound]
    start: Callable[..., Carry]
    project: Callable[..., Any]
    hidden: Callable[..., jax.Array]
    kernels: Callable[..., Any]
    gates: Callable[..., tuple[Carry, Any]]
    read: Callable[..., Any]

    def advance(self, bound: Bound, carry: Carry, u: Any) -> tuple[Carry, Any]:
        """The part of a step that depends on the carry: `(carry_{t-1}, u_t) -> (carry_t, v_t)`."""
        return self.gates(bound, carry, u, self.products(bound, carry))

    def products(self, bound: Bound, carry: Carry) -> Any:
        """`m_t = hidden(bound, carry_{t-1}) @ W` for each W of `kernels(bound)`."""
        h = self.hidden(bound, carry)
        return jax.tree.map(lambda kernel: product(h, kernel), self.kernels(bound))

    def step(self, bound: Bound, carry: Carry, x: Any, key: jax.Array | None = None):
        """`(carry_{t-1}, x_t) -> (carry_t, y_t)`, from the parts."""
        project_key, read_key = split(key, 2)
        u = self.project(bound, x, project_key)
        carry, v = self.advance(bound, carry, u)
        return carry, self.read(bound, v, x, read_key)


class Dropped(NamedTuple):
    """What the input contributes to a candidate, and the mask on it, of `recurrent_dropout`."""

    value: jax.Array
    mask: jax.Array


class AffineCell(NamedTuple):
    """A cell linear in its carry, `carry_t = a_t * carry_{t-1} + b_t`, elementwise.

    `step` is derived from the parts.

    Attributes:
      init: as of a `Cell`.
      bind: as of a `Cell`.
      start: as of a `Cell`.
      coefficients: `coefficients(bound, x, key=None) -> (a, b)`, each with the structure of carry.
      read: `read(bound, carry, x, key=None) -> y`.
    """

    init: Callable[..., Params]
    bind: Callable[..., Bound]
    start: Callable[..., Carry]
    coefficients: Callable[..., tuple[Carry, Carry]]
    read: Callable[..., Any]

    def step(self, bound: Bound, carry: Carry, x: Any, key: jax.Array | None = None):
        """`(carry_{t-1}, x_t) -> (carry_t, y_t)`, from the parts."""
        coefficients_key, read_key = split(key, 2)
        a, b = self.coefficients(bound, x, coefficients_key)
        carry = jax.tree.map(lambda a, c, b: a * c + b, a, carry, b)
        return carry, self.read(bound, carry, x, read_key)


@dataclasses.dataclass(frozen=True)
class Layer:
    """A recurrence over one whole sequence: the four functions of a cell, with a time axis.

    `jit`, `checkpoint` and `eval_shape` hold weak references to what they are given, which tuples
    do not allow: so a layer is a dataclass. Build it once and close over it.

    Attributes:
      init: `init(key, xs, context=None) -> params`; `xs` is `[T, ...]` or its shape.
      bind: `bind(params, xs, *, key=None, context=None) -> bound`, once a sequence.
      start: `start(bound, xs) -> carry`; only the shape of xs counts.
      apply: `apply(bound, carry, xs, *, length=None, valid=None, reset=None, key=None)
        -> (carry, ys)`.
      follow: as `apply`, but of the carry after every step: `(carries, ys)`, each `[T, ...]`.
      reads: in which direction; "step by step" where there is no carry, and so no direction.
      batched: whether all values have a row axis in front of the time axis, as `batch` makes them.
    """

    init: Callable[..., Params]
    bind: Callable[..., Bound]
    start: Callable[..., Carry]
    apply: Callable[..., tuple[Carry, Any]]
    follow: Callable[..., tuple[Carry, Any]]
    reads: Reads = "forwards"
    batched: bool = False

    @property
    def streams(self) -> bool:
        """Whether a sequence may be fed piece by piece as it comes, the carry handed on."""
        return self.reads in ("forwards", "step by step")

    def run(
        self,
        params: Params,
        xs: Any,
        *,
        carry: Carry = None,
        context: Context = None,
        length: Any = None,
        valid: Any = None,
        reset: Any = None,
        key: jax.Array | None = None,
    ) -> tuple[Carry, Any]:
        """Binds, starts and applies: `(params, xs) -> (carry_T, y_{1..T})`.

        Args:
          params: from `init`.
          xs: `[T, ...]`, a pytree of arrays with one time axis in front.
          carry: the carry to start from; the layer's own start when not given.
          context: mapping of names to what does not change over time.
          length: integer, how many steps count; those after it are padding.
          valid: bool `[T]`, which steps count; may have holes.
          reset: bool `[T]`, true at the first step of a segment.
          key: a typed key; noise is on when it is given.

        Returns:
          The carry after the last valid step, and `[T, ...]` outputs, zero where invalid.
        """
        marks = {"length": length, "valid": valid, "reset": reset}
        return self._begin(self.apply, params, xs, carry, context, key, marks)

    def trajectory(self, params, xs, *, carry=None, context=None, key=None, **marks):
        """As `run`, but gives the carry after every step: `(params, xs) -> (carry_t, y_t)_{1..T}`.

        The carries `[T, ...]` hold through invalid steps; of a layer that reads backwards, carry_t
        has seen the steps from t to the end. Takes the options of `run`.
        """
        return self._begin(self.follow, params, xs, carry, context, key, marks)

    def __call__(self, params: Params, xs: Any, **options: Any) -> Any:
        """The outputs of `run`, from the layer's own start; takes its options."""
        return self.run(params, xs, **options)[1]

    def _begin(self, go_on, params, xs, carry, context, key, marks):
        """Binds and starts."""
        bind_key, apply_key = split(key, 2)
        bound = self.bind(params, xs, key=bind_key, context=context)
        carry = self.start(bound, xs) if carry is None else carry
        return go_on(bound, carry, xs, key=apply_key, **marks)


def cell(
    init: Callable[..., Params],
    start: Callable[..., Carry],
    step: Callable[..., tuple[Carry, Any]],
    bind: Callable[..., Bound] | None = None,
) -> Cell:
    """Makes a cell of plain functions.

        carry_0 = start(bound, x),    carry_t, y_t = step(bound, carry_{t-1}, x_t)

    Args:
      init: `init(key, x) -> params`; it may take `context` too.
      start: `start(params, x) -> carry`.
      step: `step(params, carry, x) -> (carry, y)`; it may take `key` too, for noise.
      bind: `bind(params, x) -> bound`, what is to be done once a sequence; it may take `key` and
        `context` too. The identity when not given.

    Returns:
      A `Cell`, on which every combinator and every lift that runs any cell works.

    Example:
      >>> import jax, jax.numpy as jnp, recur
      >>> def step(leak, total, x):
      ...     total = leak * total + x
      ...     return total, total
      >>> leaky = recur.cell(
      ...     init=lambda key, x: jnp.asarray(0.5),
      ...     start=lambda leak, x: jnp.zeros(x.shape),
      ...     step=step,
      ... )
      >>> layer = recur.scan(leaky)
      >>> layer(jnp.asarray(0.5), jnp.ones((3, 1)))[:, 0].tolist()
      [1.0, 1.5, 1.75]
    """
    bind = (lambda params, x: params) if bind is None else bind

    def init_cell(key, x, context=None):
        return init(key, x, **_taken_by(init, context=context))

    def bind_cell(params, x, *, key=None, context=None):
        return bind(params, x, **_taken_by(bind, key=key, context=context))

    def step_cell(bound, carry, x, key=None):
        return step(bound, carry, x, **_taken_by(step, key=key))

    return Cell(init_cell, bind_cell, start, step_cell)


def _taken_by(function: Callable, **options: Any) -> dict[str, Any]:
    """Those of `options` that `function` has a parameter for."""
    parameters = inspect.signature(function).parameters
    if any(parameter.kind is parameter.VAR_KEYWORD for parameter in parameters.values()):
        return options
    return {name: value for name, value in options.items() if name in parameters}
