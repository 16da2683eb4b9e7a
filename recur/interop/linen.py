"""Recurrent cells of Flax Linen as cells of `recur`."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import jax

from recur.call_repr import call_repr
from recur.interop.foreign import foreign_cell, named
from recur.modules import of_linen
from recur.types import Cell


@call_repr
def from_linen(cell: Any) -> Cell:
    """Wraps a recurrent cell of Flax Linen as a cell of `recur`.

        carry_t, y_t = cell.apply(params, carry_{t-1}, x_t)

    Args:
      cell: a `flax.linen.RNNCellBase`, such as `nn.OptimizedLSTMCell(64)` or your own. A random
        initial carry is drawn with a fixed key.

    Returns:
      A `Cell` with the variables "params" of the module, and its carry, input and output. Dropout
      in it is on when a key is given.

    Raises:
      TypeError: when `cell` is not a recurrent cell of Linen.
      ValueError: while tracing, when the module has other variables than "params", or its carry
        changes structure.

    Example:
      >>> import jax, jax.numpy as jnp, recur
      >>> from flax import linen as nn
      >>> layer = recur.scan(recur.interop.from_linen(nn.OptimizedLSTMCell(4)))
      >>> xs = jnp.ones((5, 3))
      >>> params = layer.init(jax.random.key(0), xs)
      >>> layer(params, xs, length=2)[2:].any()
      Array(False, dtype=bool)

    References:
      Heek et al. 2020, Flax: A neural network library and ecosystem for JAX,
      https://github.com/google/flax
    """
    from flax import linen as nn

    if not isinstance(cell, nn.RNNCellBase):
        raise TypeError(
            "from_linen: expected a recurrent cell of Flax Linen, such as nn.LSTMCell(64), got "
            f"{named(cell)}. Pass a module without a carry to recur.chain or recur.readout, and a "
            "cell of Flax NNX to recur.interop.from_nnx."
        )
    module = of_linen(cell)

    def init(key, x):
        return module.init(key, init_carry(None, x), x)

    def init_carry(params, x):
        del params
        return cell.initialize_carry(jax.random.key(0), x.shape)

    def step(params, carry, x, key):
        return module.apply(params, carry, x, key=key)

    return foreign_cell(f"from_linen({type(cell).__name__})", Mapping, init, init_carry, step)
