"""Layers one after the other: the usual way to write a model."""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial
from typing import Any

from recur.checks import check_entries, check_layer
from recur.combine.series import in_series
from recur.keys import split
from recur.lift.stepwise import stepwise
from recur.types import AnyCell, Bound, Layer, Reads


def chain(*parts: Any) -> Layer:
    """Feeds each layer the outputs of the one before.

        ys^0 = xs,    carry^l, ys^l = layer^l(ys^{l-1}),    ys = ys^L

    Linen modules, functions and names of activations are applied to each step by itself; Dropout
    and everything else that asks for `deterministic` is told whether a key was given.

    Args:
      *parts: layers, Linen modules, functions of one step, or names of `recur.modules.ACTIVATIONS`.

    Returns:
      A `Layer`; its params and its carry are tuples, one entry a part.

    Raises:
      ValueError: when there are no parts, a layer is batched, or a module has mutable collections.
      TypeError: when a part is a cell that has not been lifted, or nothing that can be applied.

    Example:
      >>> import jax, jax.numpy as jnp, recur
      >>> from flax import linen as nn
      >>> model = recur.chain(
      ...     nn.Embed(10, 8), recur.scan(recur.lstm(16)), nn.Dropout(0.5), nn.Dense(10)
      ... )
      >>> tokens = jnp.array([3, 1, 4, 1, 5])
      >>> params = model.init(jax.random.key(0), tokens)
      >>> model(params, tokens).shape
      (5, 10)
    """
    if not parts:
        raise ValueError("chain: expected at least one part, got none.")
    layers = tuple(_as_layer(part) for part in parts)

    init, bind, start = in_series(layers, _first_outputs)

    def feed(parts, bound, carry, xs, *, key=None, **marks):
        check_entries("carry", carry, len(parts))
        carries = []
        keys = split(key, len(parts))
        for part, b, c, part_key in zip(parts, bound, carry, keys, strict=True):
            c, xs = part(b, c, xs, key=part_key, **marks)
            carries.append(c)
        return tuple(carries), xs

    apply = partial(feed, [layer.apply for layer in layers])
    follow = partial(feed, [layer.follow for layer in layers])
    return Layer(init, bind, start, apply, follow, reads=_reads(layers))


def _reads(layers: Sequence[Layer]) -> Reads:
    """The one direction of all parts that have one."""
    directions = {layer.reads for layer in layers} - {"step by step"} or {"step by step"}
    return directions.pop() if len(directions) == 1 else "both ways"


def _as_layer(part: Any) -> Layer:
    if isinstance(part, Layer):
        check_layer(part, "chain")
        return part
    if isinstance(part, AnyCell):
        raise TypeError(
            "chain: expected layers, got a cell. Say how it runs over time: recur.scan(cell)."
        )
    return stepwise(part)


def _first_outputs(layer: Layer, bound: Bound, xs: Any) -> Any:
    return layer.apply(bound, layer.start(bound, xs), xs)[1]
