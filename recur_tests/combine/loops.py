"""What remains in the loop of a lifted cell, from the structure found in its step."""

from __future__ import annotations

from typing import Any

import jax
import jax.numpy as jnp
from jax.extend.core import jaxprs_in_params

import recur
from recur.types import Cell
from recur_tests.helpers import random_like

_PRODUCTS = ("dot_general", "product", "loop_product")
XS = jax.ShapeDtypeStruct((5, 3), jnp.float64)


def products_in_loop(
    cell: Cell, xs: Any = XS, key: Any = None, context: Any = None
) -> list[tuple[int, ...]]:
    """The shapes of all products in the loop of `scan(cell)`, smallest first.

    Products of one factor are one there: `[(16,)]` are the four of an LSTM of 4 units.
    """
    layer = recur.scan(cell)
    xs = random_like(xs, 0)
    params = jax.eval_shape(lambda k: layer.init(k, xs, context=context), jax.random.key(0))
    run = jax.make_jaxpr(lambda params: layer.run(params, xs, key=key, context=context))(params)
    return sorted(_products(run.jaxpr, in_loop=False))


def _products(jaxpr: Any, in_loop: bool) -> list[tuple[int, ...]]:
    found = []
    for equation in jaxpr.eqns:
        if in_loop and equation.primitive.name in _PRODUCTS:
            found.append(equation.outvars[0].aval.shape)
        for inner in jaxprs_in_params(equation.params):
            found += _products(inner, in_loop or equation.primitive.name == "scan")
    return found
