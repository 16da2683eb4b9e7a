"""A batched layer, applied to one sequence."""

from __future__ import annotations

import dataclasses
from typing import Any

import jax
import jax.numpy as jnp

from recur.layer import Layer
from recur.types import Mask, Shaped


def one_row(layer: Layer) -> Layer:
    """Makes a layer over one sequence from a batched one; another layer is returned as it is."""
    if not layer.is_batched:
        return layer

    def init(key, xs, context=None):
        return layer.init(key, _add(xs), context=_add(context))

    def bind(params, xs, *, key=None, context=None):
        return layer.bind(params, _add(xs), key=key, context=_add(context))

    def begin(bound, xs):
        return _drop(layer.begin(bound, _add(xs)))

    def apply(bound, carry, xs, mask, key, *, all_carries=False):
        mask = Mask(*(None if flags is None else flags[None] for flags in mask))
        carry, ys = layer.apply(bound, _add(carry), _add(xs), mask, key, all_carries=all_carries)
        return _drop(carry), _drop(ys)

    row = dataclasses.replace(
        layer,
        init=init,
        bind=bind,
        begin=begin,
        apply=apply,
        find_output_shape=None,
        batch_axes=layer.batch_axes - 1,
        parts={},
    )
    return one_row(row)


def _add(tree: Shaped) -> Any:
    """Adds a batch axis of one row to arrays, or to shapes."""

    def add(leaf):
        if isinstance(leaf, jax.ShapeDtypeStruct):
            return jax.ShapeDtypeStruct((1, *leaf.shape), leaf.dtype)
        return jnp.asarray(leaf)[None]

    return jax.tree.map(add, tree)


def _drop(tree: Any) -> Any:
    return jax.tree.map(lambda leaf: leaf[0], tree)
