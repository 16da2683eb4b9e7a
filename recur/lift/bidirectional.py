"""Bidirectional layers: two layers over one sequence, one in each direction."""

from __future__ import annotations

import dataclasses
from typing import Any, NamedTuple

from recur.call_repr import call_repr
from recur.layer import Layer, check_layer
from recur.lift.parallel import Merge, in_parallel


class Directions(NamedTuple):
    """The params or carries of a `bidirectional` layer.

    Attributes:
      forward: those of the layer that reads forward.
      backward: those of the layer that reads backward.
    """

    forward: Any
    backward: Any


@call_repr
def bidirectional(
    forward: Layer,
    backward: Layer,
    *,
    merge: Merge = "concatenate",
) -> Layer:
    """Runs a layer forward and another backward over a sequence and merges their outputs.

        ys→ = forward(xs),    ys← = backward(xs),    y_t = merge(y→_t, y←_t)

    Both outputs are aligned with the inputs. The layer is not causal: it needs the whole sequence.

    Args:
      forward: a layer that reads forward.
      backward: a layer that reads backward, as `scan(cell, reverse=True)` does.
      merge: "concatenate" along the last axis, "sum", "mean", or a function without weights of the
        outputs `[T, ...]` of both.

    Returns:
      A `Layer` with `Directions` of params and carries. The last carry of the backward layer is
      that after the first step of the sequence.

    Raises:
      TypeError: if one of them is not a layer.
      ValueError: if merge is an unknown name, a layer reads in the wrong direction, is batched or
        pooled; when tracing, if their outputs cannot be merged.

    Example:
      >>> import jax, jax.numpy as jnp, recur
      >>> layer = recur.bidirectional(
      ...     recur.scan(recur.gru(4)), recur.scan(recur.gru(4), reverse=True)
      ... )
      >>> xs = jnp.ones((5, 3))
      >>> layer(layer.init(jax.random.key(0), xs), xs).shape
      (5, 8)

    References:
      Schuster & Paliwal 1997, Bidirectional Recurrent Neural Networks,
      https://doi.org/10.1109/78.650093
    """
    layers = Directions(forward, backward)
    _check(layers)
    layer = in_parallel(layers, merge, lambda parts: Directions(*parts), "bidirectional")
    return dataclasses.replace(layer, direction="bidirectional")


def _check(layers: Directions) -> None:
    for layer in layers:
        check_layer(layer, "bidirectional")
    if not layers.forward.is_causal:
        raise ValueError(
            "bidirectional: the first layer does not read forward. Swap the layers, or use "
            "recur.scan(cell) as the first."
        )
    if layers.backward.is_causal:
        raise ValueError(
            "bidirectional: the second layer reads forward too. Use recur.scan(cell, reverse=True)."
        )
