"""Casts to the precision that long sums, log probabilities and random draws need."""

from __future__ import annotations

from typing import Any

import jax
import jax.numpy as jnp


def at_least_float32(tree: Any) -> Any:
    """Casts floats of 16 bits or fewer to float32 and leaves all other arrays as they are."""

    def widen(leaf):
        is_narrow = jnp.issubdtype(leaf.dtype, jnp.floating) and leaf.dtype.itemsize < 4
        return leaf.astype(jnp.float32) if is_narrow else leaf

    return jax.tree.map(widen, tree)


def as_float(array: jax.Array) -> jax.Array:
    """Casts integers and flags to floats, and floats to at least float32."""
    is_inexact = jnp.issubdtype(array.dtype, jnp.inexact)
    return at_least_float32(array) if is_inexact else array.astype(jnp.result_type(float))
