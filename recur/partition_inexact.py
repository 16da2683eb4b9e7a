"""Partition of a pytree into leaves that can be differentiated and the others."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp


def partition_inexact(tree: Any) -> tuple[list[Any], list[Any], Callable[[Any, Any], Any]]:
    """Partitions the leaves of a tree into inexact (real and complex) ones and the rest.

    Returns:
      `(inexact, rest, join)`: two lists in the order of the leaves, each with None where the leaf
      is in the other, and a function with `join(inexact, rest) == tree`.
    """
    leaves, structure = jax.tree.flatten(tree)
    is_inexact = [jnp.issubdtype(jnp.result_type(leaf), jnp.inexact) for leaf in leaves]
    inexact = [leaf if flag else None for leaf, flag in zip(leaves, is_inexact, strict=True)]
    rest = [None if flag else leaf for leaf, flag in zip(leaves, is_inexact, strict=True)]

    def join(inexact, rest):
        pairs = zip(inexact, rest, strict=True)
        return jax.tree.unflatten(structure, [b if a is None else a for a, b in pairs])

    return inexact, rest, join
