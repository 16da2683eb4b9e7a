"""The types of recur: cells, layers and the protocols of their functions.

A recurrence reads three kinds of values:

    params   constant over time: weights, a context, a mask drawn once per sequence
    xs       varies over time, independent of the state: inputs, masks, resets, keys
    carry    the state that each step passes to the next

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
Carry = Any  # a pytree of arrays, the state that one step passes to the next
Context = Mapping[str, Any] | None  # named values that do not change over time
Shaped = Any  # a pytree of arrays or of jax.ShapeDtypeStruct: only shapes and dtypes are read
Direction = Literal["forward", "backward", "bidirectional", "stepwise"]


class Mask(NamedTuple):
    """Masks of the steps that count and of the steps where segments start.

    Attributes:
      valid: bool `[T]`, or None if all steps count. Where it is False, the carry is kept and the
        output is zero.
      reset: bool `[T]`, or None if there is one segment. True at the first step of a segment,
        which starts from the initial carry.
    """

    valid: jax.Array | None = None
    reset: jax.Array | None = None


class CellInit(Protocol):
    """Draws the weights of a cell: `init(key, x, context=None) -> params`."""

    def __call__(self, key: jax.Array, x: Shaped, /, context: Context = None) -> Params:
        """Draws the weights of a cell.

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
        """Computes what all steps of a sequence share, once per sequence.

        Args:
          params: from `init`.
          x: the shape of one step.
          key: a typed key for noise that is drawn once per sequence; None for no noise.
          context: named values that do not change over time.
        """


class CellInitCarry(Protocol):
    """Returns the carry before the first step: `init_carry(bound, x) -> carry`."""

    def __call__(self, bound: Bound, x: Shaped, /) -> Carry:
        """Returns the initial carry, which depends on params and shapes only.

        Args:
          bound: from `bind`.
          x: the shape of one step.
        """


class CellStep(Protocol):
    """Computes one step of one sequence: `step(bound, carry, x, key=None) -> (carry, y)`."""

    def __call__(
        self, bound: Bound, carry: Carry, x: Any, key: jax.Array | None = None, /
    ) -> tuple[Carry, Any]:
        """Advances the recurrence by one step.

        Args:
          bound: from `bind`.
          carry: the carry after the previous step.
          x: the input of the step, `[I]`.
          key: a typed key for the noise of the step; None for no noise.

        Returns:
          The next carry, with the structure, shapes and dtypes of `carry`, and the output.
        """
        ...


class LayerInit(Protocol):
    """Draws the weights of a layer: `init(key, xs, context=None) -> params`."""

    def __call__(self, key: jax.Array, xs: Shaped, /, context: Context = None) -> Params:
        """Draws the weights of a layer.

        Args:
          key: a typed key, `jax.random.key(0)`.
          xs: an example of the inputs, `[T, I]` or batched `[B, T, I]`, or its shape.
          context: named values that do not change over time, with a batch axis if batched.
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
        """Computes what all steps of a sequence share, once per sequence.

        Args:
          params: from `init`.
          xs: the inputs, or their shape.
          key: a typed key for noise that is drawn once per sequence; None for no noise.
          context: named values that do not change over time.
        """


class LayerBegin(Protocol):
    """Returns the carry before the first step: `begin(bound, xs) -> carry`."""

    def __call__(self, bound: Bound, xs: Shaped, /) -> Carry:
        """Returns the initial carry, which depends on params and shapes only."""


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
        """Runs a layer over all its steps.

        Args:
          bound: from `bind`.
          carry: the carry before the first step that is read.
          xs: the inputs `[T, ...]`.
          mask: the steps that count and the first steps of segments, each bool `[T]` or None.
          key: a typed key for noise that is drawn at each step; None for no noise.
          all_carries: whether to return the carry after every step instead of the last.

        Returns:
          The last carry, or with `all_carries` the carries `[T, ...]`, and the outputs `[T, ...]`.
        """
        ...


class LayerOutputShape(Protocol):
    """Returns the shapes of the outputs: `output_shape(bound, xs) -> shapes`."""

    def __call__(self, bound: Bound, xs: Shaped, /) -> Shaped:
        """Returns the `jax.ShapeDtypeStruct` of each output without computing it."""


@dataclasses.dataclass(frozen=True, eq=False, repr=False)
class Cell:
    """A recurrent cell `(h_t, y_t) = step(bound, h_{t-1}, x_t)`, as four pure functions.

    A cell computes one step of one sequence: `x` is `[I]`. `recur.scan` and the other lifts turn it
    into a `Layer`, which runs over a whole sequence. To write your own cell, use `recur.cell`.

    Attributes:
      init: `init(key, x, context=None) -> params`; draws the weights.
      bind: `bind(params, x, *, key=None, context=None) -> bound`; prepares params once per
        sequence, often the identity.
      init_carry: `init_carry(bound, x) -> carry`; returns the carry before the first step.
      step: `step(bound, carry, x, key=None) -> (carry, y)`; computes one step.
      call: the call that created the cell, shown by `repr`.
    """

    init: CellInit
    bind: CellBind
    init_carry: CellInitCarry
    step: CellStep
    call: str = dataclasses.field(default="Cell(...)", kw_only=True)

    def __repr__(self) -> str:
        return self.call
