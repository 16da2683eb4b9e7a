import jax.numpy as jnp
import numpy as np

import recur
from recur.cells import GatedParams, UGRNNGates


def params(bias):
    zeros = UGRNNGates(jnp.zeros((3, 4)), jnp.zeros((3, 4)))
    square = UGRNNGates(jnp.zeros((4, 4)), jnp.zeros((4, 4)))
    bias = UGRNNGates(jnp.full(4, bias), jnp.ones(4))
    return GatedParams(kernel=zeros, recurrent_kernel=square, bias=bias, initial_carry=None)


def test_an_open_gate_passes_the_state_through_and_a_closed_one_renews_it():
    layer = recur.scan(recur.ugrnn(4))
    xs, start = jnp.ones((9, 3)), jnp.array([1.0, -2.0, 3.0, -4.0])
    np.testing.assert_allclose(layer.run(params(50.0), xs, carry=start)[0], start)
    np.testing.assert_allclose(layer.run(params(-50.0), xs, carry=start)[0], np.ones(4))
