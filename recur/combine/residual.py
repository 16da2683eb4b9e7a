"""The residual connection around a cell."""

from __future__ import annotations

from typing import Any

import jax

from recur.checks import check_cell, describe
from recur.combine.structure import map_outputs
from recur.types import AnyCell


def residual(cell: AnyCell) -> AnyCell:
    """Adds the input to the output.

        y_t = x_t + v_t,    where carry_t, v_t = step(carry_{t-1}, x_t)

    The structure of a `GatedCell` or an `AffineCell` survives: the sum is taken after the loop.

    Args:
      cell: a cell whose outputs have the shape of its inputs.

    Returns:
      A cell of the same kind (a plain `Cell` for a stack), with the cell's own params and carry.

    Raises:
      TypeError: when `cell` is not a cell.
      ValueError: while tracing, when the shapes of x and v differ.

    Example:
      >>> import jax, jax.numpy as jnp, recur
      >>> deep = recur.stack(*[recur.residual(recur.gru(4)) for _ in range(3)])
      >>> layer = recur.scan(deep)
      >>> xs = jnp.ones((5, 4))
      >>> layer(layer.init(jax.random.key(0), xs), xs).shape
      (5, 4)

    References:
      He et al. 2016, Deep Residual Learning for Image Recognition, https://arxiv.org/abs/1512.03385
    """

    def add(bound: Any, v: Any, x: Any, key: Any) -> Any:
        del bound, key
        if jax.tree.map(lambda leaf: leaf.shape, v) != jax.tree.map(lambda leaf: leaf.shape, x):
            raise ValueError(
                f"residual adds x to the output, so both need one shape: x is {describe(x)}, the "
                f"output is {describe(v)}. Make the cell as wide as its input."
            )
        return jax.tree.map(lambda v, x: v + x.astype(v.dtype), v, x)

    check_cell(cell, "residual")
    return map_outputs(cell, add)
