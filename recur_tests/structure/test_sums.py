"""Inputs, products and constants that a loop reads only as a sum."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from recur.structure import Parts
from recur_tests.structure.steps import HIDDEN, draw_params
from recur_tests.structure.test_classes import H, found_in


def sums_of(step):
    """For each sum, how many products and constants are in it."""
    found = []

    def find(p):
        structure = found_in(lambda p, h, x, key: step(p, h, x))
        found.extend(Parts(structure, p).sums)

    jax.eval_shape(find, draw_params())
    return [(len(each.products), len(each.constants)) for each in found]


def next_h(of):
    """A step whose next carry is a function of params, h, and u, m, which are x W and h U."""

    def step(p, h, x):
        h = of(p, h, x @ p["W"], h @ p["U"])
        return h, h

    return step


SUMS = {
    "u + m": (next_h(lambda p, h, u, m: jnp.tanh(u + m)), [(1, 0)]),
    "m + u": (next_h(lambda p, h, u, m: jnp.tanh(m + u)), [(1, 0)]),
    "u + m + b": (next_h(lambda p, h, u, m: jnp.tanh(u + m + p["b"])), [(1, 1)]),
    "u + b + m": (next_h(lambda p, h, u, m: jnp.tanh(u + p["b"] + m)), [(1, 1)]),
    "b + (m + u)": (next_h(lambda p, h, u, m: jnp.tanh(p["b"] + (m + u))), [(1, 1)]),
    "u + (b + m)": (next_h(lambda p, h, u, m: jnp.tanh(u + (p["b"] + m))), [(1, 1)]),
    "u + (m + h V)": (next_h(lambda p, h, u, m: jnp.tanh(u + (m + h @ p["V"]))), [(2, 0)]),
    "two sums": (
        next_h(lambda p, h, u, m: jnp.tanh(u + m) + jnp.sin(u[::-1] @ p["V"] + h @ p["V"])),
        [(1, 0), (1, 0)],
    ),
}
NO_SUMS = {
    "m read twice": next_h(lambda p, h, u, m: jnp.tanh(u + m) * m),
    "u read twice": next_h(lambda p, h, u, m: jnp.tanh(u + m) * u),
    "m + m": next_h(lambda p, h, u, m: jnp.tanh(u + (m + m))),
    "u * m": next_h(lambda p, h, u, m: jnp.tanh(u * m)),
    "u - m": next_h(lambda p, h, u, m: jnp.tanh(u - m)),
    "u + r m": next_h(lambda p, h, u, m: jnp.tanh(u + jnp.sin(h) * m)),
    "u + h": next_h(lambda p, h, u, m: jnp.tanh(u + h) * m),
    "u + b alone": next_h(lambda p, h, u, m: jnp.tanh(u + p["b"]) * m),
    "another dtype": next_h(
        lambda p, h, u, m: (u.astype(jnp.float32) + m.astype(jnp.float32)).astype(u.dtype)
    ),
    "no input": next_h(lambda p, h, u, m: jnp.tanh(p["b"] + m)),
}


@pytest.mark.parametrize("step, expected", SUMS.values(), ids=SUMS.keys())
def test_sums_are_found(step, expected):
    assert sums_of(step) == expected


@pytest.mark.parametrize("step", NO_SUMS.values(), ids=NO_SUMS.keys())
def test_what_is_read_elsewhere_too_is_in_no_sum(step):
    assert sums_of(step) == []


def test_an_input_that_is_added_twice_is_in_no_sum():
    def step(p, h, x, key):
        h = jnp.tanh((x + x) + h @ p["U"])
        return h, h

    sums = []
    jax.eval_shape(lambda p: sums.extend(Parts(found_in(step, x=H), p).sums), draw_params())
    assert not sums


def test_what_the_output_reads_is_in_no_sum():
    def reading(which):
        def step(p, h, x):
            u, m = x @ p["W"], h @ p["U"]
            h = jnp.tanh(u + m)
            return h, {"u": u, "m": m, "h": h}[which]

        return step

    found = {which: sums_of(reading(which)) for which in ("u", "m", "h")}
    assert found == {"u": [], "m": [], "h": [(1, 0)]}


def test_a_constant_that_is_read_elsewhere_is_not_part_of_a_sum():
    def step(p, h, x):
        h = jnp.tanh(x @ p["W"] + h @ p["U"] + p["b"]) * p["b"]
        return h, h

    assert sums_of(step) == [(1, 0)]


def test_the_place_of_an_input_counts_all_inputs():
    def step(p, h, x, key):
        h = jnp.where(x["on"], jnp.tanh(x["u"] + h @ p["U"]), jnp.sin(x["v"]))
        return h, h

    x = {"n": 3, "on": np.ones(HIDDEN, bool), "u": np.ones(HIDDEN), "v": np.ones(HIDDEN)}
    places = []

    def find(p):
        parts = Parts(found_in(step, x=x), p)
        inside = parts.prepare(x).inside
        places.extend(inside[found.place] is x["u"] for found in parts.sums)

    jax.eval_shape(find, draw_params())
    assert places == [True]
