"""Truncated backpropagation through time."""

from __future__ import annotations

from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from recur.keys import split, split_along
from recur.lift.mask import check_flags, step_count, validity
from recur.lift.over_time import vary_over
from recur.types import Layer


def truncate(layer: Layer, k1: int, k2: int) -> Layer:
    """Lets errors flow back at most k2 steps, from blocks of k1 outputs.

    Values are those of the layer. For the gradient, the block of k1 outputs that ends at step e is
    recomputed from the carry at e - k2, taken as a constant:

        ys_{e-k1+1..e} = last k1 of layer(stop_gradient(carry_{e-k2}), xs_{e-k2+1..e})
                                                              e = k1, 2 k1, ..., T

    Where e - k2 ≤ 0 the carry is the one that came in, and not a constant; so with k2 ≥ T it is
    plain backpropagation through time. With k1 = 1 and k2 = n + 1 it is the textbook's loop, which
    follows the error of each step back n steps. Each step is computed about k2 / k1 + 1 times, and
    once where T ≤ k1.

    Args:
      layer: a layer that reads forwards.
      k1: how many outputs look at one window; a shorter block is left at the end.
      k2: how many steps a window has, k2 ≥ k1 ≥ 1.

    Returns:
      A `Layer` with the layer's params and carry. With a key each window draws its own noise.

    Raises:
      TypeError: when `layer` is not a layer.
      ValueError: when not k2 ≥ k1 ≥ 1, or the layer reads backwards.

    Example:
      >>> import jax, jax.numpy as jnp, recur
      >>> layer = recur.truncate(recur.scan(recur.gru(4)), k1=2, k2=3)
      >>> xs = jnp.ones((8, 3))
      >>> layer(layer.init(jax.random.key(0), xs), xs).shape
      (8, 4)

    References:
      Williams & Peng 1990, An Efficient Gradient-Based Algorithm for On-Line Training of Recurrent
      Network Trajectories (their BPTT(h; h')), https://doi.org/10.1162/neco.1990.2.4.490
    """
    _check(layer, k1, k2)

    def apply(bound, carry, xs, *, length=None, valid=None, reset=None, key=None):
        count = step_count(xs)
        if count <= k1:
            marks = {"length": length, "valid": valid, "reset": reset}
            return layer.apply(bound, carry, xs, key=key, **marks)
        blocks = _blocks(count, k1, k2)
        carry = vary_over((bound, carry, xs), carry)
        sequence = _Sequence(
            xs=jax.tree.map(jnp.asarray, xs),
            valid=validity(count, length, valid),
            reset=None if reset is None else check_flags("reset", reset, count),
        )
        walk_key, window_key = split(key, 2)

        def walk(carry, stretch):
            begin, end, key = stretch
            piece = sequence.piece(begin, end, k1)
            carry, _ = layer.apply(constant_bound, carry, key=key, **jax.lax.stop_gradient(piece))
            return carry, carry

        def window(carry, begin, end, key):
            piece = sequence.piece(begin, end, min(k2, count))
            return layer.apply(bound, carry, key=key, **piece)

        # One pass without a gradient finds the carries with which windows begin.
        constant_bound, constant_carry = jax.lax.stop_gradient((bound, carry))
        walk_keys = split_along(walk_key, len(blocks.stops))
        stretches = (blocks.stops - np.diff(blocks.stops, prepend=0), blocks.stops, walk_keys)
        _, carries = jax.lax.scan(walk, constant_carry, stretches)
        # The windows depend on nothing but these, so they run side by side.
        carries = jax.tree.map(
            lambda c, cs: jnp.concatenate([c[None], cs])[blocks.carry], carry, carries
        )
        window_keys = split_along(window_key, len(blocks.ends))
        carries, ys = jax.vmap(window)(carries, blocks.begins, blocks.ends, window_keys)
        at = np.arange(count)
        block = at // k1
        ys = jax.tree.map(lambda leaf: leaf[block, at - blocks.begins[block]], ys)
        return jax.tree.map(lambda leaf: leaf[-1], carries), ys

    return Layer(layer.init, layer.bind, layer.start, apply)


class _Blocks(NamedTuple):
    """The windows of all blocks, known while tracing."""

    begins: np.ndarray  # [blocks] the step before which the window begins
    ends: np.ndarray  # [blocks] the step before which it and its block end
    stops: np.ndarray  # the begins above 0: where a carry has to be found
    carry: np.ndarray  # [blocks] its carry: 0 is the one that came in, i + 1 the one at stops[i]


def _blocks(count: int, k1: int, k2: int) -> _Blocks:
    ends = np.minimum(np.arange(k1, count + k1, k1), count)
    begins = np.maximum(ends - k2, 0)
    stops = begins[begins > 0]
    return _Blocks(begins, ends, stops, np.searchsorted(stops, begins, side="right"))


class _Sequence(NamedTuple):
    xs: Any
    valid: jax.Array | None
    reset: jax.Array | None

    def piece(self, begin: jax.Array, end: jax.Array, size: int) -> dict[str, Any]:
        """The steps from begin to end, in a piece of a fixed size whose rest is invalid."""
        steps = begin + jnp.arange(size)
        inside = steps < end
        xs, valid, reset = jax.tree.map(lambda leaf: leaf[steps], tuple(self))
        return {
            "xs": xs,
            "valid": inside if valid is None else inside & valid,
            "reset": None if reset is None else inside & reset,
        }


def _check(layer: Any, k1: int, k2: int) -> None:
    if not isinstance(layer, Layer):
        raise TypeError(
            f"truncate: expected a layer, got {type(layer).__name__}. Lift a cell with recur.scan "
            "first."
        )
    if not k2 >= k1 >= 1:
        raise ValueError(
            f"truncate: expected k2 >= k1 >= 1, got k1={k1} and k2={k2}: errors must flow at least "
            "through the block of outputs they come from."
        )
    if not layer.streams:
        raise ValueError(
            "truncate: the layer reads backwards, so it has no carry from the steps before. Only "
            "layers that read forwards can be truncated."
        )
