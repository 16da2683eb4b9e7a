"""Shared code of cells of other libraries."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp

from recur.checks import check_params
from recur.types import Cell, Shaped


def foreign_cell(
    name: str, record: type, init: Callable, init_carry: Callable, step: Callable
) -> Cell:
    """Makes a cell from functions; `bind` checks that params are of type `record`."""

    def bind(params, x, *, key=None, context=None):
        del key, context
        _check_no_list(x, name)
        check_params(name, params, record)
        return params

    def init_cell(key, x, context=None):
        del context
        _check_no_list(x, name)
        return init(key, x)

    def step_cell(params, carry, x, key=None):
        return step(params, carry, x, key)

    return Cell(init_cell, bind, init_carry, step_cell)


def _check_no_list(x: Any, name: str) -> None:
    """Raises a TypeError if x is a list, such as a list of steps."""
    if isinstance(x, list):
        raise TypeError(
            f"{name}: expected x as the cell reads it, got a list of {len(x)}. Stack a list of "
            "steps with jnp.stack."
        )


def zeros_like(x: Shaped) -> Any:
    """Returns zeros with the shapes of x, for libraries that initialize by a call of the cell."""
    return jax.tree.map(lambda leaf: jnp.zeros(leaf.shape, leaf.dtype), x)


def named(came: Any, made: Any = None) -> str:
    """Describes a wrong argument by its type, since the repr of a module is many lines long."""
    name = f"the class {came.__name__}" if isinstance(came, type) else type(came).__name__
    return name if made is None else f"{name} which returns {type(made).__name__}"
