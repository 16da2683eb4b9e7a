"""What combinators are made of: maps around a cell under which its structure survives."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp

from recur.checks import describe
from recur.keys import split
from recur.types import AffineCell, AnyCell, Bound, Carry, Cell, Context, GatedCell, Params, Shaped

Mapped = Cell | GatedCell | AffineCell  # the kinds of cell that can be mapped


def with_structure(cell: AnyCell) -> Mapped:
    """The cell with as much structure as it can be mapped under; a stack has none."""
    if isinstance(cell, GatedCell | AffineCell):
        return cell
    return Cell(cell.init, cell.bind, cell.start, cell.step)


def within(cell: AnyCell, init: Callable[..., Params], bind: Callable[..., Bound]) -> Mapped:
    """The cell of the same kind that reads its own bound params at `bound.cell`."""
    cell = with_structure(cell)

    def inside(function):
        return lambda bound, *args, **options: function(bound.cell, *args, **options)

    parts = {name: inside(function) for name, function in cell._asdict().items()}
    return type(cell)(**{**parts, "init": init, "bind": bind})


def map_outputs(cell: AnyCell, function: Callable[[Any, Any, Any, Any], Any]) -> Mapped:
    """The cell with outputs `function(bound, v_t, x_t, key)`; its structure survives."""
    cell = with_structure(cell)
    if not isinstance(cell, Cell):

        def read(bound, value, x, key=None):
            cell_key, map_key = split(key, 2)
            return function(bound, cell.read(bound, value, x, cell_key), x, map_key)

        return cell._replace(read=read)

    def step(bound, carry, x, key=None):
        cell_key, map_key = split(key, 2)
        carry, v = cell.step(bound, carry, x, cell_key)
        return carry, function(bound, v, x, map_key)

    return Cell(cell.init, cell.bind, cell.start, step)


def map_inputs(cell: AnyCell, function: Callable[[Any, Any, Any], Any]) -> Mapped:
    """The cell with inputs `function(bound, x_t, key)`; its structure survives.

    `init` and `bind` stay as they are: who maps inputs knows the x for which the cell has its
    weights. A cell that tells its structure and looks at its input once more after the loop, as
    `residual` does, sees it without noise there.
    """
    cell = with_structure(cell)

    def noiseless(bound, x):
        return function(bound, x, None)

    def start(bound, x):
        return cell.start(bound, jax.eval_shape(noiseless, bound, x))

    def of_input(part):
        def mapped(bound, x, key=None):
            map_key, cell_key = split(key, 2)
            return part(bound, function(bound, x, map_key), cell_key)

        return mapped

    def read(bound, value, x, key=None):
        return cell.read(bound, value, noiseless(bound, x), key)

    def step(bound, carry, x, key=None):
        map_key, cell_key = split(key, 2)
        return cell.step(bound, carry, function(bound, x, map_key), cell_key)

    if isinstance(cell, GatedCell):
        return cell._replace(start=start, project=of_input(cell.project), read=read)
    if isinstance(cell, AffineCell):
        return cell._replace(start=start, coefficients=of_input(cell.coefficients), read=read)
    return Cell(cell.init, cell.bind, start, step)


def first_output(cell: AnyCell, bound: Bound, x: Shaped) -> Any:
    """What the first step gives from the cell's own start, noise off; for its shape."""
    return cell.step(bound, cell.start(bound, x), x)[1]


def output_shape(cell: AnyCell, params: Params, x: Shaped, context: Context) -> Shaped:
    """What one step gives, as `jax.ShapeDtypeStruct`s."""

    def first(params, x, context):
        return first_output(cell, cell.bind(params, x, context=context), x)

    return jax.eval_shape(first, params, x, context)


def side_by_side(asker: str, *parts: Any) -> jax.Array:
    """`[x, y, ...]`, for arrays that differ in their last axis alone, in the dtype of all.

    Raises:
      ValueError: when they do not.
    """
    shapes = [getattr(part, "shape", ()) for part in parts]
    if () in shapes or len({shape[:-1] for shape in shapes}) > 1:
        raise ValueError(
            f"{asker} puts arrays side by side, which may differ in their last axis alone; got "
            f"{', '.join(map(describe, parts))}. Make one array of an output by recur.readout "
            f"inside of it, vectors of tokens by recur.readin around it."
        )
    # Computing in bfloat16 on inputs in float32 is no mistake, however strict promotion is.
    with jax.numpy_dtype_promotion("standard"):
        return jnp.concatenate(parts, axis=-1)


def hidden_of(cell: AnyCell, bound: Bound, carry: Carry, asker: str) -> jax.Array:
    """The hidden state h that a carry holds: what a gated cell feeds back, else what it is called.

    Raises:
      TypeError: when the cell does not tell, and the carry is neither h nor has a field `hidden`.
    """
    if isinstance(cell, GatedCell):
        return cell.hidden(bound, carry)
    return named_hidden(carry, asker)


def with_hidden(carry: Carry, h: jax.Array, asker: str) -> Carry:
    """The carry with another hidden state h: it is h itself, or has a field `hidden`."""
    named_hidden(carry, asker)
    return carry._replace(hidden=h) if hasattr(carry, "_replace") else h


def named_hidden(carry: Carry, asker: str) -> jax.Array:
    """The hidden state h that `with_hidden` sets: the carry itself, or its field `hidden`."""
    h: Any = getattr(carry, "hidden", carry)
    if not hasattr(h, "shape"):
        raise TypeError(
            f"{asker}: which part of the carry is the hidden state? Expected an array, or a "
            f"NamedTuple with the field hidden, as LSTMState; got {type(carry).__name__}."
        )
    return h
