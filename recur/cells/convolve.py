"""A convolution whose derivatives are fast on a CPU, also inside a loop.

    y[n, s, f] = sum over offsets o and channels c of x[n, s + o, c] K[o, c, f]

JAX computes the derivatives of a convolution with the channel and batch axes of its factors
exchanged. Inside a loop, XLA's CPU backend has a fast routine only for convolutions with channels
last; it runs all others as nested loops, which are ten to a hundred times slower
(https://github.com/jax-ml/jax/issues/12868). Here the derivatives are computed with channels last:

    dx = dy * flip(K)        dK = x ⋆ dy,  the correlation of x and dy over batch and space

`⋆` is itself a convolution, which sums over the batch. Both are bilinear, and the derivatives of
`⋆` consist of the same two operations, so derivatives of all orders are fast.
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial
from typing import Any

import jax
import jax.numpy as jnp
from jax.extend.core import Primitive
from jax.interpreters import ad, batching, mlir

from recur.manual_axes import vary_over

Padding = tuple[tuple[int, int], ...]  # the zeros before and after each axis of space


def convolve(x: jax.Array, kernel: jax.Array) -> jax.Array:
    """Convolves x `[*space, C]` with a kernel `[*size, C, F]` of the same dtype.

    The stride is 1 and the border is padded with zeros, so the result is `[*space, F]`. An even
    kernel is padded with one more zero after than before. Under `vmap` the mapped axis becomes the
    batch axis of one convolution.
    """
    padding = tuple(((size - 1) // 2, size // 2) for size in kernel.shape[:-2])
    factors = (x[None], kernel)
    return _convolution.bind(*vary_over(factors, factors), padding=padding)[0]


_convolution = Primitive("convolution")  # of x `[N, *space, C]` and a kernel `[*size, C, F]`
_correlation = Primitive("correlation")  # of x `[N, *space, C]` and dy `[N, *space, F]`


@_convolution.def_impl
def _convolved(x: jax.Array, kernel: jax.Array, *, padding: Padding) -> jax.Array:
    """Computes `x * K`, `[N, *space, F]`."""
    space = _letters(padding)
    axes = (f"N{space}C", f"{space}IO", f"N{space}C")
    return _in_one_stride(x, kernel, padding, axes)


@_correlation.def_impl
def _correlated(x: jax.Array, dy: jax.Array, *, padding: Padding) -> jax.Array:
    """Computes `x ⋆ dy`, `[*size, C, F]`: with the channels of x as the batch."""
    space = _letters(padding)
    axes = (f"C{space}N", f"I{space}O", f"{space}NC")
    return _in_one_stride(x, dy, padding, axes)


def _correlated_channels_last(x: jax.Array, dy: jax.Array, *, padding: Padding) -> jax.Array:
    """Computes `_correlated` with channels last, which is fast on a CPU."""
    x, dy = jnp.swapaxes(x, 0, -1), jnp.moveaxis(dy, 0, -2)
    return jnp.moveaxis(_convolved(x, dy, padding=padding), 0, -2)


def _in_one_stride(x: jax.Array, kernel: jax.Array, padding: Padding, axes: Any) -> jax.Array:
    strides = (1,) * len(padding)
    return jax.lax.conv_general_dilated(x, kernel, strides, padding, dimension_numbers=axes)


def _letters(padding: Padding) -> str:
    return "DHW"[: len(padding)]


def _back_to_input(change: jax.Array, kernel: jax.Array, padding: Padding) -> jax.Array:
    """Computes `dy * flip(K)`, padded to the size of x."""
    sizes = kernel.shape[:-2]
    flipped = jnp.swapaxes(jnp.flip(kernel, range(len(sizes))), -1, -2)
    remaining = tuple(
        (size - 1 - before, size - 1 - after)
        for size, (before, after) in zip(sizes, padding, strict=True)
    )
    return _convolution.bind(change, flipped, padding=remaining)


ad.defbilinear(
    _convolution,
    lambda change, x, kernel, *, padding: _back_to_input(change, kernel, padding),
    lambda change, x, kernel, *, padding: _correlation.bind(x, change, padding=padding),
)
ad.defbilinear(
    _correlation,
    lambda change, x, dy, *, padding: _back_to_input(dy, change, padding),
    lambda change, x, dy, *, padding: _convolution.bind(x, change, padding=padding),
)


def _rows_as_one_axis(args: Sequence[Any], axes: Sequence[Any], *, padding: Padding) -> Any:
    """Merges the mapped axis into the batch axis of the convolution."""
    (x, kernel), (of_x, of_kernel) = args, axes
    if of_kernel is not None:
        return _by_row(_convolved, args, axes, padding=padding)
    x = jnp.moveaxis(x, of_x, 0)
    rows = x.reshape(x.shape[0] * x.shape[1], *x.shape[2:])
    y = _convolution.bind(rows, kernel, padding=padding)
    return y.reshape(*x.shape[:2], *y.shape[1:]), 0


def _by_row(impl: Any, args: Sequence[Any], axes: Sequence[Any], *, padding: Padding) -> Any:
    """Maps over kernels that differ by row, for which JAX uses feature groups."""
    return jax.vmap(partial(impl, padding=padding), tuple(axes))(*args), 0


def _shape_of(impl: Any) -> Any:
    """Returns the abstract evaluation of a primitive, from its implementation."""

    def abstract(*args: Any, padding: Padding) -> Any:
        [aval] = jax.make_jaxpr(partial(impl, padding=padding))(*args).out_avals
        return aval

    return abstract


def _lowering(impl: Any) -> Any:
    return mlir.lower_fun(impl, multiple_results=False)


_convolution.def_abstract_eval(_shape_of(_convolved))
_correlation.def_abstract_eval(_shape_of(_correlated))
batching.primitive_batchers[_convolution] = _rows_as_one_axis
batching.primitive_batchers[_correlation] = partial(_by_row, _correlated)
mlir.register_lowering(_convolution, _lowering(_convolved))
mlir.register_lowering(_correlation, _lowering(_correlated))
mlir.register_lowering(_correlation, _lowering(_correlated_channels_last), platform="cpu")
