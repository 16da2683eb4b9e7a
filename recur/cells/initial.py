"""Initial values of a cell's arrays."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp

Initializer = Callable[..., jax.Array]


def draw(init: Initializer, key: jax.Array, shape: tuple[int, ...], dtype: Any) -> jax.Array:
    """One array of `shape` and `dtype` from an initialiser of `jax.nn.initializers`.

    It is drawn in float32 at least, because orthogonal has no bfloat16 factorisation. An empty
    array, the kernel of an input of width 0, has no fan-in to draw from.
    """
    if not callable(init):
        raise TypeError(
            f"expected an initialiser, as jax.nn.initializers.orthogonal() makes one, got {init!r}."
        )
    if 0 in shape:
        return jnp.zeros(shape, dtype)
    wide = jnp.float32 if jnp.finfo(dtype).bits < 32 else dtype
    return init(key, shape, wide).astype(dtype)


def draw_each(
    fields: Any, init: Initializer, key: jax.Array, shape: tuple[int, ...], dtype: Any
) -> Any:
    """One array a gate: a NamedTuple of type `fields`, each drawn with a key of its own."""
    keys = jax.random.split(key, len(fields._fields))
    return fields(*(draw(init, k, shape, dtype) for k in keys))


def draw_bias(
    fields: Any,
    init: Initializer,
    key: jax.Array,
    shape: tuple[int, ...],
    dtype: Any,
    **opening: float,
) -> Any:
    """`draw_each` of biases, with what opens or closes a gate at first added, by its name."""
    bias = draw_each(fields, init, key, shape, dtype)
    return bias._replace(**{gate: getattr(bias, gate) + b for gate, b in opening.items()})


def draw_start(
    init: Initializer | None, key: jax.Array, shape: tuple[int, ...], dtype: Any
) -> jax.Array | None:
    """A learned start, when an initialiser asks for one."""
    return None if init is None else draw(init, key, shape, dtype)


def scaled_identity(scale: float = 1.0) -> Initializer:
    """An initialiser that makes a kernel `scale` times the identity.

    With ReLU units it makes an Elman network the IRNN, which starts as a sum over time.

    Args:
      scale: the eigenvalue of the kernel.

    Returns:
      An initialiser `(key, shape, dtype) -> array`; the shape must be `[H, H]`.

    Example:
      >>> import recur
      >>> irnn = recur.elman(
      ...     100, activation="relu", recurrent_kernel_init=recur.cells.scaled_identity()
      ... )

    References:
      Le, Jaitly & Hinton 2015, A Simple Way to Initialize Recurrent Networks of Rectified Linear
      Units, https://arxiv.org/abs/1504.00941
    """

    def init(key, shape, dtype=jnp.float32):
        del key
        if len(shape) != 2 or shape[0] != shape[1]:
            raise ValueError(f"the identity needs a square kernel [H, H], got {list(shape)}.")
        return scale * jnp.eye(shape[0], dtype=dtype)

    return init
