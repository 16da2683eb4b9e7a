"""Conversion of users' values to arrays."""

from __future__ import annotations

from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jax.core import Tracer

from recur.checks import is_number


def as_array(name: str, value: Any) -> jax.Array:
    """Converts `value` to a JAX array; raises a TypeError with its name if JAX cannot."""
    try:
        if not isinstance(value, str):  # NumPy would read some strings as names of dtypes
            return jnp.asarray(value)
        reason = None
    except (TypeError, ValueError) as error:
        reason = error
    dtype = getattr(value, "dtype", None)
    came = type(value).__name__ if dtype is None else f"an array of {dtype}"
    raise TypeError(f"{name}: expected an array of numbers, got {came}.") from reason


def as_reals(name: str, value: Any) -> np.ndarray:
    """Converts `value` to a NumPy array; raises a TypeError unless it holds real numbers."""
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
    """Raises a TypeError unless `value` is one real number; a scalar array or tracer is allowed."""
    is_array = isinstance(value, (jax.Array, Tracer)) or hasattr(value, "dtype")
    is_real = is_array and value.shape == () and value.dtype.kind in "iufV"  # V: bfloat16
    if not is_real and not is_number(value):
        came = f"{value.dtype}{list(value.shape)}" if is_array else repr(value)
        raise TypeError(f"{name}: expected one number, got {came}.")
