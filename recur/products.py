"""Products of rows with kernels, as a CPU wants them: of all steps at once, and of one in a loop.

JAX finds the same products, but lays them out such that XLA rearranges the larger factor. `product`
is for all steps: under `vmap` rows go behind steps, where a loop takes them, and the way back is a
product of two matrices, from which XLA copies nothing. `multiplier` is for a loop, in which kernels
stay the same while h changes. There a product reads its left factor as it lies in memory, and
rearranges the right one, and in h W that would be the kernels, again in each step. So under `vmap`
it is Wᵀ hᵀ, and on the way back W dmᵀ: the kernels stand on the left, and lie in memory both ways.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from typing import Any

import jax
import jax.numpy as jnp
from jax.extend.core import Primitive
from jax.interpreters import ad, batching, mlir

from recur.varying import vary_over

_SMALL = 2**19  # bytes: in a core's own cache it does not matter how often kernels are read


def product(x: jax.Array, kernel: jax.Array) -> jax.Array:
    """`x W` for x `[..., D]`, W `[D, E]`; block by block for a block-diagonal W `[heads, d, e]`."""
    if kernel.ndim == 2:
        dtype = jnp.result_type(x, kernel)
        factors = (x.astype(dtype), kernel.astype(dtype))
        return _product.bind(*vary_over(factors, factors))
    heads, d, e = kernel.shape
    blocks = jnp.einsum("...nd,nde->...ne", x.reshape(*x.shape[:-1], heads, d), kernel)
    return blocks.reshape(*x.shape[:-1], heads * e)


def multiplier(kernels: Sequence[jax.Array]) -> Callable[[jax.Array], Sequence[jax.Array]]:
    """`h -> [h W for W in kernels]`, h `[H]`; as one product for kernels of one height."""
    heights = {(kernel.ndim, kernel.shape[0], kernel.dtype) for kernel in kernels}
    if len(heights) != 1 or kernels[0].ndim != 2:
        return lambda h: [product(h, kernel) for kernel in kernels]
    if sum(kernel.nbytes for kernel in kernels) <= _SMALL:
        wide = jnp.concatenate(kernels, axis=1)
        return lambda h: jax.lax.split(h @ wide, [kernel.shape[1] for kernel in kernels])
    tall = jnp.concatenate([kernel.T for kernel in kernels])

    def multiply(h):
        factors = (tall, h, *kernels)
        return _products.bind(*vary_over(factors, factors))

    return multiply


_product = Primitive("product")  # of x `[..., D]` and a kernel `[D, E]`


@_product.def_impl
def _times(x: jax.Array, kernel: jax.Array) -> jax.Array:
    y = _as_matrix(x) @ kernel
    return y.reshape(*x.shape[:-1], kernel.shape[1])


def _as_matrix(x: jax.Array) -> jax.Array:
    return x.reshape(math.prod(x.shape[:-1]), x.shape[-1])


@_product.def_abstract_eval
def _shape(*args: Any) -> Any:
    [aval] = jax.make_jaxpr(_times)(*args).out_avals
    return aval


def _rows_behind_steps(args: Sequence[Any], axes: Sequence[Any]) -> Any:
    (x, kernel), (of_x, of_kernel) = args, axes
    if of_kernel is not None:
        return jax.vmap(_times, (of_x, of_kernel))(x, kernel), 0
    x = jnp.moveaxis(x, of_x, -2)
    return _product.bind(x, kernel), x.ndim - 2


ad.defbilinear(
    _product,
    lambda change, x, kernel: _product.bind(change, kernel.T),
    lambda change, x, kernel: _as_matrix(x).T @ _as_matrix(change),
)
batching.primitive_batchers[_product] = _rows_behind_steps
mlir.register_lowering(_product, mlir.lower_fun(_times, multiple_results=False))


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
    """`dm = dh W + h dW`; dW is in the tangent of `tall`."""
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
