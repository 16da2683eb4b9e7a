"""Checks that ids are in a vocabulary, on the host where their values are known."""

from __future__ import annotations

from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from recur.checks import known_value


def check_known_ids(
    caller: str, what: str, ids: Any, size: int | None, *, mask: Any = None, length: Any = None
) -> None:
    """Raises a ValueError that names the position, unless known ids are from 0 to `size` - 1.

    If ids, mask or length are traced, nothing is checked.

    Args:
      caller: the function that was called, for the message.
      what: what the ids are, in the plural.
      ids: integer `[...]`, as the user gave them: `jnp.asarray` of known ids is a tracer in jit.
      size: the size of the vocabulary; None if it is unknown.
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
        raise ValueError(f"{caller}: expected {what} {bounds}, got {values[place]}{where}{row}.")


def is_inside(ids: jax.Array, size: int) -> jax.Array:
    """Returns which ids are from 0 to `size` - 1; also for traced ids."""
    ids = ids if ids.dtype.itemsize >= 4 else ids.astype(jnp.int32)
    return (ids >= jnp.zeros_like(ids)) & (ids < jnp.full_like(ids, size))
