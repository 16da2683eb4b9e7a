"""Two layers over one sequence, one in each direction."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp

from recur.checks import check_entries, check_layer
from recur.keys import check_key, split
from recur.sequences.lengths import step_count, validity, zero_invalid
from recur.types import Layer


class Directions(NamedTuple):
    """Params, and carries, of `bidirectional`."""

    forward: Any
    backward: Any


MERGES = {
    "concatenate": lambda forward, backward: jnp.concatenate([forward, backward], axis=-1),
    "sum": lambda forward, backward: forward + backward,
    "mean": lambda forward, backward: (forward + backward) / 2,
}


def bidirectional(
    forward: Layer,
    backward: Layer,
    *,
    merge: str | Callable[[Any, Any], Any] = "concatenate",
) -> Layer:
    """Reads a sequence from both ends.

        ys→ = forward(xs),    ys← = backward(xs),    y_t = merge(y→_t, y←_t)

    Both are aligned with the inputs. It needs the whole sequence, so it cannot be fed in pieces.

    Args:
      forward: a layer that reads forwards.
      backward: a layer that reads backwards, as `scan(cell, reverse=True)` does.
      merge: "concatenate" along the last axis, "sum", "mean", or a function of the outputs
        `[T, ...]` of both.

    Returns:
      A `Layer` with `Directions` of params and carries; a carry is that of the last step read,
      which for the backward layer is the first step of the sequence.

    Raises:
      TypeError: when one of them is not a layer.
      ValueError: when merge is an unknown name, `backward` reads forwards, or one is batched.

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
    merge_outputs = _merge(merge)

    def init(key, xs, context=None):
        keys = split(check_key(key), 2)
        return Directions(
            *(f.init(k, xs, context=context) for f, k in zip(layers, keys, strict=True))
        )

    def bind(params, xs, *, key=None, context=None):
        check_entries("params", params, 2)
        parts = zip(layers, params, split(key, 2), strict=True)
        return Directions(*(f.bind(p, xs, key=k, context=context) for f, p, k in parts))

    def start(bound, xs):
        return Directions(*(f.start(b, xs) for f, b in zip(layers, bound, strict=True)))

    def read(directions, bound, carry, xs, *, length=None, valid=None, reset=None, key=None):
        check_entries("carry", carry, 2)
        marks = {"length": length, "valid": valid, "reset": reset}
        parts = zip(directions, bound, carry, split(key, 2), strict=True)
        ends = [direction(b, c, xs, key=k, **marks) for direction, b, c, k in parts]
        carries, outputs = zip(*ends, strict=True)
        ys = merge_outputs(*outputs)
        return Directions(*carries), zero_invalid(validity(step_count(xs), length, valid), ys)

    apply = partial(read, [layer.apply for layer in layers])
    follow = partial(read, [layer.follow for layer in layers])
    return Layer(init, bind, start, apply, follow, reads="both ways")


def _check(layers: Directions) -> None:
    for layer in layers:
        check_layer(layer, "bidirectional")
    if layers.backward.streams:
        raise ValueError(
            "bidirectional: the second layer reads forwards too. Give it the other direction: "
            "recur.scan(cell, reverse=True)."
        )


def _merge(merge: str | Callable) -> Callable[[Any, Any], Any]:
    if callable(merge):
        return merge
    if merge not in MERGES:
        raise ValueError(
            f"bidirectional: unknown merge {merge!r}. Expected one of {', '.join(MERGES)}, or a "
            "function."
        )
    return lambda forward, backward: jax.tree.map(MERGES[merge], forward, backward)
