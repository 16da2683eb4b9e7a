"""The convolution of the cells against that of JAX, and its derivatives."""

import jax
import jax.numpy as jnp
import pytest

from recur.cells.convolve import convolve
from recur_tests.helpers import assert_close, random_like, weighted_sum


def plain(x, kernel):
    space = "DHW"[: x.ndim - 1]
    axes = (f"N{space}C", f"{space}IO", f"N{space}C")
    strides = (1,) * len(space)
    return jax.lax.conv_general_dilated(x[None], kernel, strides, "SAME", dimension_numbers=axes)[0]


def factors(space, size, rows=()):
    shapes = (*rows, *space, 2), (*size, 2, 3)
    return [random_like(jax.ShapeDtypeStruct(s, jnp.float64), i) for i, s in enumerate(shapes)]


@pytest.mark.parametrize(
    ("space", "size"), [((5,), (2,)), ((4, 5), (3, 2)), ((2, 3), (5, 4)), ((3, 2, 4), (1, 2, 3))]
)
def test_values_and_all_derivatives_are_those_of_jax(space, size):
    x, kernel = factors(space, size, rows=(2,))

    def derivatives(convolve):
        def loss(x, kernel):
            return weighted_sum(jnp.sin(jax.vmap(convolve, (0, None))(x, kernel)))

        def slope(x, kernel):
            return weighted_sum(jax.grad(loss, (0, 1))(x, kernel))

        along = jax.jvp(slope, (x, kernel), (jnp.cos(x), jnp.cos(kernel)))
        return loss(x, kernel), along, jax.grad(slope, (0, 1))(x, kernel)

    run = jax.jit(derivatives, static_argnums=0)
    assert_close(run(convolve), run(plain))


def test_kernels_that_differ_by_row():
    x, _ = factors((4, 5), (3, 3), rows=(2,))
    kernels = random_like(jax.ShapeDtypeStruct((2, 3, 3, 2, 3), jnp.float64), 1)

    def each_row(convolve):
        def slope(x, kernel):
            return jax.grad(lambda *args: weighted_sum(convolve(*args)), (0, 1))(x, kernel)

        return jax.vmap(slope)(x, kernels), jax.vmap(slope, (0, None))(x, kernels[0])

    run = jax.jit(each_row, static_argnums=0)
    assert_close(run(convolve), run(plain))


def test_rows_become_one_convolution():
    x, kernel = factors((4, 5), (3, 3), rows=(7,))
    written = jax.jit(jax.vmap(convolve, (0, None))).lower(x, kernel).as_text()
    [line] = [line for line in written.splitlines() if "stablehlo.convolution" in line]
    assert "tensor<7x4x5x2xf64>" in line and "feature_group_count = 1" in line


def test_the_way_back_has_channels_last_on_a_cpu():
    x, kernel = factors((4, 5), (3, 3), rows=(7,))
    loss = jax.grad(lambda *args: jax.vmap(convolve, (0, None))(*args).sum(), (0, 1))
    written = jax.jit(loss).lower(x, kernel).as_text()
    lines = [line for line in written.splitlines() if "stablehlo.convolution" in line]
    assert len(lines) >= 2
    assert all("[b, 0, 1, f]x[0, 1, i, o]->[b, 0, 1, f]" in line for line in lines)
