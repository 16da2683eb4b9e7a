"""Long sequences in little memory: steps are computed again on the way back."""

from __future__ import annotations

import math
from collections.abc import Sequence
from functools import partial
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp

from recur.checks import check_layer, check_whole
from recur.keys import split_along
from recur.lift.mask import select
from recur.sequences.lengths import check_flags, step_count, validity
from recur.types import Layer
from recur.varying import vary_over


def checkpoint(layer: Layer, segments: int | Sequence[int] | None = None) -> Layer:
    """Keeps the carry between segments only, and computes a segment again on the way back.

        carry_{e_s}, ys_s = layer(carry_{e_{s-1}}, xs_s)    for the segments s = 1 ... S

    Values and gradients are those of the layer. A gradient keeps S carries and what one segment of
    T / S steps needs, so √T segments need O(√T) memory, for each step computed twice. Segments of
    segments keep less still: with n levels the n-th root of T, for each step computed n + 1 times.
    What the layer reads and what is kept of its outputs counts apart; so put a whole chain, its
    last Dense included, under one checkpoint.

    Args:
      layer: a layer that reads in one direction.
      segments: S; √T when not given. Of several numbers, the first is that of the segments, the
        next that of the segments of each of them, and so on.

    Returns:
      A `Layer` with the layer's params and carry. With a key, each segment draws its own noise.

    Raises:
      TypeError: when `layer` is not a layer.
      ValueError: when segments is below 1 or empty, or the layer reads both ways or is batched.

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

    def apply(bound, carry, xs, **options):
        return in_segments(inner.apply, bound, carry, xs, **options)

    def follow(bound, carry, xs, **options):
        if step_count(xs) == 0:
            return layer.follow(bound, carry, xs, **options)
        last = 0 if layer.reads == "backwards" else -1

        def go(bound, carry, xs, **options):
            carries, ys = inner.follow(bound, carry, xs, **options)
            return jax.tree.map(lambda leaf: leaf[last], carries), (carries, ys)

        return in_segments(go, bound, carry, xs, **options)[1]

    def in_segments(go, bound, carry, xs, *, length=None, valid=None, reset=None, key=None):
        count = step_count(xs)
        pieces = _Pieces(
            xs=jax.tree.map(jnp.asarray, xs),
            valid=validity(count, length, valid),
            reset=None if reset is None else check_flags("reset", reset, count),
        ).cut(min(number or _near_root(count), count) or 1)
        carry = vary_over((bound, carry, pieces), carry)

        @partial(jax.checkpoint, prevent_cse=False)  # within a loop nothing is merged
        def segment(carry, given):
            piece, begins, key = given
            if begins is not None:
                carry = select(begins, layer.start(bound, piece.xs), carry)
            return go(bound, carry, piece.xs, valid=piece.valid, reset=piece.reset, key=key)

        backwards = layer.reads == "backwards"
        begins = pieces.begin_behind() if backwards else None
        given = (pieces, begins, split_along(key, step_count(pieces.xs)))
        carry, found = jax.lax.scan(segment, carry, given, reverse=backwards)
        return carry, jax.tree.map(lambda leaf: leaf.reshape(-1, *leaf.shape[2:])[:count], found)

    return Layer(layer.init, layer.bind, layer.start, apply, follow, reads=layer.reads)


class _Pieces(NamedTuple):
    xs: Any
    valid: jax.Array | None
    reset: jax.Array | None

    def cut(self, number: int) -> _Pieces:
        """`number` pieces of one size, `[S, T / S, ...]`; what is over at the end is invalid."""
        count = step_count(self.xs)
        size = -(-count // number)
        if number * size > count:
            steps = jnp.arange(number * size)
            inside = steps < count
            at = jnp.minimum(steps, count - 1)
            xs, valid, reset = jax.tree.map(lambda leaf: leaf[at], tuple(self))
            valid = inside if valid is None else inside & valid
            self = _Pieces(xs, valid, None if reset is None else inside & reset)
        return jax.tree.map(lambda leaf: leaf.reshape(number, size, *leaf.shape[1:]), self)

    def begin_behind(self) -> jax.Array | None:
        """Read backwards, a piece starts afresh where the piece behind it begins with a reset."""
        if self.reset is None:
            return None
        firsts = self.reset[:, :1].any(axis=1)
        return jnp.concatenate([firsts[1:], jnp.zeros_like(firsts[:1])])


def _near_root(count: int) -> int:
    """A number of segments near √T, one that divides T if it can be: then nothing is copied."""
    root = round(math.sqrt(count))
    near = range(root, root // 2, -1)
    return next((number for number in near if count % number == 0), root)


def _levels(segments: int | Sequence[int] | None) -> tuple[int | None, tuple[int, ...]]:
    """The number of segments, and the numbers of segments within each."""
    if segments is None:
        return None, ()
    numbers = tuple(segments) if isinstance(segments, Sequence) else (segments,)
    if not numbers:
        raise ValueError("checkpoint: expected a number of segments, or one a level, got none.")
    first, *rest = (check_whole("checkpoint: segments", number, 1) for number in numbers)
    return first, tuple(rest)


def _check(layer: Any) -> None:
    check_layer(layer, "checkpoint")
    if layer.reads == "both ways":
        raise ValueError(
            "checkpoint: the layer reads both ways, so it cannot be fed in segments. Put each "
            "direction under a checkpoint: recur.bidirectional(recur.checkpoint(forward), "
            "recur.checkpoint(backward))."
        )
