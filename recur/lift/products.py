"""The products of the loop, for rows that stand side by side: Wᵀ h, and back again W m.

A product reads its left factor as it lies in memory, and rearranges the right one. So the kernels
are the left factor both ways, and lie in memory in both ways; by itself JAX would read the columns
of one array on the way back.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from typing import Any

import jax
import jax.numpy as jnp
from jax.extend.core import Primitive
from jax.interpreters import ad, batching, mlir

from recur.types import product


def multiplier(kernels: Sequence[jax.Array]) -> Callable[[jax.Array], Sequence[jax.Array]]:
    """`h -> [Wᵀ h for W in kernels]`, h `[H, B]`; as one product for kernels of one height."""
    if not stand_side_by_side(kernels):
        return lambda h: [jax.vmap(product, (-1, None), -1)(h, kernel) for kernel in kernels]
    tall = jnp.concatenate([kernel.T for kernel in kernels])
    return lambda h: _products.bind(tall, h, *kernels)


def stand_side_by_side(kernels: Sequence[jax.Array]) -> bool:
    """Whether kernels are of one height, so that one product serves for all."""
    heights = {(kernel.ndim, kernel.shape[0], kernel.dtype) for kernel in kernels}
    return len(heights) == 1 and kernels[0].ndim == 2


_products = Primitive("products")  # of the kernels, stacked in `tall`, and h
_products.multiple_results = True


@_products.def_impl
def _multiply(tall: jax.Array, h: jax.Array, *kernels: jax.Array) -> Sequence[jax.Array]:
    return jax.lax.split(tall @ h, [kernel.shape[1] for kernel in kernels])


@_products.def_abstract_eval
def _shapes(*args: Any) -> Any:
    return jax.make_jaxpr(_multiply)(*args).out_avals


def _along(primals: Sequence[Any], tangents: Sequence[Any]) -> Any:
    """d(Wᵀ h) = Wᵀ dh + dWᵀ h; dW is in the tangent of `tall`."""
    (tall, h, *kernels), (d_tall, d_h, *_) = primals, tangents
    results = _products.bind(tall, h, *kernels)
    parts = []
    if not isinstance(d_h, ad.Zero):
        parts.append(_products.bind(tall, d_h, *kernels))
    if not isinstance(d_tall, ad.Zero):
        parts.append(_multiply(d_tall, h, *kernels))
    return results, [sum(each[1:], each[0]) for each in zip(*parts, strict=True)]


def _back(changes: Sequence[Any], tall: jax.Array, h: Any, *kernels: jax.Array) -> Any:
    """The way back: dh = [W, W, ...] [dm; dm; ...], each dm written into its place.

    A concatenation would be fused with all that the parts are computed from, and find out again for
    each number which part it belongs to. What the place held before, it does not matter what, is
    overwritten; zeros would be taken for a concatenation again.
    """
    shape = (len(tall), h.aval.shape[1])
    changes = [ad.instantiate_zeros(change) for change in changes]
    if math.prod(shape) > tall.size:  # more rows than units
        products = [kernel @ change for kernel, change in zip(kernels, changes, strict=True)]
        return [None, sum(products[1:], products[0]), *[None] * len(kernels)]
    place, begin = tall.ravel()[: math.prod(shape)].reshape(shape), 0
    for change in changes:
        place = jax.lax.dynamic_update_slice(place, change, (begin, 0))
        begin += len(change)
    return [None, jnp.concatenate(kernels, axis=1) @ place, *[None] * len(kernels)]


def _over_rows(args: Sequence[Any], axes: Sequence[Any]) -> Any:
    results = jax.vmap(_multiply, in_axes=tuple(axes))(*args)
    return results, [0] * len(results)


ad.primitive_jvps[_products] = _along
ad.primitive_transposes[_products] = _back
batching.primitive_batchers[_products] = _over_rows
mlir.register_lowering(_products, mlir.lower_fun(_multiply, multiple_results=True))
