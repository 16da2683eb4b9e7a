"""Products of rows side by side with all kernels: their values, and both ways back."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from recur.lift.products import multiplier
from recur_tests.helpers import assert_close, weighted_sum

DRAWS = np.random.default_rng(0)


def plain(kernels, h):
    return [kernel.T @ h for kernel in kernels]


@pytest.mark.parametrize("rows", [2, 9], ids=["fewer rows than units", "more"])
@pytest.mark.parametrize("widths", [(3,), (3, 3, 3), (3, 5)])
def test_values_and_derivatives_are_those_of_plain_products(widths, rows):
    kernels = [jnp.asarray(DRAWS.standard_normal((4, width))) for width in widths]
    h = jnp.asarray(DRAWS.standard_normal((4, rows)))

    def results(multiply):
        def value(kernels, h):
            return weighted_sum(multiply(kernels, jnp.sin(h)))

        gradient = jax.grad(value, (0, 1))
        twice = jax.grad(lambda *given: weighted_sum(gradient(*given)), (0, 1))
        return value(kernels, h), gradient(kernels, h), twice(kernels, h)

    ours = results(lambda kernels, h: multiplier(kernels)(h))
    assert_close(ours, results(plain), 1e-12)


def test_products_that_nobody_reads_have_no_say_on_the_way_back():
    kernels = [jnp.asarray(DRAWS.standard_normal((4, 4))) for _ in range(2)]
    h = jnp.asarray(DRAWS.standard_normal((4, 3)))
    gradient = jax.grad(lambda h: weighted_sum(multiplier(kernels)(h)[1]))(h)
    assert_close(gradient, jax.grad(lambda h: weighted_sum(kernels[1].T @ h))(h), 1e-12)


def test_kernels_that_cannot_stand_side_by_side():
    heads = jnp.asarray(DRAWS.standard_normal((2, 2, 3)))
    square = jnp.asarray(DRAWS.standard_normal((4, 4)))
    h = jnp.asarray(DRAWS.standard_normal((4, 3)))
    blocks = [heads[0].T @ h[:2], heads[1].T @ h[2:]]
    assert_close(multiplier([heads, square])(h), [jnp.concatenate(blocks), square.T @ h], 1e-12)


def test_under_vmap():
    kernels = [jnp.asarray(DRAWS.standard_normal((4, 3))) for _ in range(2)]
    h = jnp.asarray(DRAWS.standard_normal((5, 4, 2)))
    found = jax.vmap(lambda h: multiplier(kernels)(h))(h)
    assert_close(found, [jnp.einsum("ij,tib->tjb", kernel, h) for kernel in kernels], 1e-12)
