"""Prefix scans, for known and symbolic numbers of steps."""

import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jax import export

from recur.lift.prefix import compose_prefixes


def compose(earlier, later):
    """Composes affine maps (a, b), which do not commute."""
    return later[0] @ earlier[0], later[0] @ earlier[1] + later[1]


def expected(matrices, vectors, reverse):
    """Composes sequentially, in NumPy."""
    pairs = list(zip(matrices, vectors, strict=True))
    found = []
    for pair in pairs[::-1] if reverse else pairs:
        found.append(compose(found[-1], pair) if found else pair)
    matrices, vectors = zip(*found[:: -1 if reverse else 1], strict=True)
    return np.stack(matrices), np.stack(vectors)


@pytest.mark.parametrize("count", [1, 2, 7, 16, 33])
@pytest.mark.parametrize("reverse", [False, True])
def test_prefixes(count, reverse):
    rng = np.random.default_rng(count)
    elements = rng.standard_normal((count, 2, 2)), rng.standard_normal((count, 2, 1))
    find = jax.jit(functools.partial(compose_prefixes, compose, reverse=reverse))
    (t,) = export.symbolic_shape("t")
    shapes = tuple(jax.ShapeDtypeStruct((t, *e.shape[1:]), jnp.float64) for e in elements)
    with jax.enable_x64(True):
        known = find(elements)
        symbolic = export.export(find)(shapes).call(elements)
    for found in (known, symbolic):
        for came, right in zip(found, expected(*elements, reverse), strict=True):
            np.testing.assert_allclose(came, right, rtol=1e-12, atol=1e-12)


def test_gradient_of_a_symbolic_number_of_steps():
    def product(xs):
        return compose_prefixes(jnp.multiply, xs)[-1]

    (t,) = export.symbolic_shape("t")
    gradient = export.export(jax.jit(jax.grad(product)))(jax.ShapeDtypeStruct((t,), jnp.float32))
    xs = np.array([2.0, 3.0, 0.5, 4.0, 1.5], np.float32)
    np.testing.assert_allclose(gradient.call(xs), xs.prod() / xs, rtol=1e-6)
