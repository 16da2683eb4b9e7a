"""Values of users as arrays."""

from __future__ import annotations

from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jax.core import Tracer

from recur.checks import is_number


def as_array(name: str, value: Any) -> jax.Array:
    """`value` as an array; a TypeError that names it unless JAX can make one of it."""
    try:
        if not isinstance(value, str):  # of which NumPy would take some for the name of a dtype
            return jnp.asarray(value)
        reason = None
    except (TypeError, ValueError) as error:
        reason = error
    dtype = getattr(value, "dtype", None)
    came = type(value).__name__ if dtype is None else f"an array of {dtype}"
    raise TypeError(f"{name}: expected an array of numbers, got {came}.") from reason


def as_reals(name: str, value: Any) -> np.ndarray:
    """`value` as an array of NumPy; a TypeError that names it unless it holds real numbers."""
    try:
        array = np.asarray(value)
    except ValueError as error:
        raise TypeError(
            f"{name}: expected an array of real numbers, got {type(value).__name__}."
        ) from error
    if not any(jnp.issubdtype(array.dtype, kind) for kind in (jnp.floating, jnp.integer)):
        came = array.dtype if array.ndim else type(value).__name__
        raise TypeError(f"{name}: expected an array of real numbers, got {came}.")
    return array


def check_one_number(name: str, value: Any) -> None:
    """Raises a TypeError unless `value` is one real number, which may be an array or traced."""
    is_array = isinstance(value, (jax.Array, Tracer)) or hasattr(value, "dtype")
    is_real = is_array and value.shape == () and value.dtype.kind in "iufV"  # V: bfloat16
    if not is_real and not is_number(value):
        came = f"{value.dtype}{list(value.shape)}" if is_array else repr(value)
        raise TypeError(f"{name}: expected one number, got {came}.")
