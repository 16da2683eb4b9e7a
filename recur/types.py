"""The types of recur: what a cell and a layer are. This file imports nothing of recur.

A value enters a recurrence in one of three lanes:

    params   constant over time: weights, a context, a mask drawn once a sequence
    xs       varies over time, independent of the state: inputs, validity, resets, keys
    carry    what each step hands to the next

All functions are pure, all values are pytrees, and the order `(params, carry, x) -> (carry, y)` is
that of `jax.lax.scan`. In the shapes, T is time, B batch, I input and H hidden.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from typing import Any, Literal, NamedTuple, Protocol

import jax

Params = Any  # a pytree of weights
Bound = Any  # params prepared for one sequence by `bind`
Carry = Any  # a pytree of arrays, what one step hands to the next
Context = Mapping[str, Any] | None  # named values that do not change over time
Shaped = Any  # a pytree of arrays or of jax.ShapeDtypeStruct: only shapes and dtypes are read
Direction = Literal["forward", "backward", "bidirectional", "stepwise"]


class Mask(NamedTuple):
    """Which steps count, and where segments start; `None` where all count and nothing resets.

    Attributes:
      valid: bool `[T]`; the carry holds through steps that are False, and outputs there are zero.
      reset: bool `[T]`, True at the first step of a segment, which starts from the initial carry.
    """

    valid: jax.Array | None = None
    reset: jax.Array | None = None


class CellInit(Protocol):
    """Draws the weights of a cell: `init(key, x, context=None) -> params`."""

    def __call__(self, key: jax.Array, x: Shaped, /, context: Context = None) -> Params:
        """Draws params.

        Args:
          key: a typed key, `jax.random.key(0)`.
          x: an example of one step of one sequence, or its `jax.ShapeDtypeStruct`.
          context: named values that do not change over time.
        """


class CellBind(Protocol):
    """Prepares params for one sequence: `bind(params, x, *, key=None, context=None) -> bound`."""

    def __call__(
        self,
        params: Params,
        x: Shaped,
        /,
        *,
        key: jax.Array | None = None,
        context: Context = None,
    ) -> Bound:
        """Computes once a sequence what all its steps share.

        Args:
          params: from `init`.
          x: the shape of one step.
          key: a typed key for noise that is drawn once a sequence; None for no noise.
          context: named values that do not change over time.
        """


class CellInitCarry(Protocol):
    """The carry before the first step: `init_carry(bound, x) -> carry`."""

    def __call__(self, bound: Bound, x: Shaped, /) -> Carry:
        """Makes the initial carry, which depends on params and shapes only.

        Args:
          bound: from `bind`.
          x: the shape of one step.
        """


class CellStep(Protocol):
    """One step of one sequence: `step(bound, carry, x, key=None) -> (carry, y)`."""

    def __call__(
        self, bound: Bound, carry: Carry, x: Any, key: jax.Array | None = None, /
    ) -> tuple[Carry, Any]:
        """Advances the recurrence by one step.

        Args:
          bound: from `bind`.
          carry: the carry of the step before.
          x: the input of the step, `[I]`.
          key: a typed key for the noise of the step; None for no noise.

        Returns:
          The next carry, of the same structure, shapes and dtypes, and the output.
        """
        ...


class LayerInit(Protocol):
    """Draws the weights of a layer: `init(key, xs, context=None) -> params`."""

    def __call__(self, key: jax.Array, xs: Shaped, /, context: Context = None) -> Params:
        """Draws params.

        Args:
          key: a typed key, `jax.random.key(0)`.
          xs: an example of the inputs, `[T, I]` or batched `[B, T, I]`, or its shape.
          context: named values that do not change over time, with a row axis when batched.
        """


class LayerBind(Protocol):
    """Prepares params for one sequence: `bind(params, xs, *, key=None, context=None) -> bound`."""

    def __call__(
        self,
        params: Params,
        xs: Shaped,
        /,
        *,
        key: jax.Array | None = None,
        context: Context = None,
    ) -> Bound:
        """Computes once a sequence what all its steps share; the arguments are those of `init`."""


class LayerBegin(Protocol):
    """The carry before the first step, given bound params: `begin(bound, xs) -> carry`."""

    def __call__(self, bound: Bound, xs: Shaped, /) -> Carry:
        """Makes the initial carry, which depends on params and shapes only."""


class LayerApply(Protocol):
    """Runs over a sequence: `apply(bound, carry, xs, mask, key, *, all_carries=False)`."""

    def __call__(
        self,
        bound: Bound,
        carry: Carry,
        xs: Any,
        mask: Mask,
        key: jax.Array | None,
        /,
        *,
        all_carries: bool = False,
    ) -> tuple[Carry, Any]:
        """Advances a layer over all its steps.

        Args:
          bound: from `bind`.
          carry: the carry before the first step read.
          xs: `[T, ...]`.
          mask: which steps count and where segments start, each bool `[T]` or None.
          key: a typed key for noise that is drawn at each step; None for no noise.
          all_carries: whether to return the carry after every step instead of the last.

        Returns:
          The last carry, or with `all_carries` the carries `[T, ...]`, and the outputs `[T, ...]`.
        """
        ...


class LayerOutputShape(Protocol):
    """The shapes of the outputs: `output_shape(bound, xs) -> jax.ShapeDtypeStruct`s."""

    def __call__(self, bound: Bound, xs: Shaped, /) -> Shaped:
        """Finds shapes and dtypes of the outputs without computing them."""


@dataclasses.dataclass(frozen=True, eq=False, repr=False)
class Cell:
    """A recurrence `(h_t, y_t) = step(bound, h_{t-1}, x_t)`, as four pure functions.

    A cell sees one step of one sequence: `x` is `[I]`. `recur.scan` and the other lifts make a
    `Layer` of it, which sees a whole sequence. Make one of your own functions with `recur.cell`.

    Attributes:
      init: draws params.
      bind: prepares params for a sequence, once; often the identity.
      init_carry: makes the carry before the first step.
      step: advances by one step.
      call: the call that made the cell, as `repr` shows it.
    """

    init: CellInit
    bind: CellBind
    init_carry: CellInitCarry
    step: CellStep
    call: str = dataclasses.field(default="Cell(...)", kw_only=True)

    def __repr__(self) -> str:
        return self.call
