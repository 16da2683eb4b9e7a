"""The products of the loop, h W for kernels W that stay the same while h changes.

A CPU's product reads its left factor as it lies in memory, and rearranges the right one. In h W, for
many rows h, that would be the kernels, again in each step. So under `vmap` it is Wᵀ hᵀ, and on the
way back W dmᵀ: the kernels stand on the left both ways, and lie in memory in both ways; by itself
JAX would read the columns of one array on the way back.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import jax
import jax.numpy as jnp
from jax.extend.core import Primitive
from jax.interpreters import ad, batching, mlir

from recur.types import product

_SMALL = 2**19  # bytes: in a core's own cache it does not matter how often kernels are read


def multiplier(kernels: Sequence[jax.Array]) -> Callable[[jax.Array], Sequence[jax.Array]]:
    """`h -> [h W for W in kernels]`, h `[H]`; as one product for kernels of one height."""
    heights = {(kernel.ndim, kernel.shape[0], kernel.dtype) for kernel in kernels}
    if len(heights) != 1 or kernels[0].ndim != 2:
        return lambda h: [product(h, kernel) for kernel in kernels]
    if sum(kernel.nbytes for kernel in kernels) > _SMALL:
        tall = jnp.concatenate([kernel.T for kernel in kernels])
        return lambda h: _products.bind(tall, h, *kernels)
    wide = jnp.concatenate(kernels, axis=1)
    return lambda h: jax.lax.split(h @ wide, [kernel.shape[1] for kernel in kernels])


_products = Primitive("products")  # of the kernels, transposed and stacked in `tall`, and h
_products.multiple_results = True


@_products.def_impl
def _multiply(tall: jax.Array, h: jax.Array, *kernels: jax.Array) -> Sequence[jax.Array]:
    """For one row, h `[H]`, each m of H; for many, h `[B, H]`, each m `[H, B]`."""
    m = jax.lax.dot_general(tall, h, (((1,), (h.ndim - 1,)), ((), ())))
    return jax.lax.split(m, [kernel.shape[1] for kernel in kernels])


@_products.def_abstract_eval
def _shapes(*args: Any) -> Any:
    return jax.make_jaxpr(_multiply)(*args).out_avals


def _over_rows(args: Sequence[Any], axes: Sequence[Any]) -> Any:
    tall, h, *kernels = args
    of_tall, of_h, *of_kernels = axes
    if h.ndim > 2 or any(axis is not None for axis in (of_tall, *of_kernels)):
        results = jax.vmap(_multiply, tuple(axes))(*args)  # kernels that differ, or rows of rows
        return results, [0] * len(results)
    results = _products.bind(tall, jnp.moveaxis(h, of_h, 0), *kernels)
    return results, [1] * len(results)


def _along(primals: Sequence[Any], tangents: Sequence[Any]) -> Any:
    """dm = dh W + h dW; dW is in the tangent of `tall`."""
    (tall, h, *kernels), (d_tall, d_h, *_) = primals, tangents
    results = _products.bind(tall, h, *kernels)
    parts = []
    if not isinstance(d_h, ad.Zero):
        parts.append(_products.bind(tall, d_h, *kernels))
    if not isinstance(d_tall, ad.Zero):
        parts.append(_multiply(d_tall, h, *kernels))
    return results, [sum(each[1:], each[0]) for each in zip(*parts, strict=True)]


def _back(changes: Sequence[Any], tall: jax.Array, h: Any, *kernels: jax.Array) -> Any:
    """The way back: dhᵀ = sum of W dmᵀ over the kernels."""
    del h
    changes = [ad.instantiate_zeros(change) for change in changes]
    products = [kernel @ change for kernel, change in zip(kernels, changes, strict=True)]
    return [None, sum(products[1:], products[0]).T, *[None] * len(kernels)]


ad.primitive_jvps[_products] = _along
ad.primitive_transposes[_products] = _back
batching.primitive_batchers[_products] = _over_rows
mlir.register_lowering(_products, mlir.lower_fun(_multiply, multiple_results=True))
