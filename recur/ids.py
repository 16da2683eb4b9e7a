"""Ids of a vocabulary, looked at on the host wherever their values are known."""

from __future__ import annotations

from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from recur.checks import known_value


def check_known_ids(
    asker: str, what: str, ids: Any, size: int | None, *, mask: Any = None, length: Any = None
) -> None:
    """Raises a ValueError that names the place, unless known ids are from 0 to `size` - 1.

    Inside of a transformation ids, mask and length may have no values yet: then none is checked.

    Args:
      asker: the function that was called, for the message.
      what: what the ids are, in the plural.
      ids: integer `[...]`, as the user gave them: `jnp.asarray` of known ids is a tracer in jit.
      size: of the vocabulary; None where it has no known end.
      mask: bool `[...]`, True where the id counts; all by default.
      length: integer, without the last axis of ids: how many steps count; all by default.
    """
    values, counted = known_value(ids), known_value(True if mask is None else mask)
    if values is None or counted is None:
        return
    if length is not None:
        lengths = known_value(length)
        if lengths is None:
            return
        counted = counted & (np.arange(values.shape[-1]) < lengths[..., None])
    outside = np.argwhere(((values < 0) | (size is not None and values >= size)) & counted)
    if len(outside):
        place = tuple(outside[0].tolist())
        where = f" at step {place[-1]}" if place else ""
        row = f" of row {', '.join(map(str, place[:-1]))}" if place[:-1] else ""
        bounds = "of at least 0" if size is None else f"from 0 to {size - 1}"
        raise ValueError(f"{asker}: expected {what} {bounds}, got {values[place]}{where}{row}.")


def is_inside(ids: jax.Array, size: int) -> jax.Array:
    """Which ids are from 0 to `size` - 1, for those that have no values yet."""
    ids = ids if ids.dtype.itemsize >= 4 else ids.astype(jnp.int32)
    return (ids >= jnp.zeros_like(ids)) & (ids < jnp.full_like(ids, size))
