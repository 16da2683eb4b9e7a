"""Layers in series, the usual way to build a model."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from recur.call_repr import call_repr
from recur.checks import check_entries
from recur.combine.series import in_series
from recur.keys import split
from recur.layer import Layer, check_layer
from recur.lift.stepwise import stepwise
from recur.types import Cell, Direction


@call_repr
def chain(*parts: Any) -> Layer:
    """Applies layers and modules in series (sequential model).

        ys^0 = xs,    carry^l, ys^l = layer^l(ys^{l-1}),    ys = ys^L

    Each part reads the outputs of the previous one. Modules, functions and activations are applied
    to each step independently. Dropout, and every module with an argument `deterministic`, is on if
    a key is given.

    Args:
      *parts: layers, modules of Flax Linen, Flax NNX or Equinox, functions of one step,
        or names of `recur.modules.ACTIVATIONS`.

    Returns:
      A `Layer`; its params and its carry are tuples with one entry per part.

    Raises:
      ValueError: if there are no parts, a layer is batched or pooled, or a module has mutable
        collections.
      TypeError: if a part is a cell that has not been lifted, or cannot be applied.

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
    layers = tuple(as_layer(part, "chain") for part in parts)

    init, bind, begin = in_series(
        layers,
        lambda layer: layer.begin,
        lambda layer, bound, xs: layer.output_shape(bound, xs),
    )

    def apply(bound, carry, xs, mask, key, *, all_carries=False):
        check_entries("carry", carry, len(layers))
        carries = []
        keys = split(key, len(layers))
        for layer, b, c, layer_key in zip(layers, bound, carry, keys, strict=True):
            c, xs = layer.apply(b, c, xs, mask, layer_key, all_carries=all_carries)
            carries.append(c)
        return tuple(carries), xs

    def find_output_shape(bound, xs):
        for layer, b in zip(layers, bound, strict=True):
            xs = layer.output_shape(b, xs)
        return xs

    return Layer(
        init,
        bind,
        begin,
        apply,
        find_output_shape,
        direction=common_direction(layers),
        is_truncated=any(layer.is_truncated for layer in layers),
        parts={str(number): layer for number, layer in enumerate(layers)},
    )


def common_direction(layers: Sequence[Layer]) -> Direction:
    """Returns the common direction of all layers that are not stepwise, or "bidirectional"."""
    found: Direction = "stepwise"
    for layer in layers:
        if layer.direction not in (found, "stepwise"):
            found = layer.direction if found == "stepwise" else "bidirectional"
    return found


def as_layer(part: Any, caller: str) -> Layer:
    """Returns a layer as it is, and a module or a function as a stepwise layer."""
    if isinstance(part, Layer):
        check_layer(part, caller)
        return part
    if isinstance(part, Cell):
        raise TypeError(
            f"{caller}: expected layers, got a cell. Lift the cell first: recur.scan(cell)."
        )
    return stepwise(part)
