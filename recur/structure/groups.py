"""Products with a common factor, computed as one product."""

from __future__ import annotations

import collections
from collections.abc import Iterable, Sequence
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp

from recur import products
from recur.structure.classes import Product
from recur.structure.jaxprs import Atom, aval_of, evaluate


class Group(NamedTuple):
    """Products of one vector with several matrices, computed with the concatenated matrix.

    A product of any other kind, such as a block-diagonal one, is a group by itself.

    Attributes:
      products: the list of products, each a `Product`.
    """

    products: list[Product]

    @property
    def factor(self) -> Atom:
        """The common factor."""
        return self.products[0].factor

    def join(self, kernels: Sequence[jax.Array]) -> jax.Array:
        """Concatenates the kernels, to `[H, N]` if the factor is a vector."""
        if not is_of_vector(self.products[0]):
            return kernels[0]
        pairs = zip(self.products, kernels, strict=True)
        oriented = [_oriented(product, kernel) for product, kernel in pairs]
        return jnp.concatenate(oriented, axis=1) if len(oriented) > 1 else oriented[0]

    def split(self, kernel: jax.Array) -> list[jax.Array]:
        """Splits a joined kernel into one for each product, `[H, n]` if the factor is a vector."""
        if len(self.products) == 1:
            return [kernel]
        return [*jax.lax.split(kernel, self._widths, axis=1)]

    def multiply(
        self, factor: jax.Array, kernel: jax.Array, transposed: jax.Array | None = None
    ) -> list[jax.Array]:
        """Computes all products of one step in a loop; `transposed` is for the backward pass."""
        if not is_of_vector(self.products[0]):
            return [_as_traced(self.products[0], factor, kernel)]
        params = _precision(self.products[0])
        if transposed is None:
            m = products.product(factor, kernel, **params)
        else:
            m = products.loop_product(factor, kernel, transposed, **params)
        return [*jax.lax.split(m, self._widths)] if len(self.products) > 1 else [m]

    def transpose(self, kernel: jax.Array) -> jax.Array | None:
        """Returns the transposed kernel for `multiply`."""
        return kernel.T if is_of_vector(self.products[0]) else None

    def multiply_steps(self, factor: jax.Array, kernel: jax.Array) -> list[jax.Array]:
        """Computes all products, under `vmap` over all steps."""
        pairs = zip(self.products, self.split(kernel), strict=True)
        return [_multiply_steps(product, factor, kernel) for product, kernel in pairs]

    @property
    def _widths(self) -> list[int]:
        return [aval_of(product.result).shape[0] for product in self.products]


def group(found: Iterable[Product]) -> list[Group]:
    """Groups products by their factor, dtypes and precision."""
    by_kind: dict[Any, list[Product]] = collections.defaultdict(list)
    for number, product in enumerate(found):
        kind = (
            product.factor,
            aval_of(product.kernel).dtype,
            *map(str, _precision(product).values()),
        )
        by_kind[kind if is_of_vector(product) else number].append(product)
    return [Group(of_kind) for of_kind in by_kind.values()]


def multiply_steps(product: Product, factor: jax.Array, kernel: jax.Array) -> jax.Array:
    """Computes one product with its original kernel, under `vmap` over all steps."""
    kernel = _oriented(product, kernel) if is_of_vector(product) else kernel
    return _multiply_steps(product, factor, kernel)


def is_of_vector(product: Product) -> bool:
    """Whether a product is that of a vector and a matrix."""
    return aval_of(product.factor).ndim == 1 and aval_of(product.kernel).ndim == 2


def _multiply_steps(product: Product, factor: jax.Array, kernel: jax.Array) -> jax.Array:
    if is_of_vector(product):
        return products.product(factor, kernel, **_precision(product))
    return _as_traced(product, factor, kernel)


def _as_traced(product: Product, factor: jax.Array, kernel: jax.Array) -> jax.Array:
    values: Any = {product.factor: factor, product.kernel: kernel}
    return evaluate([product.equation], values)(product.result)


def _oriented(product: Product, kernel: jax.Array) -> jax.Array:
    """Returns the kernel with its contracted axis first."""
    contracted, _ = product.equation.params["dimension_numbers"]
    return kernel if contracted[1 - product.side][0] == 0 else kernel.T


def _precision(product: Product) -> dict[str, Any]:
    params = product.equation.params
    return {name: params[name] for name in ("precision", "preferred_element_type")}
