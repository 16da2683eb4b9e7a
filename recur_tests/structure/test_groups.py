"""Products with a common factor, computed as one product."""

import jax
import jax.numpy as jnp
import numpy as np

from recur.structure.groups import group, is_of_vector, multiply_steps
from recur_tests.helpers import assert_close
from recur_tests.structure.steps import HIDDEN, draw_params
from recur_tests.structure.test_classes import H, found_in


def groups_of(step, h=H):
    structure = found_in(lambda p, h, x, key: step(p, h), h=h)
    return structure, group(structure.products_of(structure.inside))


def test_products_of_one_vector_are_one_product():
    def step(p, h):
        m = h @ p["U"] + p["V"] @ h + h @ p["U"][:, :4] + h @ p["V"].T
        h = jnp.tanh(m)
        return h, h

    structure, [of_h] = groups_of(step)
    assert of_h.factor is structure.carry[0]
    p = draw_params()
    kernels = [p["U"], p["V"], p["U"], p["V"].T]
    traced = [p["U"], p["V"], p["U"][:, :4], p["V"].T]  # as the equations have them
    joined = of_h.join(traced)
    assert joined.shape == (HIDDEN, 4 * HIDDEN)
    expected = [H @ kernel for kernel in [p["U"], p["V"].T, p["U"], p["V"].T]]
    assert_close(of_h.multiply(H, joined), expected, 1e-12)
    assert_close(of_h.multiply(H, joined, of_h.transpose(joined)), expected, 1e-12)
    of_steps = jax.vmap(of_h.multiply_steps, (0, None))(np.stack([H, 2 * H]), joined)
    assert_close([each[1] for each in of_steps], [2 * each for each in expected], 1e-12)
    assert_close(of_h.split(joined), [p["U"], p["V"].T, p["U"], p["V"].T])
    assert len(kernels) == len(of_h.products)


def test_factors_dtypes_and_precisions_are_not_mixed():
    def step(p, h):
        sines = jnp.sin(h)
        m = [
            h @ p["U"],
            sines @ p["U"],
            jnp.dot(h, p["V"], precision="highest"),
            jnp.dot(h, p["V"], preferred_element_type=jnp.float32).astype(h.dtype),
            sines @ p["V"],
        ]
        h = jnp.tanh(sum(m))
        return h, h

    _, groups = groups_of(step)
    assert [len(each.products) for each in groups] == [1, 2, 1, 1]


def test_products_of_other_kinds_are_alone():
    def step(p, h):
        blocks = jnp.einsum("nd,nde->ne", h.reshape(2, 2), p["heads"]).reshape(HIDDEN)
        again = jnp.einsum("nd,nde->ne", h.reshape(2, 2), p["heads"]).reshape(HIDDEN)
        h = jnp.tanh(blocks + again + h @ p["b"] + (h[None] @ p["U"])[0])
        return h, h

    _, groups = groups_of(step)
    assert len(groups) == 4 and all(len(each.products) == 1 for each in groups)
    kinds = [is_of_vector(each.products[0]) for each in groups]
    assert not any(kinds)
    blocks = next(each for each in groups if each.products[0].kernel.aval.ndim == 3)
    heads, h = draw_params()["heads"], H.reshape(2, 2)
    kernel = blocks.join([heads])
    assert kernel is heads and blocks.transpose(kernel) is None
    expected = jnp.einsum("nd,nde->ne", h, heads)
    assert_close(blocks.multiply(h, kernel), [expected], 1e-12)
    product = blocks.products[0]
    over_steps = jax.vmap(lambda h: multiply_steps(product, h, heads))(jnp.stack([h, 2 * h]))
    assert_close(over_steps, jnp.stack([expected, 2 * expected]), 1e-12)


def test_a_kernel_is_turned_as_its_equation_has_it():
    def step(p, h):
        h = jnp.tanh(p["W"].T[:, :2] @ h[:2] + p["U"] @ h)
        return h, h

    structure, groups = groups_of(step)
    p = draw_params()
    for each, kernel, factor in zip(groups, (p["W"].T[:, :2], p["U"]), (H[:2], H), strict=True):
        joined = each.join([kernel])
        assert_close(each.multiply(factor, joined), [kernel @ factor], 1e-12)
        assert_close(multiply_steps(each.products[0], factor, kernel), kernel @ factor, 1e-12)
    assert len(structure.products) == 2
