"""Recurrent cells of Flax NNX as cells of `recur`."""

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
    """Wraps a recurrent cell of Flax NNX as a cell of `recur`.

        carry_t, y_t = cell(carry_{t-1}, x_t)

    Args:
      make: `make(rngs) -> cell`. It is called once immediately, for the structure of the cell, and
        by each `init` with `nnx.Rngs` of its key. A random initial carry is drawn with a fixed key.

    Returns:
      A `Cell` whose params are the values of each `nnx.Param` by name, as nested dicts, with the
      carry, input and output of the module. Dropout in it is on when a key is given.

    Raises:
      TypeError: when `make` does not return a recurrent cell of NNX.
      ValueError: when the module has variables other than parameters and random streams; while
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
            "from_nnx: expected a function of rngs that makes a recurrent cell, such as "
            f"lambda rngs: nnx.LSTMCell(3, 64, rngs=rngs), got {named(make, made)}."
        )
    name = f"from_nnx({type(made).__name__})"
    graph, like, streams, others = split_nnx(made)
    if jax.tree.leaves(others):
        raise ValueError(
            f"{name}: expected a cell with only parameters and random streams as variables, got "
            f"also {sorted(map(str, nnx.to_pure_dict(others)))}. Keep state in the carry."
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
