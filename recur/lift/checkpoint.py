"""Gradient checkpointing over time: steps are recomputed in the backward pass to save memory."""

from __future__ import annotations

import math
from collections.abc import Sequence
from functools import partial
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp

from recur.call_repr import call_repr
from recur.checks import check_whole
from recur.keys import split_along
from recur.layer import Layer, check_layer
from recur.lift.mask import select
from recur.manual_axes import vary_over
from recur.masks import is_known, step_count
from recur.types import Mask

_SEGMENTS = 32  # the number for a sequence of symbolic length: √T for about 1,000 steps


@call_repr
def checkpoint(layer: Layer, segments: int | Sequence[int] | None = None) -> Layer:
    """Saves memory by gradient checkpointing: recomputes segments of steps in the backward pass.

        carry_{e_s}, ys_s = layer(carry_{e_{s-1}}, xs_s)    for the segments s = 1 ... S

    Values and gradients are those of the layer. The gradient stores S carries and the residuals of
    one segment of T / S steps. With √T segments this is O(√T) memory, and each step is computed
    twice. Nested segments need less: with n levels, memory grows with the n-th root of T, and each
    step is computed n + 1 times. Inputs and outputs of the layer are stored in any case, so apply
    one checkpoint to a whole chain, including its last Dense.

    Args:
      layer: a layer that reads in one direction.
      segments: S, by default a number near √T, or 32 if T is a symbolic dimension. In a sequence of
        numbers, the first is the number of segments, the next the number of segments within each,
        and so on.

    Returns:
      A `Layer` with the layer's params and carry. With a key, each segment draws its own noise.

    Raises:
      TypeError: if `layer` is not a layer.
      ValueError: if segments is below 1 or empty, or the layer is bidirectional, batched or
        truncated.

    Example:
      >>> import jax, jax.numpy as jnp, recur
      >>> layer = recur.checkpoint(recur.scan(recur.gru(4)))
      >>> xs = jnp.ones((100, 3))
      >>> layer(layer.init(jax.random.key(0), xs), xs).shape
      (100, 4)

    References:
      Griewank & Walther 2000, Algorithm 799: Revolve, https://doi.org/10.1145/347837.347846
      Chen et al. 2016, Training Deep Nets with Sublinear Memory Cost,
      https://arxiv.org/abs/1604.06174
    """
    _check(layer)
    number, rest = _levels(segments)
    inner = checkpoint(layer, rest) if rest else layer

    is_backward = layer.direction == "backward"

    def run_segment(bound, carry, xs, mask, key, all_carries):
        """Returns the last carry, and the pair of all carries (or ()) and outputs."""
        found, ys = inner.apply(bound, carry, xs, mask, key, all_carries=all_carries)
        if not all_carries:
            return found, ((), ys)
        last = 0 if is_backward else -1
        return jax.tree.map(lambda leaf: leaf[last], found), (found, ys)

    def apply(bound, carry, xs, mask, key, *, all_carries=False):
        count = step_count(xs)
        if count == 0:
            return layer.apply(bound, carry, xs, mask, key, all_carries=all_carries)
        pieces = _Pieces(jax.tree.map(jnp.asarray, xs), mask.valid, mask.reset)
        pieces = pieces.cut(_near_root(xs) if number is None else number)
        carry = vary_over((bound, carry, pieces), carry)

        @partial(jax.checkpoint, prevent_cse=False)  # there is no CSE across loop iterations
        def segment(carry, given):
            piece, resets, key = given
            if resets is not None:
                carry = select(resets, layer.begin(bound, piece.xs), carry)
            mask = Mask(piece.valid, piece.reset)
            return run_segment(bound, carry, piece.xs, mask, key, all_carries)

        resets = pieces.reset_after() if is_backward else None
        given = (pieces, resets, split_along(key, step_count(pieces.xs)))
        carry, found = jax.lax.scan(segment, carry, given, reverse=is_backward)
        carries, ys = jax.tree.map(lambda leaf: leaf.reshape(-1, *leaf.shape[2:])[:count], found)
        return carries if all_carries else carry, ys

    return Layer(
        layer.init,
        layer.bind,
        layer.begin,
        apply,
        layer.find_output_shape,
        direction=layer.direction,
    )


class _Pieces(NamedTuple):
    xs: Any
    valid: jax.Array | None
    reset: jax.Array | None

    def cut(self, number: int) -> _Pieces:
        """Cuts into `number` pieces of one size, `[S, T / S, ...]`; padding is masked."""
        count = step_count(self.xs)
        number = min(number, count) if is_known(count) else number
        size = -(-count // number)
        if not is_known(count) or number * size > count:
            inside = jnp.arange(number * size) < count
            xs, valid, reset = jax.tree.map(lambda leaf: _padded(leaf, number * size), tuple(self))
            valid = inside if valid is None else inside & valid
            self = _Pieces(xs, valid, None if reset is None else inside & reset)
        return jax.tree.map(lambda leaf: leaf.reshape(number, size, *leaf.shape[1:]), self)

    def reset_after(self) -> jax.Array | None:
        """Whether each piece, read backward, starts a segment: the next one begins with a reset."""
        if self.reset is None:
            return None
        firsts = self.reset[:, :1].any(axis=1)
        return jnp.concatenate([firsts[1:], jnp.zeros_like(firsts[:1])])


def _padded(leaf: jax.Array, count: Any) -> jax.Array:
    """Repeats the last entry, up to `count` entries."""
    last = jnp.broadcast_to(leaf[-1:], (count - leaf.shape[0], *leaf.shape[1:]))
    return jnp.concatenate([leaf, last])


def _near_root(xs: Any) -> int:
    """Returns a number of segments near √T that divides T if possible, which avoids a copy."""
    count = step_count(xs)
    if not is_known(count):
        return _SEGMENTS
    root = round(math.sqrt(count))
    near = range(root, root // 2, -1)
    return next((number for number in near if count % number == 0), root)


def _levels(segments: int | Sequence[int] | None) -> tuple[int | None, tuple[int, ...]]:
    """Returns the number of segments, and the numbers of nested segments."""
    if segments is None:
        return None, ()
    numbers = tuple(segments) if isinstance(segments, Sequence) else (segments,)
    if not numbers:
        raise ValueError("checkpoint: expected a number of segments, or one per level, got none.")
    first, *rest = (check_whole("checkpoint: segments", number, 1) for number in numbers)
    return first, tuple(rest)


def _check(layer: Any) -> None:
    check_layer(layer, "checkpoint")
    if layer.is_truncated:
        raise ValueError(
            "checkpoint: the layer truncates its gradient, and segments would change the steps at "
            "which it truncates. Apply truncate last: recur.truncate(recur.checkpoint(layer), k1, "
            "k2)."
        )
    if layer.direction == "bidirectional":
        raise ValueError(
            "checkpoint: the layer is bidirectional, so it cannot run in segments. Checkpoint each "
            "direction: recur.bidirectional(recur.checkpoint(forward), "
            "recur.checkpoint(backward))."
        )
