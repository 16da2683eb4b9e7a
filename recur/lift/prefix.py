"""Prefix scan of an associative composition, in O(log T) rounds."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp

from recur.masks import expand_like, is_known, step_count

_ROUNDS = 31  # the number of powers of two in an int32


def compose_prefixes(
    compose: Callable[[Any, Any], Any], elements: Any, *, reverse: bool = False
) -> Any:
    """Computes the composition of elements 1 to t for each step t; in reverse, of T to t.

    For a known number of steps it is `jax.lax.associative_scan`, which halves that number
    recursively. A symbolic dimension of `jax.export` cannot be halved, so there the reach is
    doubled instead: after round k each step has the composition of the 2^k elements up to it
    (Hillis & Steele 1986, Data Parallel Algorithms, https://doi.org/10.1145/7902.7903).

    Args:
      compose: `(earlier, later) -> both`, of elements with leading axes.
      elements: one per step, `[T, ...]`.
      reverse: whether to read from the last step to the first.
    """
    count = step_count(elements)
    if is_known(count):
        return jax.lax.associative_scan(compose, elements, reverse=reverse)
    steps = jnp.arange(count)[::-1] if reverse else jnp.arange(count)  # from the first one read

    def double(found, reach):
        at = jnp.arange(count) + (reach if reverse else -reach)
        earlier = jax.tree.map(lambda leaf: leaf.at[at].get(mode="clip"), found)
        both = compose(earlier, found)
        return jax.tree.map(
            lambda a, b: jnp.where(expand_like(steps >= reach, a), a, b), both, found
        )

    def turn(found, reach):
        return jax.lax.cond(reach < count, double, lambda found, _: found, found, reach), None

    return jax.lax.scan(turn, elements, 2 ** jnp.arange(_ROUNDS))[0]
