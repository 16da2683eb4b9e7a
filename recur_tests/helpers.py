"""What many tests need: random pytrees, NumPy views, comparison."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from typing import Any

import chex
import jax
import jax.monitoring
import jax.numpy as jnp
import numpy as np
from jax.extend.core import jaxprs_in_params


def random_like(tree: Any, seed: int, scale: float = 0.5) -> Any:
    """Normal values for all arrays of a tree or of its shapes, so that no bias is zero."""
    draws = np.random.default_rng(seed)

    def draw(leaf):
        values = draws.standard_normal(leaf.shape)
        if jnp.issubdtype(leaf.dtype, jnp.complexfloating):
            values = values + 1j * draws.standard_normal(leaf.shape)
        return jnp.asarray(scale * values, leaf.dtype)

    return jax.tree.map(draw, tree)


def to_numpy(tree: Any) -> Any:
    """The tree with NumPy arrays, for the oracles."""
    return jax.tree.map(np.asarray, tree)


def assert_close(actual: Any, expected: Any, tolerance: float = 1e-9) -> None:
    """Compares two pytrees leaf by leaf."""
    assert jax.tree.structure(actual) == jax.tree.structure(expected)
    chex.assert_trees_all_close(actual, expected, rtol=tolerance, atol=tolerance)


def weighted_sum(tree: Any) -> jax.Array:
    """A sum with unequal weights, so that no error cancels in its gradient."""
    parts = [
        part.ravel()
        for leaf in jax.tree.leaves(tree)
        for part in ([leaf.real, leaf.imag] if jnp.iscomplexobj(leaf) else [leaf])
    ]
    flat = jnp.concatenate(parts)
    return flat @ jnp.cos(jnp.arange(flat.size, dtype=flat.dtype))


@contextlib.contextmanager
def counting_compilations() -> Iterator[list[str]]:
    """A list that grows by an event with each program that XLA compiles."""
    compiled: list[str] = []

    def listen(event, seconds, **_):
        if "backend_compile" in event:
            compiled.append(event)

    jax.monitoring.register_event_duration_secs_listener(listen)
    try:
        yield compiled
    finally:
        jax.monitoring.unregister_event_duration_listener(listen)


def inner_jaxprs(equation: Any) -> list[Any]:
    """The jaxprs among the parameters of an equation."""
    return [getattr(jaxpr, "jaxpr", jaxpr) for jaxpr in jaxprs_in_params(equation.params)]


def count_primitives(closed: Any, *names: str) -> int:
    """How often primitives of these names are bound in a jaxpr, those within others included."""

    def count(jaxpr):
        return sum(
            (equation.primitive.name in names) + sum(map(count, inner_jaxprs(equation)))
            for equation in jaxpr.eqns
        )

    return count(closed.jaxpr)
