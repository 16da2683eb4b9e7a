"""What all cells of other libraries need: a carry that stays what it is, and their noise off."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp

from recur.checks import describe, signature
from recur.types import Cell, Shaped


def foreign_cell(init: Callable, start: Callable, step: Callable, name: str) -> Cell:
    """A cell of plain functions whose step is checked; `bind` is the identity."""

    def bind(params, x, *, key=None, context=None):
        del x, key, context
        return params

    def init_cell(key, x, context=None):
        del context
        return init(key, x)

    def checked_step(params, carry, x, key=None):
        after, y = step(params, carry, x, key)
        came, expected = jax.eval_shape(lambda *trees: trees, after, carry)
        if signature(came) != signature(expected):
            raise ValueError(
                f"{name}: a carry must keep its structure, shapes and dtypes over a step; before "
                f"it, it is {describe(expected)}, after it {describe(came)}."
            )
        return after, y

    return Cell(init_cell, bind, start, checked_step)


def zeros_like(x: Shaped) -> Any:
    """Zeros of the shapes of one step, for libraries that initialise by running."""
    return jax.tree.map(lambda leaf: jnp.zeros(leaf.shape, leaf.dtype), x)


def named(came: Any, made: Any = None) -> str:
    """What came instead, in a few words, for a module writes itself over many lines."""
    name = f"the class {came.__name__}" if isinstance(came, type) else type(came).__name__
    return name if made is None else f"{name} which gives {type(made).__name__}"
