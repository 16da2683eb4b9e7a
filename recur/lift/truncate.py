"""Truncated backpropagation through time."""

from __future__ import annotations

from typing import Any, NamedTuple

import jax
import jax.numpy as jnp

from recur.call_repr import call_repr
from recur.checks import check_whole
from recur.keys import split, split_along
from recur.layer import Layer, check_layer
from recur.lift.mask import select
from recur.manual_axes import vary_over
from recur.masks import is_known, step_count, zero_invalid
from recur.types import Mask


@call_repr
def truncate(layer: Layer, k1: int, k2: int) -> Layer:
    """Truncates backpropagation through time to k2 steps, for each block of k1 outputs (TBPTT).

    Values are those of the layer. For the gradient, the block of k1 outputs that ends at step e is
    recomputed from the carry at e - k2, which is treated as a constant:

        ys_{e-k1+1..e} = last k1 of layer(stop_gradient(carry_{e-k2}), xs_{e-k2+1..e})
                                                              e = k1, 2 k1, ..., T

    If e - k2 ≤ 0 the carry is the given one, and not a constant; so with k2 ≥ T it is full
    backpropagation through time. With k1 = 1 and k2 = n + 1 the error of each step is propagated
    back n steps. T counts up to the last valid step, so padding does not move the windows. If
    T > k2, each step is computed about k2 / k1 + 1 times.

    Args:
      layer: a layer that reads forward.
      k1: the number of outputs that share a window; the last block may be shorter.
      k2: the number of steps of a window, k2 ≥ k1 ≥ 1.

    Returns:
      A `Layer` with the layer's params and carry. With a key, each window draws its own noise.

    Raises:
      TypeError: if `layer` is not a layer.
      ValueError: if not k2 ≥ k1 ≥ 1, or the layer is not causal, or is batched.

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
    k1, k2 = _check(layer, k1, k2)

    def apply(bound, carry, xs, mask, key, *, all_carries=False):
        count = step_count(xs)
        if not is_known(count):
            raise ValueError(
                f"truncate: expected a known number of steps, got the symbolic dimension {count}. "
                "Export the layer without truncate: its outputs are the same."
            )
        if count <= k2:  # all windows start at the first step
            return layer.apply(bound, carry, xs, mask, key, all_carries=all_carries)
        sequence = _Sequence(jax.tree.map(jnp.asarray, xs), mask.valid, mask.reset)
        ends = jnp.minimum(jnp.arange(k1, count + k1, k1), sequence.end())
        begins = jnp.maximum(ends - k2, 0)
        walk_key, window_key = split(key, 2)
        carry = vary_over((bound, carry, sequence), carry)
        constant_bound, constant_carry = jax.lax.stop_gradient((bound, carry))

        def walk(carry, stretch):
            begin, end, key = stretch
            piece = jax.lax.stop_gradient(sequence.piece(begin, end, k1))
            carry, _ = layer.apply(constant_bound, carry, *piece, key)
            return carry, carry

        def window(found, begin, end, key):
            first = select(begin == 0, carry, found)
            piece = sequence.piece(begin, end, k2)
            return layer.apply(bound, first, *piece, key, all_carries=all_carries)

        # One pass without a gradient computes the carry at the start of each window. Given these,
        # the windows are independent and run in parallel.
        stretches = (jnp.roll(begins, 1).at[0].set(0), begins, split_along(walk_key, len(begins)))
        _, found = jax.lax.scan(walk, constant_carry, stretches)
        carries, ys = jax.vmap(window)(found, begins, ends, split_along(window_key, len(begins)))
        at = jnp.arange(count)
        offset = jnp.clip(at - begins[at // k1], 0, k2 - 1)

        def of_steps(tree):
            return jax.tree.map(lambda leaf: leaf[at // k1, offset], tree)

        ys = zero_invalid(mask.valid, of_steps(ys))
        return of_steps(carries) if all_carries else jax.tree.map(lambda c: c[-1], carries), ys

    return Layer(
        layer.init, layer.bind, layer.begin, apply, layer.find_output_shape, is_truncated=True
    )


class _Sequence(NamedTuple):
    xs: Any
    valid: jax.Array | None
    reset: jax.Array | None

    def end(self) -> jax.Array | int:
        """Returns the end of the last step that counts, so that padding does not move windows."""
        count = step_count(self.xs)
        if self.valid is None:
            return count
        counts = self.valid if self.reset is None else self.valid | self.reset
        return jnp.max(jnp.where(counts, jnp.arange(1, count + 1), 0))

    def piece(self, begin: jax.Array, end: jax.Array, size: int) -> tuple[Any, Mask]:
        """Returns the steps from begin to end in a piece of fixed size; the rest is masked."""
        steps = begin + jnp.arange(size)
        inside = steps < end
        xs, valid, reset = jax.tree.map(lambda leaf: leaf[steps], tuple(self))
        valid = inside if valid is None else inside & valid
        return xs, Mask(valid, None if reset is None else inside & reset)


def _check(layer: Any, k1: Any, k2: Any) -> tuple[int, int]:
    check_layer(layer, "truncate")
    k1, k2 = check_whole("truncate: k1", k1, 1), check_whole("truncate: k2", k2, 1)
    if k2 < k1:
        raise ValueError(
            f"truncate: expected k2 >= k1, got k1={k1} and k2={k2}. A window must contain its "
            "block of k1 outputs."
        )
    if not layer.is_causal:
        raise ValueError(
            "truncate: expected a causal layer, got one that does not read forward only."
        )
    return k1, k2
