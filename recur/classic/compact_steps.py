"""The last inputs of each step, for layers that read a fixed number of them.

Steps that do not count are skipped, as by a recurrent cell: the steps that count are moved to the
front of the sequence, where the inputs before a step are at fixed distances from it.
"""

from __future__ import annotations

from typing import Any, NamedTuple

import jax
import jax.numpy as jnp

from recur.masks import expand_like, step_count, zero_invalid
from recur.types import Mask


class StepOrder(NamedTuple):
    """Where the steps that count are. The segments are numbered by the resets before them.

    Attributes:
      source: the steps that count, then all others, `[T]`; None if all count.
      counts: how many steps count from the first to each, `[T]`; None if all count.
      segment: the segment of each step, `[T]`; None without resets.
    """

    source: jax.Array | None
    counts: jax.Array | None
    segment: jax.Array | None


def find_steps(mask: Mask) -> StepOrder:
    """Finds the steps that count, and their segments."""
    segment = None if mask.reset is None else jnp.cumsum(mask.reset)
    if mask.valid is None:
        return StepOrder(None, None, segment)
    return StepOrder(jnp.argsort(~mask.valid, stable=True), jnp.cumsum(mask.valid), segment)


def compact(steps: StepOrder, mask: Mask, xs: jax.Array) -> jax.Array:
    """Moves the steps that count to the front; all others are zero."""
    xs = zero_invalid(mask.valid, xs)
    return xs if steps.source is None else xs[steps.source]


def expand(steps: StepOrder, mask: Mask, ys: jax.Array) -> jax.Array:
    """Moves the steps that count back to their places; all others are zero."""
    if steps.counts is None:
        return ys
    return zero_invalid(mask.valid, ys[jnp.maximum(steps.counts - 1, 0)])


def last_inputs(
    steps: StepOrder, buffer: jax.Array, xs: jax.Array, size: int, dilation: int
) -> jax.Array:
    """Returns the last inputs of each step at distances of `dilation`, the current one last.

    Args:
      steps: of the sequence.
      buffer: the inputs before it, `[(size - 1) * dilation, C]`.
      xs: `[T, C]`, compact.
      size: how many inputs.
      dilation: their distance.

    Returns:
      `[T, size, C]`; zero before the first step of a segment.
    """
    count, both = step_count(xs), jnp.concatenate([buffer, xs])
    segments = None if steps.segment is None else _with_buffer(steps, len(buffer))
    found = []
    for begin in range(0, size * dilation, dilation):
        part = jax.lax.slice_in_dim(both, begin, begin + count)
        if segments is not None:
            its_own = jax.lax.slice_in_dim(segments, begin, begin + count)
            part = zero_invalid(its_own == segments[len(buffer) :], part)
        found.append(part)
    return jnp.stack(found, axis=1)


def next_buffer(steps: StepOrder, buffer: jax.Array, xs: jax.Array, all_carries: bool) -> jax.Array:
    """Returns the buffer after the last step, or with `all_carries` after each, `[T, ...]`."""
    size, both = len(buffer), jnp.concatenate([buffer, xs])
    count = step_count(xs)
    counts = jnp.arange(1, count + 1) if steps.counts is None else steps.counts
    segments = jnp.zeros_like(counts) if steps.segment is None else steps.segment

    def after(count, segment):
        found = jax.lax.dynamic_slice_in_dim(both, count, size)
        if steps.segment is None:
            return found
        of_each = jax.lax.dynamic_slice_in_dim(_with_buffer(steps, size), count, size)
        return jnp.where(expand_like(of_each == segment, found), found, jnp.zeros_like(found))

    if all_carries:
        return jax.vmap(after)(counts, segments)
    # Before the first step nothing has been read; a sequence may have no steps at all.
    none = jnp.zeros((1,), counts.dtype)
    return after(*(jnp.concatenate([none, each.astype(none.dtype)])[-1]
                   for each in (counts, segments)))  # fmt: skip


def _with_buffer(steps: StepOrder, size: int) -> Any:
    """The segments of the inputs in the buffer, which precede all resets, and of the steps."""
    segment = steps.segment
    assert segment is not None
    segment = segment if steps.source is None else segment[steps.source]
    return jnp.concatenate([jnp.zeros((size,), segment.dtype), segment])
