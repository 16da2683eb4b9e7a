"""What combinators share: a cell within a cell, shapes of what it gives, arrays side by side."""

from __future__ import annotations

from typing import Any

import jax
import jax.numpy as jnp

from recur.checks import check_params, describe
from recur.types import Bound, Carry, Cell, CellBind, CellInit, CellStep, Context, Params, Shaped


def wrap_bound(cell: Cell, init: CellInit, step: CellStep, bind: CellBind) -> Cell:
    """Makes a cell whose bound params hold those of `cell` in a field `cell`.

    Args:
      cell: the cell inside; the initial carry is its own.
      init: draws the params of both.
      step: one step, given the bound params of both.
      bind: binds the params of both, as `bind_field` does where only the cell is bound.
    """

    def init_carry(bound, x):
        return cell.init_carry(bound.cell, x)

    return Cell(init, bind, init_carry, step)


def bind_field(cell: Cell, asker: str, record: type) -> CellBind:
    """The `bind` of params of the type `record` that binds their field `cell` alone."""

    def bind(params, x, *, key=None, context=None):
        check_params(asker, params, record)
        return params._replace(cell=cell.bind(params.cell, x, key=key, context=context))

    return bind


def first_shapes(
    cell: Cell, params: Params, x: Shaped, context: Context
) -> tuple[Bound, Carry, Any]:
    """The shapes of the bound params, of the initial carry, and of what one step gives."""

    def first(params, x, context):
        bound = cell.bind(params, x, context=context)
        carry = cell.init_carry(bound, x)
        return bound, carry, cell.step(bound, carry, x)[1]

    return jax.eval_shape(first, params, x, context)


def output_shape(cell: Cell, params: Params, x: Shaped, context: Context) -> Shaped:
    """The shape of what one step gives."""
    return first_shapes(cell, params, x, context)[2]


def first_output(cell: Cell, bound: Bound, x: Shaped) -> Any:
    """What the first step gives without noise; evaluate its shape only."""
    return cell.step(bound, cell.init_carry(bound, x), x)[1]


def side_by_side(asker: str, *parts: Any) -> jax.Array:
    """`[x, y, ...]`, concatenated along the last axis, in the dtype that all promote to.

    Raises:
      ValueError: when they are not arrays that differ in their last axis alone.
    """
    shapes = [getattr(part, "shape", ()) for part in parts]
    if () in shapes or len({shape[:-1] for shape in shapes}) > 1:
        raise ValueError(
            f"{asker} concatenates arrays along their last axis, in which alone they may differ; "
            f"got {', '.join(map(describe, parts))}. Make one array of an output with "
            "recur.readout inside of it, and vectors of tokens with recur.readin around it."
        )
    # Computing in bfloat16 on inputs in float32 is no mistake, however strict promotion is.
    with jax.numpy_dtype_promotion("standard"):
        return jnp.concatenate(parts, axis=-1)


def hidden_of(carry: Carry, asker: str) -> jax.Array:
    """The hidden state h of a carry: the carry itself, or its field `hidden`.

    Raises:
      TypeError: when it is neither.
    """
    h: Any = getattr(carry, "hidden", carry)
    if not hasattr(h, "shape"):
        raise TypeError(
            f"{asker}: expected a carry that is the hidden state, one array, or a NamedTuple with "
            f"a field hidden, such as LSTMState; got {type(carry).__name__}."
        )
    return h


def with_hidden(carry: Carry, h: jax.Array) -> Carry:
    """The carry with another hidden state, where `hidden_of` finds it."""
    return carry._replace(hidden=h) if hasattr(carry, "hidden") else h
