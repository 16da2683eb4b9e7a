"""What of a pytree can be differentiated: a `custom_jvp` wants it apart from flags and counts."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp


def split_numbers(tree: Any) -> tuple[list[Any], list[Any], Callable[[Any, Any], Any]]:
    """Real and complex leaves apart from all others.

    Returns:
      `(numbers, rest, join)`: two lists of all leaves in order, each with None where the other one
      has the leaf, and `join(numbers, rest)`, the tree again.
    """
    leaves, structure = jax.tree.flatten(tree)
    is_number = [jnp.issubdtype(jnp.result_type(leaf), jnp.inexact) for leaf in leaves]
    numbers = [leaf if flag else None for leaf, flag in zip(leaves, is_number, strict=True)]
    rest = [None if flag else leaf for leaf, flag in zip(leaves, is_number, strict=True)]

    def join(numbers, rest):
        pairs = zip(numbers, rest, strict=True)
        return jax.tree.unflatten(structure, [b if a is None else a for a, b in pairs])

    return numbers, rest, join
