"""What all cells are made of: a checked width, weights in one dtype, a product."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp

from recur.checks import describe
from recur.products import product
from recur.types import Dropped


def input_width(x: Any, name: str) -> int:
    """The width I of an input `[I]` of one step."""
    if not hasattr(x, "shape"):
        raise ValueError(
            f"{name} reads one array, x of shape [I]; got {describe(x)}. Make one of the output "
            "of the cell below by recur.readout, or of an input by recur.readin."
        )
    if len(x.shape) != 1:
        raise ValueError(
            f"{name} reads one step of one sequence, x of shape [I]; got {list(x.shape)}. Lift the "
            "cell over time with recur.scan, and the layer over rows with recur.batch; turn tokens "
            "into vectors with flax.linen.Embed first."
        )
    return x.shape[0]


def casting(dtype: Any) -> Callable[..., Any]:
    """The `bind` that gives all weights `dtype`; where None, what the weights and x promote to."""

    def bind(params, x, *, key=None, context=None):
        del key, context
        inexact = [leaf.dtype for leaf in (*jax.tree.leaves(params), x) if is_inexact(leaf)]
        common = jnp.result_type(*inexact) if dtype is None else dtype
        return jax.tree.map(lambda leaf: leaf.astype(common), params)

    return bind


def is_inexact(x: Any) -> bool:
    """Whether x holds floating-point numbers, so that it has a say in the dtype."""
    return jnp.issubdtype(x.dtype, jnp.inexact)


def linear(x: jax.Array, kernel: jax.Array, bias: jax.Array | None, name: str) -> jax.Array:
    """`x @ kernel + bias` for one input `[I]`, in the dtype of the kernel."""
    if input_width(x, name) != kernel.shape[0]:
        raise ValueError(
            f"{name} was initialised for inputs of width {kernel.shape[0]}, got {x.shape[0]}."
        )
    return plus(product(x.astype(kernel.dtype), kernel), bias)


def linear_each(x: jax.Array, kernels: Any, biases: Any, name: str) -> Any:
    """`linear` for each gate of a NamedTuple of kernels; `biases` alike, or None."""
    biases = type(kernels)(*[None] * len(kernels)) if biases is None else biases
    return type(kernels)(*(linear(x, w, b, name) for w, b in zip(kernels, biases, strict=True)))


def candidate(phi: Callable, u: jax.Array | Dropped, m: jax.Array) -> jax.Array:
    """`φ(u + m)`, the new content of a cell, masked where noise asks for it."""
    if isinstance(u, Dropped):
        return u.mask * phi(u.value + m)
    return phi(u + m)


def plus(x: jax.Array, bias: jax.Array | None) -> jax.Array:
    """`x + bias`, where there is one."""
    return x if bias is None else x + bias


def start_from(start: jax.Array | None, kernel: jax.Array, features: int) -> jax.Array:
    """A learned start, or zeros `[features]` in the dtype of the kernel."""
    return jnp.zeros(features, kernel.dtype) if start is None else start


def itself(bound: Any, carry: Any) -> Any:
    """The `hidden` of a gated cell whose carry is its hidden state."""
    del bound
    return carry


def hidden_field(bound: Any, carry: Any) -> jax.Array:
    """The `hidden` of a gated cell whose carry calls it so."""
    del bound
    return carry.hidden


def same(bound: Any, value: Any, x: Any, key: jax.Array | None = None) -> Any:
    """The `read` of a gated cell whose output is as its gates give it."""
    del bound, x, key
    return value
