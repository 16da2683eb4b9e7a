"""Products with all kernels: their values for one row and for many, and both ways back."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jax.sharding import AxisType, PartitionSpec

from recur import products
from recur.products import multiplier, product
from recur_tests.helpers import assert_close, weighted_sum

DRAWS = np.random.default_rng(0)


@pytest.fixture(params=["small", "large"])
def size(request, monkeypatch):
    """Kernels of either size are multiplied in another way by a `multiplier`."""
    if request.param == "large":
        monkeypatch.setattr(products, "_SMALL", 0)


of_both_sizes = pytest.mark.usefixtures("size")


def drawn(*shape):
    return jnp.asarray(DRAWS.standard_normal(shape))


@pytest.mark.parametrize("shape", [(), (5,), (2, 5), (0, 5), (3, 2, 5)], ids=str)
def test_product_and_its_derivatives_are_those_of_a_plain_one(shape):
    kernel, x = drawn(4, 3), drawn(*shape, 4)

    def results(multiply):
        def value(kernel, x):
            return weighted_sum(multiply(jnp.sin(x), kernel))

        gradient = jax.grad(value, (0, 1))

        @jax.jit
        def derive(kernel, x):
            twice = jax.grad(lambda *given: weighted_sum(gradient(*given)), (0, 1))
            direction = jax.jvp(value, (kernel, x), (kernel, x))
            return value(kernel, x), gradient(kernel, x), twice(kernel, x), direction

        return derive(kernel, x)

    def ours(x, kernel):
        multiply = product
        for _ in shape:
            multiply = jax.vmap(multiply, (0, None))
        return multiply(x, kernel)

    expected = results(jnp.matmul)
    assert_close(results(ours), expected, 1e-12)
    assert_close(results(product), expected, 1e-12)


def test_product_with_kernels_that_differ_by_row_and_gradients_by_row():
    kernels, xs = drawn(2, 4, 3), drawn(2, 5, 4)

    def gradients(multiply, axis):
        def value(kernel, x):
            return weighted_sum(multiply(x, kernel))

        return jax.vmap(jax.grad(value, (0, 1)), (axis, 0))(
            kernels if axis == 0 else kernels[0], xs
        )

    for axis in (0, None):
        assert_close(gradients(product, axis), gradients(jnp.matmul, axis), 1e-12)


def test_product_puts_rows_behind_steps():
    steps_of = jax.vmap(product, (0, None))
    jaxpr = jax.make_jaxpr(jax.vmap(steps_of, (0, None)))(drawn(2, 5, 4), drawn(4, 3)).jaxpr
    [inside] = [each for each in jaxpr.eqns if each.primitive.name == "product"]
    assert inside.outvars[0].aval.shape == (5, 2, 3)


@of_both_sizes
@pytest.mark.parametrize("of", ["product", "multiplier"])
def test_inside_of_a_shard_map(of):
    """Rows vary over devices and kernels do not: their gradients are summed."""
    kernel, h = drawn(4, 3), drawn(2, 4)

    def gradient(multiply):
        return jax.jit(jax.grad(lambda kernel: weighted_sum(multiply(h, kernel))))(kernel)

    def rows(h, kernel):
        return product(h, kernel) if of == "product" else jax.vmap(multiplier([kernel]))(h)[0]

    mesh = jax.make_mesh((2,), ("rows",), axis_types=(AxisType.Auto,))
    split, whole = PartitionSpec("rows"), PartitionSpec()
    sharded = jax.shard_map(rows, mesh=mesh, in_specs=(split, whole), out_specs=split)
    assert_close(gradient(sharded), gradient(jnp.matmul), 1e-12)


def test_product_by_blocks_and_of_two_dtypes():
    blocks, x = drawn(2, 2, 3), drawn(5, 4)
    assert_close(product(x, blocks), jax.vmap(product, (0, None))(x, blocks), 1e-12)
    with jax.numpy_dtype_promotion("standard"):
        assert product(x.astype(jnp.bfloat16), jnp.ones((4, 3), jnp.float32)).dtype == jnp.float32


@of_both_sizes
@pytest.mark.parametrize("rows", [(), (2,), (9,), (2, 3)], ids=str)
@pytest.mark.parametrize("widths", [(3,), (3, 3, 3), (3, 5)])
def test_values_and_derivatives_are_those_of_plain_products(widths, rows):
    kernels = [drawn(4, width) for width in widths]
    h = drawn(*rows, 4)

    def results(multiply):
        def value(kernels, h):
            return weighted_sum(multiply(kernels, jnp.sin(h)))

        gradient = jax.grad(value, (0, 1))

        @jax.jit
        def derive(kernels, h):
            twice = jax.grad(lambda *given: weighted_sum(gradient(*given)), (0, 1))
            return value(kernels, h), gradient(kernels, h), twice(kernels, h)

        return derive(kernels, h)

    def ours(kernels, h):
        multiply = multiplier(kernels)
        for _ in rows:
            multiply = jax.vmap(multiply)
        return multiply(h)

    def plain(kernels, h):
        return [h @ kernel for kernel in kernels]

    assert_close(results(ours), results(plain), 1e-12)


@of_both_sizes
def test_products_that_nobody_reads_have_no_say_on_the_way_back():
    kernels, h = [drawn(4, 4), drawn(4, 4)], drawn(3, 4)
    gradient = jax.grad(lambda h: weighted_sum(jax.vmap(multiplier(kernels))(h)[1]))(h)
    assert_close(gradient, jax.grad(lambda h: weighted_sum(h @ kernels[1]))(h), 1e-12)


@of_both_sizes
def test_kernels_that_cannot_stand_side_by_side():
    heads, square, h = drawn(2, 2, 3), drawn(4, 4), drawn(4)
    blocks = [h[:2] @ heads[0], h[2:] @ heads[1]]
    assert_close(multiplier([heads, square])(h), [jnp.concatenate(blocks), h @ square], 1e-12)


@of_both_sizes
def test_kernels_that_differ_by_row():
    kernels, h = [drawn(3, 4, 5), drawn(3, 4, 2)], drawn(3, 4)
    found = jax.vmap(lambda kernels, h: multiplier(kernels)(h))(kernels, h)
    assert_close(found, [jnp.einsum("bi,bij->bj", h, kernel) for kernel in kernels], 1e-12)
