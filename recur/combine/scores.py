"""Score functions of attention, which compare a query with each row of a memory."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp

from recur.checks import check_whole


class Score(NamedTuple):
    """A score function of attention and its weights.

    Attributes:
      compare: `compare(weights, q, keys) -> e [S]`, where `keys` `[S, A]` are the rows m_j W_m.
      has_query_kernel: whether it has W_q.
      has_vector: whether it has w.
    """

    compare: Callable[[Any, jax.Array, jax.Array], jax.Array]
    has_query_kernel: bool
    has_vector: bool

    def init(
        self, draw: Callable[..., jax.Array], key: jax.Array, query: int, memory: int, features: int
    ) -> dict[str, Any]:
        """Draws weights for the widths Q, D and A; `draw(key, shape)` draws each of them."""
        q, m, w = jax.random.split(key, 3)
        return {
            "query_kernel": draw(q, (query, features)) if self.has_query_kernel else None,
            "memory_kernel": draw(m, (memory, features)),
            "vector": draw(w, (features, 1))[:, 0] if self.has_vector else None,
        }


def additive(weights: Any, q: jax.Array, keys: jax.Array) -> jax.Array:
    """Computes `e_j = w · tanh(q W_q + m_j W_m)`."""
    return jnp.tanh((q @ weights.query_kernel)[None] + keys) @ weights.vector


def multiplicative(weights: Any, q: jax.Array, keys: jax.Array) -> jax.Array:
    """Computes `e_j = q · (m_j W_m)`."""
    del weights
    return keys @ q


def dot(weights: Any, q: jax.Array, keys: jax.Array) -> jax.Array:
    """Computes `e_j = (q W_q) · (m_j W_m) / √A`."""
    return keys @ (q @ weights.query_kernel) / math.sqrt(keys.shape[1])


SCORES = {
    "additive": Score(additive, has_query_kernel=True, has_vector=True),
    "multiplicative": Score(multiplicative, has_query_kernel=False, has_vector=False),
    "dot": Score(dot, has_query_kernel=True, has_vector=False),
}


def check_score(name: str, features: int | None) -> None:
    """Raises a ValueError unless the score is known, and takes `features` if they are given."""
    if name not in tuple(SCORES):
        raise ValueError(f"attend: expected score as one of {', '.join(SCORES)}, got {name!r}.")
    if features is None:
        return
    check_whole("attend: features", features, 1)
    if not SCORES[name].has_query_kernel:
        raise ValueError(
            'attend: features are only for the scores "additive" and "dot", got score='
            f"{name!r}, which uses the width of the query."
        )
