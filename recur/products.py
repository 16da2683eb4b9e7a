"""Products with a kernel that is the same at all steps, in forms that are fast in XLA.

`product` is for all steps at once. The derivative of y = x W with respect to W, for x `[T, B, D]`,
is xᵀ dy summed over steps and rows. JAX writes it with dy as the left factor, and XLA's CPU backend
then transposes dy in memory first, which takes half the time of a gradient for wide layers. With x
as the left factor there is no transposition. No axes are merged, so the sharding of each is kept.

`loop_product` is for one step in a loop. Its transpose is dy Wᵀ, for which a CPU would read W
against its memory layout, or rearrange it, at each step. So Wᵀ, computed once, is an argument.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import jax
import jax.numpy as jnp
from jax.extend.core import Primitive
from jax.interpreters import ad, batching, mlir

from recur.manual_axes import (
    explicit_sharding,
    placed_like,
    product_sharding,
    vary_over,
)


def product(x: jax.Array, kernel: jax.Array, **params: Any) -> jax.Array:
    """Computes `x W` for all steps, of x `[..., D]` and W `[D, E]`; `vmap` adds rows after steps.

    Args:
      x: the factor that varies over time.
      kernel: the factor that is the same at all steps.
      **params: `precision` and `preferred_element_type` of `jax.lax.dot_general`.
    """
    return _product.bind(*vary_over((x, kernel), (x, kernel)), **params)


def loop_product(
    x: jax.Array, kernel: jax.Array, transposed: jax.Array, **params: Any
) -> jax.Array:
    """Computes `x W` in a loop, of x `[D]` and W `[D, E]`; Wᵀ `[E, D]` is for the backward pass."""
    factors = (x, kernel, transposed)
    return _loop_product.bind(*vary_over(factors, factors), **params)


def _multiply(x: jax.Array, kernel: jax.Array, *_: Any, **params: Any) -> jax.Array:
    params["out_sharding"] = product_sharding(x, kernel)
    return jax.lax.dot_general(x, kernel, (((x.ndim - 1,), (0,)), ((), ())), **params)


def _transpose_to_x(dy: jax.Array, x: Any, kernel: jax.Array, **params: Any) -> jax.Array:
    """Returns dy Wᵀ, the cotangent of x."""
    return placed_like(x.aval, product(dy, kernel.T, **params).astype(x.aval.dtype))


def _transpose_to_kernel(dy: jax.Array, x: jax.Array, kernel: Any, **params: Any) -> jax.Array:
    """Returns xᵀ dy, summed over all axes but the last: the cotangent of W."""
    axes = tuple(range(x.ndim - 1))
    sharding = explicit_sharding(kernel.aval, dy)
    d_kernel = jax.lax.dot_general(x, dy, ((axes, axes), ((), ())), out_sharding=sharding, **params)
    return d_kernel.astype(kernel.aval.dtype)


def _shape(*args: Any, **params: Any) -> Any:
    [aval] = jax.make_jaxpr(lambda *given: _multiply(*given, **params))(*args).out_avals
    return aval


def _batch(primitive: Primitive, args: Sequence[Any], axes: Sequence[Any], **params: Any) -> Any:
    (x, *kernels), (of_x, *of_kernels) = args, axes
    if any(axis is not None for axis in of_kernels):  # kernels that differ by row
        multiply = jax.vmap(lambda x, kernel: _multiply(x, kernel, **params), axes[:2])
        return multiply(x, kernels[0]), 0
    x = jnp.moveaxis(x, of_x, -2)
    return primitive.bind(x, *kernels, **params), x.ndim - 2


def _new_primitive(name: str) -> Primitive:
    primitive = Primitive(name)
    primitive.def_impl(_multiply)
    primitive.def_abstract_eval(_shape)
    batching.primitive_batchers[primitive] = lambda *args, **kw: _batch(primitive, *args, **kw)
    mlir.register_lowering(primitive, mlir.lower_fun(_multiply, multiple_results=False))
    return primitive


_product = _new_primitive("product")
ad.defbilinear(_product, _transpose_to_x, _transpose_to_kernel)

_loop_product = _new_primitive("loop_product")


def _loop_product_jvp(primals: Any, tangents: Any, **params: Any) -> Any:
    """d(x W) = dx W + x dW; the tangent of Wᵀ is that of W."""
    (x, kernel, transposed), (d_x, d_kernel, _) = primals, tangents
    parts = []
    if not isinstance(d_x, ad.Zero):
        parts.append(loop_product(d_x, kernel, transposed, **params))
    if not isinstance(d_kernel, ad.Zero):
        parts.append(product(x, d_kernel, **params))
    y = loop_product(*primals, **params)
    return y, sum(parts[1:], parts[0]) if parts else ad.Zero(jax.typeof(y))


def _loop_product_transpose(dy: Any, x: Any, kernel: Any, transposed: Any, **params: Any) -> Any:
    d_x = loop_product(dy, transposed, kernel, **params).astype(x.aval.dtype)
    return [placed_like(x.aval, d_x), None, None]


ad.primitive_jvps[_loop_product] = _loop_product_jvp
ad.primitive_transposes[_loop_product] = _loop_product_transpose
