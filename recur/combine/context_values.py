"""Values that combinators read from the context: vectors, and the memory of `attend`."""

from __future__ import annotations

from typing import Any, NamedTuple

import jax
import jax.numpy as jnp

from recur.checks import describe, from_context
from recur.types import Context


class Memory(NamedTuple):
    """The memory of `attend`, such as the outputs of an encoder.

    Attributes:
      values: m, real `[S, D]`; masked rows have no effect, even if they are NaN.
      mask: bool `[S]`, True where the row counts; None if all rows count.
    """

    values: jax.Array
    mask: jax.Array | None = None


def vector_from(context: Context, name: str, caller: str) -> Any:
    """Returns the real vector `[D]` called `name` in a context, or its shape."""
    return _check_real(from_context(context, name, caller), "[D]", f"{caller}: {name!r}")


def memory_from(context: Context, name: str, caller: str) -> Memory:
    """Returns the memory called `name` in a context, or its shape; an array becomes a `Memory`.

    Raises:
      ValueError: when there is none, or its arrays do not have the shapes of one sequence.
      TypeError: when its values are not real numbers, or its mask is not bool.
    """
    memory = from_context(context, name, caller)
    values, mask = memory if isinstance(memory, Memory) else (memory, None)
    caller = f"{caller}: the memory {name!r}"
    _check_real(values, "[S, D] or recur.combine.Memory(values, mask)", caller)
    if mask is not None and getattr(mask, "shape", None) != values.shape[:1]:
        raise ValueError(
            f"{caller}: expected a mask with one flag for each row, {list(values.shape[:1])}, got "
            f"{describe(mask)}."
        )
    if mask is not None and mask.dtype != jnp.bool_:
        raise TypeError(f"{caller}: expected a bool mask, got {mask.dtype}.")
    return Memory(values, mask)


def zero_masked(memory: Memory, dtype: Any) -> Memory:
    """Casts the memory to `dtype` and sets masked rows to zero, since NaN times 0 is NaN."""
    values = jnp.asarray(memory.values).astype(dtype)
    if memory.mask is None:
        return Memory(values)
    mask = jnp.asarray(memory.mask)
    return Memory(jnp.where(mask[:, None], values, jnp.zeros_like(values)), mask)


def check_width(came: int, expected: int, what: str) -> None:
    """Raises a ValueError unless a value of the context has the width that it had at `init`."""
    if came != expected:
        raise ValueError(f"{what}: expected the width {expected}, as at init, got {came}.")


def _check_real(value: Any, expected: str, caller: str) -> Any:
    """Returns `value` if it is a real array with as many axes as the shape in `expected`."""
    if not hasattr(value, "shape"):
        raise ValueError(f"{caller}: expected one array {expected}, got {describe(value)}.")
    shape = expected[: expected.index("]") + 1]
    if len(value.shape) != 1 + shape.count(","):
        raise ValueError(
            f"{caller}: expected {shape} of one sequence, got {describe(value)}. For a batch of "
            "sequences, with a batch axis first, wrap the layer in recur.batch."
        )
    if not jnp.issubdtype(value.dtype, jnp.floating):
        raise TypeError(f"{caller}: expected real numbers {shape}, got {describe(value)}.")
    return value
