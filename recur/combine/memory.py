"""A memory: vectors of which attention makes one."""

from __future__ import annotations

from typing import Any, NamedTuple

import jax
import jax.numpy as jnp

from recur.checks import describe, from_context
from recur.combine.vectors import check_real
from recur.types import Context


class Memory(NamedTuple):
    """What `attend` reads, such as the outputs of an encoder.

    Where `valid` is false, what stands in `values` never matters, NaN included.
    """

    values: jax.Array  # m: [S, D]
    valid: jax.Array | None = None  # bool [S], which rows count; all of them when None


def memory_from(context: Context, name: str, asker: str) -> Memory:
    """The memory that a context calls `name`, an array `[S, D]` or a `Memory`; or its shape.

    Raises:
      ValueError: when there is none, or its arrays are not of the shapes of one sequence.
      TypeError: when its values are not real numbers, or its flags not bool.
    """
    memory = from_context(context, name, asker)
    values, valid = memory if isinstance(memory, Memory) else (memory, None)
    if not hasattr(values, "shape"):
        raise ValueError(
            f"{asker}: the memory {name!r} is an array [S, D] or recur.combine.Memory(values, "
            f"valid); got {describe(memory)}."
        )
    check_real(values, "[S, D]", f"{asker}: the memory {name!r}")
    if valid is not None:
        dtype, shape = getattr(valid, "dtype", None), getattr(valid, "shape", None)
        if shape != values.shape[:1]:
            raise ValueError(
                f"{asker}: valid of the memory {name!r}: expected one flag a row, the shape "
                f"{list(values.shape[:1])}, got {describe(valid)}."
            )
        if dtype != jnp.bool_:
            raise TypeError(f"{asker}: valid of the memory {name!r}: expected bool, got {dtype}.")
    return Memory(values, valid)


def only_valid(memory: Memory, dtype: Any) -> Memory:
    """The memory in `dtype`, with zeros in the rows that do not count: products reach them too."""
    values = jnp.asarray(memory.values).astype(dtype)
    if memory.valid is None:
        return Memory(values)
    valid = jnp.asarray(memory.valid)
    return Memory(jnp.where(valid[:, None], values, jnp.zeros_like(values)), valid)
