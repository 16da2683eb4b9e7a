"""Recurrent cells of Flax NNX."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import jax

from recur.call_repr import call_repr
from recur.interop.foreign import foreign_cell, named
from recur.modules import merge_nnx, split_nnx
from recur.types import Cell


@call_repr
def from_nnx(make: Callable[[Any], Any]) -> Cell:
    """Wraps a recurrent cell of Flax NNX as a cell.

        carry_t, y_t = cell(carry_{t-1}, x_t)

    Args:
      make: `make(rngs) -> cell`, called with `nnx.Rngs` of the key of each `init`; it is called
        once at first, to see how the cell is made. If the cell draws its initial carry, it draws
        it from one fixed key.

    Returns:
      A `Cell`, whose params are the `nnx.Param`s by name, as nested dicts; the carry, x and y are
      as the module has them. Dropout in it is on when a key is given.

    Raises:
      TypeError: when `make` gives no recurrent cell of NNX.
      ValueError: when the module keeps other variables than parameters and random streams; while
        tracing, when its carry changes structure.

    Example:
      >>> import jax, jax.numpy as jnp, recur
      >>> from flax import nnx
      >>> layer = recur.scan(recur.interop.from_nnx(lambda rngs: nnx.GRUCell(3, 4, rngs=rngs)))
      >>> xs = jnp.ones((5, 3))
      >>> params = layer.init(jax.random.key(0), xs)
      >>> layer(params, xs).shape
      (5, 4)

    References:
      Heek et al. 2020, Flax: A neural network library and ecosystem for JAX,
      https://github.com/google/flax
    """
    from flax import linen as nn
    from flax import nnx

    is_maker = callable(make) and not isinstance(make, (nnx.Module, nn.Module))
    made: Any = make(nnx.Rngs(0)) if is_maker else None
    if not hasattr(made, "initialize_carry"):
        raise TypeError(
            "from_nnx: expected a function of rngs that makes a recurrent cell, as "
            f"lambda rngs: nnx.LSTMCell(3, 64, rngs=rngs), got {named(make, made)}."
        )
    name = f"from_nnx({type(made).__name__})"
    graph, like, streams, others = split_nnx(made)
    if jax.tree.leaves(others):
        raise ValueError(
            f"{name} keeps variables that are neither parameters nor random streams: "
            f"{sorted(map(str, nnx.to_pure_dict(others)))}. A recurrence is pure: its state is its "
            "carry."
        )

    def init(key, x):
        del x
        return nnx.to_pure_dict(split_nnx(make(nnx.Rngs(key)))[1])

    def init_carry(params, x):
        del params
        return made.initialize_carry(x.shape, rngs=nnx.Rngs(0))

    def step(params, carry, x, key):
        return merge_nnx(graph, like, params, streams, others, key)(carry, x)

    return foreign_cell(name, Mapping, init, init_carry, step)
