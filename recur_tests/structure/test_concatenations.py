"""Products of a concatenation of input and state become a sum of products."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import recur
from recur.structure import find_structure
from recur_tests.helpers import assert_close

H, D = 4, 3
KERNEL = np.random.default_rng(0).standard_normal((D + H, 2 * H))


def elman(join):
    """h_t = tanh(gates of a concatenation)."""
    return recur.cell(
        lambda key, x: jnp.asarray(KERNEL),
        lambda params, x: jnp.zeros(H),
        lambda params, h, x: 2 * (jnp.tanh(join(params, h, x)),),
    )


FORMS = {
    "x, h": lambda w, h, x: jnp.concatenate([x, h]) @ w[:, :H],
    "h, x": lambda w, h, x: jnp.concatenate([h, x]) @ w[:, :H],
    "kernel first": lambda w, h, x: w[:, :H].T @ jnp.concatenate([x, h]),
    "three": lambda w, h, x: jnp.concatenate([x[:1], h, x[1:]]) @ w[:, :H],
    "gates": lambda w, h, x: sum(jnp.split(jnp.concatenate([x, h]) @ w, 2)),
}


@pytest.mark.parametrize("name", FORMS)
def test_only_the_product_of_the_state_is_in_the_loop(name):
    cell = elman(FORMS[name])
    found = recur.structure_of(cell, jnp.ones(D))
    assert [shape.split(" x ")[0] for shape in found.inside] == [f"[{H}]"]
    assert {shape.split(" x ")[0] for shape in found.before} == {f"[{D}]"}
    xs = np.random.default_rng(1).standard_normal((6, D))
    scan, loop = recur.scan(cell), recur.loop(cell)

    def gradient(layer):
        return jax.grad(lambda params: (layer(params, xs) ** 2).sum())(jnp.asarray(KERNEL))

    assert_close(scan(KERNEL, xs), loop(KERNEL, xs), 1e-12)
    assert_close(gradient(scan), gradient(loop), 1e-12)


@pytest.mark.parametrize(
    "join",
    [
        lambda w, h, x: jnp.concatenate([2 * h[:D], h]) @ w[:, :H],
        lambda w, h, x: jnp.concatenate([x, h]) @ (w[:, :H] * h[None]),
        lambda w, h, x: (jnp.concatenate([x, h])[None] @ w[:, :H])[0],
    ],
    ids=["of the state alone", "a kernel of the state", "of a matrix"],
)
def test_other_products_are_left_whole(join):
    found = find_structure(elman(join).step, jnp.asarray(KERNEL), jnp.zeros(H), jnp.ones(D), None)
    products = [e for e in found.traced.jaxpr.eqns if e.primitive.name == "dot_general"]
    assert D + H in products[0].invars[0].aval.shape
