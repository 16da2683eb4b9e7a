import jax.numpy as jnp
import numpy as np

import recur
from recur.cells import GatedGates, GatedParams


def params(bias):
    zeros = GatedGates(jnp.zeros((3, 4)), jnp.zeros((3, 4)))
    square = GatedGates(jnp.zeros((4, 4)), jnp.zeros((4, 4)))
    bias = GatedGates(jnp.full(4, bias), jnp.ones(4))
    return GatedParams(kernel=zeros, recurrent_kernel=square, bias=bias, start=None)


def test_an_open_gate_passes_the_state_through_and_a_closed_one_renews_it():
    layer = recur.scan(recur.gated(4))
    xs, start = jnp.ones((9, 3)), jnp.array([1.0, -2.0, 3.0, -4.0])
    np.testing.assert_allclose(layer.run(params(50.0), xs, carry=start)[0], start)
    np.testing.assert_allclose(layer.run(params(-50.0), xs, carry=start)[0], np.ones(4))
