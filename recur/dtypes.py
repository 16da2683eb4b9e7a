"""Where 16 bits are too few: sums over many steps, logarithms of probabilities, and draws."""

from __future__ import annotations

from typing import Any

import jax
import jax.numpy as jnp


def precise(tree: Any) -> Any:
    """A tree of arrays, its floats of 16 bits and less as float32; all others as they are."""

    def widen(leaf):
        is_narrow = jnp.issubdtype(leaf.dtype, jnp.floating) and leaf.dtype.itemsize < 4
        return leaf.astype(jnp.float32) if is_narrow else leaf

    return jax.tree.map(widen, tree)
