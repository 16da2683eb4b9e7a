"""Sums of logarithms, where probability zero is -inf, without NaN in values or gradients.

JAX also differentiates the branch that `where` does not select, and 0 · inf is NaN. So values of
-inf are replaced before each operation, and their results after it.
"""

from __future__ import annotations

import jax
import jax.numpy as jnp


def log_sum(values: jax.Array, axis: int | tuple[int, ...]) -> jax.Array:
    """`log Σ exp(values)`; -inf, with a gradient of zero, where all values are -inf."""
    greatest = jax.lax.stop_gradient(values.max(axis, keepdims=True))
    possible = greatest != -jnp.inf  # True for NaN, which must not become -inf
    greatest = jnp.where(possible, greatest, 0)
    total = jnp.exp(values - greatest).sum(axis, keepdims=True)
    log_total = jnp.log(jnp.where(possible, total, 1)) + greatest
    return jnp.where(possible, log_total, -jnp.inf).squeeze(axis)


def safe_subtract(values: jax.Array, total: jax.Array) -> jax.Array:
    """`values - total`, broadcast; -inf where the total is -inf."""
    possible = total != -jnp.inf
    return jnp.where(possible, values - jnp.where(possible, total, 0), -jnp.inf)
