import jax
import jax.numpy as jnp
import numpy as np
import pytest

from recur.cells.recurrent_highway import RHNGates, recurrent_highway
from recur_tests.helpers import assert_close, random_like

F64 = {"param_dtype": jnp.float64}
X = np.array([0.3, -0.7, 0.2])
H = np.array([0.5, -0.1, 0.4, 0.8])


def random_params(cell):
    return random_like(jax.eval_shape(cell.init, jax.random.key(0), X), 1)


def with_transform(params, *biases):
    """The params with these b_t, one a layer, which shut or open it whatever else it sees."""
    layers = zip(params.bias, biases, strict=True)
    return params._replace(bias=tuple(b._replace(transform=jnp.full(4, t)) for b, t in layers))


@pytest.mark.parametrize("depth", [1, 3])
def test_a_closed_transform_gate_keeps_the_state(depth):
    cell = recurrent_highway(4, depth, **F64)
    params = with_transform(random_params(cell), *[-500.0] * depth)
    h, y = cell.step(params, H, X)
    assert_close((h, y), (H, H))


def test_an_open_one_layer_is_an_elman_network():
    cell = recurrent_highway(4, 1, **F64)
    params = with_transform(random_params(cell), 500.0)
    u, b = params.recurrent_kernel[0].candidate, params.bias[0].candidate
    h, _ = cell.step(params, H, X)
    assert_close(h, jnp.tanh(X @ params.kernel.candidate + H @ u + b))


def test_layers_follow_each_other_and_only_the_lowest_sees_the_input():
    cell = recurrent_highway(4, 2, **F64)
    params = random_params(cell)
    lower, upper = (
        params._replace(recurrent_kernel=(u,), bias=(b,))
        for u, b in zip(params.recurrent_kernel, params.bias, strict=True)
    )
    upper = upper._replace(kernel=jax.tree.map(jnp.zeros_like, params.kernel))
    one = recurrent_highway(4, 1, **F64)
    s, _ = one.step(lower, H, X)
    assert_close(cell.step(params, H, X), one.step(upper, s, X))


def test_params_are_drawn_as_asked():
    cell = recurrent_highway(4, 3, initial_carry_init=jax.nn.initializers.ones)
    params = cell.init(jax.random.key(0), X)
    assert all((b.transform == -2).all() and (b.candidate == 0).all() for b in params.bias)
    kernels = jax.tree.leaves(params.recurrent_kernel)
    assert len({float(kernel[0, 0]) for kernel in kernels}) == 6
    assert all(isinstance(gates, RHNGates) for gates in params.recurrent_kernel)
    np.testing.assert_allclose(kernels[3] @ kernels[3].T, np.eye(4), atol=1e-5)
    assert (cell.init_carry(params, X) == 1).all()
    assert recurrent_highway(4, 2, use_bias=False).init(jax.random.key(0), X).bias is None


def test_wrong_input_is_an_error():
    with pytest.raises(ValueError, match="recurrent_highway: depth: expected a whole number"):
        recurrent_highway(4, 0)
    with pytest.raises(ValueError, match="unknown activation 'rleu'"):
        recurrent_highway(4, 1, activation="rleu")
    with pytest.raises(ValueError, match=r"recurrent_highway: expected one step.*got \[5, 3\]"):
        recurrent_highway(4, 1).init(jax.random.key(0), jnp.ones((5, 3)))
