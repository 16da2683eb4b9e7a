import jax
import jax.numpy as jnp
import numpy as np
import pytest

import recur
from recur.structure import find_structure, is_elementwise_around_products
from recur_tests.structure.steps import HIDDEN, by_name, draw_params
from recur_tests.structure.test_classes import H, found_in


@jax.custom_jvp
def _centred(a):
    return a - a.mean()


_centred.defjvp(lambda a, d: (_centred(*a), _centred(*d)))

# Each unit acts on itself alone, but for square products of the carry.
ELEMENTWISE = {
    "elman": lambda p, h, x: jnp.tanh(x @ p["W"] + h @ p["U"] + p["b"]),
    "of a function of the carry": lambda p, h, x: jnp.tanh(jnp.sin(h) @ p["U"] + x @ p["W"]),
    "two products": lambda p, h, x: jax.nn.sigmoid(h @ p["U"]) * (h @ p["V"]),
    "from the left": lambda p, h, x: jnp.tanh(p["U"] @ h),
    "no product": lambda p, h, x: jnp.maximum(h * p["b"], x.sum()),
    "norms of the input": lambda p, h, x: h @ p["U"] + jax.nn.softmax(x @ p["W"]),
    "selects": lambda p, h, x: jnp.where(h > 0, h @ p["U"], -h),
    "a custom derivative": lambda p, h, x: jax.nn.relu(x @ p["W"] + h @ p["U"]) * p["b"],
    "narrow slices": lambda p, h, x: sum(map(jnp.sin, jnp.split(h @ p["U4"], 4))),
}
MIXING = {
    "a norm of the carry": lambda p, h, x: h / jnp.linalg.norm(h),
    "a norm of the product": lambda p, h, x: (m := h @ p["U"]) - m.mean(),
    "a product of a product": lambda p, h, x: jnp.tanh(h @ p["U"]) @ p["V"],
    "reset before the product": lambda p, h, x: (jax.nn.sigmoid(h @ p["U"]) * h) @ p["V"],
    "a product that is not square": lambda p, h, x: jnp.tanh(h @ p["U"][:, :2]).sum() + h,
    "blocks": lambda p, h, x: jnp.einsum("nd,nde->ne", h.reshape(2, 2), p["heads"]).reshape(HIDDEN),
    "turned around": lambda p, h, x: jnp.tanh(h[::-1] @ p["U"]),
    "turned around after it": lambda p, h, x: jnp.tanh(h @ p["U"])[::-1],
    "slices that stay": lambda p, h, x: sum(jnp.split(jnp.sin(h @ p["U4"]), 4)),
    "a mixing function with a custom derivative": lambda p, h, x: _centred(h @ p["U"]),
    "control flow": lambda p, h, x: jax.lax.cond(x[0] > 0, jnp.sin, jnp.cos, h),
    "the product of two values": lambda p, h, x: (h @ h) * h,
}


@pytest.mark.parametrize("step", ELEMENTWISE.values(), ids=ELEMENTWISE.keys())
def test_units_that_meet_in_square_products_only(step):
    assert is_elementwise_around_products(found_in(lambda p, h, x, key: 2 * (step(p, h, x),)))


@pytest.mark.parametrize("step", MIXING.values(), ids=MIXING.keys())
def test_units_that_meet_elsewhere(step):
    assert not is_elementwise_around_products(found_in(lambda p, h, x, key: 2 * (step(p, h, x),)))


@pytest.mark.parametrize("case", **by_name("wide_lstm", "readout", "custom_jvp", "jordan"))
def test_what_only_the_output_reads_does_not_matter(case):
    step = case.cell.step
    found = found_in(lambda p, h, x, key: step(p, h, x, key), h=case.carry, x=case.x)
    # A Jordan output is a product of a product.
    assert is_elementwise_around_products(found) == (case.name != "jordan")


CELLS = {
    "lstm": (recur.lstm, True),
    "gru": (recur.gru, True),
    "elman": (recur.elman, True),
    "before": (lambda n: recur.gru(n, reset="before"), False),
    "norm": (recur.layer_norm_lstm, False),
    "indrnn": (recur.indrnn, True),
    "lru": (recur.lru, True),
}


@pytest.mark.parametrize("make, expected", CELLS.values(), ids=CELLS.keys())
def test_cells_of_the_library(make, expected):
    cell = make(HIDDEN)
    x = jax.ShapeDtypeStruct((3,), jnp.float32)
    params = cell.init(jax.random.key(0), x)

    def find(params):
        bound = cell.bind(params, x)
        found = find_structure(cell.step, bound, cell.init_carry(bound, x), x, None)
        assert is_elementwise_around_products(found) == expected
        return 0

    jax.eval_shape(find, params)


def test_an_unknown_primitive_counts_as_mixing():
    def step(p, h, x, key):
        h = jax.lax.cumsum(h)
        return h, h

    assert not is_elementwise_around_products(found_in(step))
    assert np.shape(H) == np.shape(draw_params()["b"])
