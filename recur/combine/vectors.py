"""What combinators ask of the arrays that a context holds."""

from __future__ import annotations

from typing import Any

import jax.numpy as jnp

from recur.checks import describe, from_context
from recur.types import Context


def check_real(value: Any, shape: str, asker: str) -> Any:
    """`value`, when it is an array of real numbers with as many axes as `shape` names."""
    if not hasattr(value, "shape"):
        raise ValueError(f"{asker} is to be one array {shape}, got {describe(value)}.")
    if len(value.shape) != 1 + shape.count(","):
        raise ValueError(
            f"{asker} takes {shape} of one sequence, got {describe(value)}. For a batch of "
            "sequences, with a row axis in front, wrap the layer in recur.batch."
        )
    if not jnp.issubdtype(value.dtype, jnp.floating):
        raise TypeError(f"{asker} takes real numbers {shape}, got {describe(value)}.")
    return value


def vector_from(context: Context, name: str, asker: str) -> Any:
    """The real `[D]` that a context calls `name`, or its shape."""
    return check_real(from_context(context, name, asker), "[D]", f"{asker}: {name!r}")


def check_width(came: int, expected: int, what: str) -> None:
    """Raises a ValueError unless a context has the width D that weights were made for."""
    if came != expected:
        raise ValueError(f"{what} had the width {expected} at init, and has {came} now.")
