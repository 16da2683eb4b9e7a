"""Truncated backpropagation through time."""

from __future__ import annotations

from typing import Any, NamedTuple

import jax
import jax.numpy as jnp

from recur.checks import check_layer
from recur.keys import split, split_along
from recur.lift.mask import select
from recur.sequences.lengths import check_flags, step_count, validity, zero_invalid
from recur.types import Layer
from recur.varying import vary_over


def truncate(layer: Layer, k1: int, k2: int) -> Layer:
    """Lets errors flow back at most k2 steps, from blocks of k1 outputs.

    Values are those of the layer. For the gradient, the block of k1 outputs that ends at step e is
    recomputed from the carry at e - k2, taken as a constant:

        ys_{e-k1+1..e} = last k1 of layer(stop_gradient(carry_{e-k2}), xs_{e-k2+1..e})
                                                              e = k1, 2 k1, ..., T

    Where e - k2 ≤ 0 the carry is the one that came in, and not a constant; so with k2 ≥ T it is
    plain backpropagation through time. With k1 = 1 and k2 = n + 1 it is the textbook's loop, which
    follows the error of each step back n steps. T counts up to the last valid step, so that padding
    moves no window. Where T > k2, each step is computed about k2 / k1 + 1 times.

    Args:
      layer: a layer that reads forwards.
      k1: how many outputs look at one window; a shorter block is left at the end.
      k2: how many steps a window has, k2 ≥ k1 ≥ 1.

    Returns:
      A `Layer` with the layer's params and carry. With a key each window draws its own noise.

    Raises:
      TypeError: when `layer` is not a layer.
      ValueError: when not k2 ≥ k1 ≥ 1, or the layer reads backwards or is batched.

    Example:
      >>> import jax, jax.numpy as jnp, recur
      >>> layer = recur.truncate(recur.scan(recur.gru(4)), k1=2, k2=3)
      >>> xs = jnp.ones((8, 3))
      >>> jax.jit(layer)(layer.init(jax.random.key(0), xs), xs).shape
      (8, 4)

    References:
      Williams & Peng 1990, An Efficient Gradient-Based Algorithm for On-Line Training of Recurrent
      Network Trajectories (their BPTT(h; h')), https://doi.org/10.1162/neco.1990.2.4.490
    """
    _check(layer, k1, k2)

    def apply(bound, carry, xs, **options):
        if step_count(xs) <= k2:  # all windows begin at the start
            return layer.apply(bound, carry, xs, **options)
        carries, ys, _ = in_windows(layer.apply, bound, carry, xs, **options)
        return jax.tree.map(lambda leaf: leaf[-1], carries), ys

    def follow(bound, carry, xs, **options):
        if step_count(xs) <= k2:
            return layer.follow(bound, carry, xs, **options)
        carries, ys, of_steps = in_windows(layer.follow, bound, carry, xs, **options)
        return of_steps(carries), ys

    def in_windows(go, bound, carry, xs, *, length=None, valid=None, reset=None, key=None):
        count = step_count(xs)
        sequence = _Sequence(
            xs=jax.tree.map(jnp.asarray, xs),
            valid=validity(count, length, valid),
            reset=None if reset is None else check_flags("reset", reset, count),
        )
        ends = jnp.minimum(jnp.arange(k1, count + k1, k1), sequence.end())
        begins = jnp.maximum(ends - k2, 0)
        walk_key, window_key = split(key, 2)
        carry = vary_over((bound, carry, sequence), carry)
        constant_bound, constant_carry = jax.lax.stop_gradient((bound, carry))

        def walk(carry, stretch):
            begin, end, key = stretch
            piece = jax.lax.stop_gradient(sequence.piece(begin, end, k1))
            carry, _ = layer.apply(constant_bound, carry, key=key, **piece)
            return carry, carry

        def window(found, begin, end, key):
            start = select(begin == 0, carry, found)
            return go(bound, start, key=key, **sequence.piece(begin, end, k2))

        # One pass without a gradient finds the carries with which the windows begin; given these,
        # the windows depend on nothing else, and run side by side.
        stretches = (jnp.roll(begins, 1).at[0].set(0), begins, split_along(walk_key, len(begins)))
        _, found = jax.lax.scan(walk, constant_carry, stretches)
        carries, ys = jax.vmap(window)(found, begins, ends, split_along(window_key, len(begins)))
        at = jnp.arange(count)
        offset = jnp.clip(at - begins[at // k1], 0, k2 - 1)

        def of_steps(tree):
            return jax.tree.map(lambda leaf: leaf[at // k1, offset], tree)

        return carries, zero_invalid(sequence.valid, of_steps(ys)), of_steps

    return Layer(layer.init, layer.bind, layer.start, apply, follow)


class _Sequence(NamedTuple):
    xs: Any
    valid: jax.Array | None
    reset: jax.Array | None

    def end(self) -> jax.Array | int:
        """The step after the last that counts, so that padding behind it moves no window."""
        count = step_count(self.xs)
        if self.valid is None:
            return count
        counts = self.valid if self.reset is None else self.valid | self.reset
        return jnp.max(jnp.where(counts, jnp.arange(1, count + 1), 0))

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
    check_layer(layer, "truncate")
    if not (isinstance(k1, int) and isinstance(k2, int) and k2 >= k1 >= 1):
        raise ValueError(
            f"truncate: expected whole numbers k2 >= k1 >= 1, got k1={k1} and k2={k2}: errors must "
            "flow at least through the block of outputs they come from."
        )
    if not layer.streams:
        raise ValueError(
            "truncate: the layer reads backwards, so it has no carry from the steps before. Only "
            "layers that read forwards can be truncated."
        )
