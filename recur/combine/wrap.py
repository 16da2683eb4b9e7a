"""Shared code of combinators: wrapping a cell, shapes of its output, concatenation."""

from __future__ import annotations

from typing import Any

import jax
import jax.numpy as jnp

from recur.checks import check_params, describe
from recur.types import Bound, Carry, Cell, CellBind, CellInit, CellStep, Context, Params, Shaped


def wrap_bound(cell: Cell, init: CellInit, step: CellStep, bind: CellBind) -> Cell:
    """Makes a cell whose bound params hold those of `cell` in a field `cell`.

    Args:
      cell: the wrapped cell, whose initial carry is used.
      init: draws the params of both.
      step: one step, from the bound params of both.
      bind: binds the params of both, such as `bind_field`, which binds only the cell.
    """

    def init_carry(bound, x):
        return cell.init_carry(bound.cell, x)

    return Cell(init, bind, init_carry, step)


def bind_field(cell: Cell, caller: str, record: type) -> CellBind:
    """Makes a `bind` for params of the type `record`, which binds only their field `cell`."""

    def bind(params, x, *, key=None, context=None):
        check_params(caller, params, record)
        return params._replace(cell=cell.bind(params.cell, x, key=key, context=context))

    return bind


def first_shapes(
    cell: Cell, params: Params, x: Shaped, context: Context
) -> tuple[Bound, Carry, Any]:
    """Returns the shapes of the bound params, of the initial carry and of the output of a step."""

    def first(params, x, context):
        bound = cell.bind(params, x, context=context)
        carry = cell.init_carry(bound, x)
        return bound, carry, cell.step(bound, carry, x)[1]

    return jax.eval_shape(first, params, x, context)


def output_shape(cell: Cell, params: Params, x: Shaped, context: Context) -> Shaped:
    """Returns the shape of the output of one step."""
    return first_shapes(cell, params, x, context)[2]


def first_output(cell: Cell, bound: Bound, x: Shaped) -> Any:
    """Returns the output of the first step without noise; only its shape is used."""
    return cell.step(bound, cell.init_carry(bound, x), x)[1]


def side_by_side(caller: str, *parts: Any) -> jax.Array:
    """Concatenates arrays along the last axis, in the dtype that all promote to.

    Raises:
      ValueError: when they are not arrays that differ only in their last axis.
    """
    shapes = [getattr(part, "shape", ()) for part in parts]
    if () in shapes or len({shape[:-1] for shape in shapes}) > 1:
        raise ValueError(
            f"{caller}: expected arrays to concatenate that differ only in their last axis, got "
            f"{', '.join(map(describe, parts))}. Put recur.readout inside to make the output one "
            "array, or recur.readin around to embed tokens; stack a list of steps with jnp.stack."
        )
    # bfloat16 weights with float32 inputs are allowed, also under strict dtype promotion.
    with jax.numpy_dtype_promotion("standard"):
        return jnp.concatenate(parts, axis=-1)


def hidden_of(carry: Carry, caller: str) -> jax.Array:
    """Returns the hidden state h of a carry: the carry itself, or its field `hidden`.

    Raises:
      TypeError: when it is neither.
    """
    h: Any = getattr(carry, "hidden", carry)
    if not hasattr(h, "shape"):
        raise TypeError(
            f"{caller}: expected a carry that is one array, the hidden state, or a NamedTuple with "
            f"a field hidden, such as LSTMState, got {type(carry).__name__}."
        )
    return h


def with_hidden(carry: Carry, h: jax.Array) -> Carry:
    """Replaces the hidden state of a carry."""
    return carry._replace(hidden=h) if hasattr(carry, "hidden") else h
