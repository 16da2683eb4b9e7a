"""Bidirectional layers: two layers over one sequence, one in each direction."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp

from recur.call_repr import call_repr
from recur.checks import check_entries, describe
from recur.keys import check_key, split
from recur.layer import Layer, check_layer
from recur.masks import zero_invalid


class Directions(NamedTuple):
    """The params or carries of a `bidirectional` layer.

    Attributes:
      forward: those of the layer that reads forward.
      backward: those of the layer that reads backward.
    """

    forward: Any
    backward: Any


MERGES = {
    "concatenate": lambda forward, backward: jnp.concatenate([forward, backward], axis=-1),
    "sum": lambda forward, backward: forward + backward,
    "mean": lambda forward, backward: (forward + backward) / 2,
}


@call_repr
def bidirectional(
    forward: Layer,
    backward: Layer,
    *,
    merge: str | Callable[[Any, Any], Any] = "concatenate",
) -> Layer:
    """Runs a layer forward and another backward over a sequence and merges their outputs.

        ys→ = forward(xs),    ys← = backward(xs),    y_t = merge(y→_t, y←_t)

    Both outputs are aligned with the inputs. The layer is not causal: it needs the whole sequence.

    Args:
      forward: a layer that reads forward.
      backward: a layer that reads backward, as `scan(cell, reverse=True)` does.
      merge: "concatenate" along the last axis, "sum", "mean", or a function of the outputs
        `[T, ...]` of both.

    Returns:
      A `Layer` with `Directions` of params and carries. The last carry of the backward layer is
      that after the first step of the sequence.

    Raises:
      TypeError: if one of them is not a layer.
      ValueError: if merge is an unknown name, a layer reads in the wrong direction or is batched;
        when tracing, if their outputs cannot be merged.

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

    def begin(bound, xs):
        return Directions(*(f.begin(b, xs) for f, b in zip(layers, bound, strict=True)))

    def apply(bound, carry, xs, mask, key, *, all_carries=False):
        check_entries("carry", carry, 2)
        parts = zip(layers, bound, carry, split(key, 2), strict=True)
        ends = [f.apply(b, c, xs, mask, k, all_carries=all_carries) for f, b, c, k in parts]
        carries, outputs = zip(*ends, strict=True)
        return Directions(*carries), zero_invalid(mask.valid, merge_outputs(*outputs))

    def find_output_shape(bound, xs):
        outputs = [f.output_shape(b, xs) for f, b in zip(layers, bound, strict=True)]
        return jax.eval_shape(merge_outputs, *outputs)

    return Layer(
        init,
        bind,
        begin,
        apply,
        find_output_shape,
        direction="bidirectional",
        is_truncated=any(layer.is_truncated for layer in layers),
    )


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


def _merge(merge: str | Callable) -> Callable[[Any, Any], Any]:
    if callable(merge):
        return merge
    if merge not in tuple(MERGES):
        raise ValueError(
            f"bidirectional: expected merge as one of {', '.join(MERGES)}, or a function, got "
            f"{merge!r}."
        )

    def merged(forward, backward):
        shapes = [jax.tree.map(jnp.shape, ys) for ys in (forward, backward)]
        if merge != "concatenate" and shapes[0] != shapes[1]:
            raise ValueError(
                f"bidirectional: merge={merge!r} needs outputs of equal shapes, got "
                f"{describe(forward)} and {describe(backward)}."
            )
        return jax.tree.map(MERGES[merge], forward, backward)

    return merged
