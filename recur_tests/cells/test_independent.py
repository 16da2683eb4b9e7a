import jax
import jax.numpy as jnp
import numpy as np
import pytest

from recur.cells.independent import indrnn
from recur.lift.scan import scan
from recur_tests.helpers import assert_close, random_like

F64 = {"param_dtype": jnp.float64}
XS = np.random.default_rng(0).standard_normal((6, 3))


def test_without_feedback_it_is_feed_forward():
    layer = scan(indrnn(4, **F64))
    params = random_like(jax.eval_shape(layer.init, jax.random.key(0), XS), 1)
    params = params._replace(recurrent=jnp.zeros(4))
    expected = jax.nn.relu(XS @ params.kernel + params.bias[None])
    assert_close(layer.run(params, XS, carry=jnp.ones(4))[1], expected)


def test_without_input_and_activation_it_decays_geometrically():
    layer = scan(indrnn(4, activation="identity", use_bias=False, **F64))
    xs = jnp.zeros((6, 0))
    params = random_like(jax.eval_shape(layer.init, jax.random.key(0), xs), 1)
    h, t = np.array([1.0, -2.0, 0.5, 3.0]), np.arange(1, 7)
    ys = layer.run(params, xs, carry=h)[1]
    assert_close(ys, h * np.asarray(params.recurrent) ** t[:, None])


def test_units_do_not_see_each_other():
    cell = indrnn(4, activation="tanh", **F64)
    params = random_like(jax.eval_shape(cell.init, jax.random.key(0), XS[0]), 1)
    h = jnp.array([0.1, -0.2, 0.3, 0.4])
    jacobian = jax.jacobian(lambda h: cell.step(params, h, XS[0])[0])(h)
    slope = 1 - cell.step(params, h, XS[0])[0] ** 2
    assert_close(jacobian, jnp.diag(slope * params.recurrent))


def test_params_are_drawn_as_asked():
    cell = indrnn(200)
    params = cell.init(jax.random.key(0), jnp.ones(3))
    assert 0 <= params.recurrent.min() < 0.1 and 0.9 < params.recurrent.max() < 1
    assert params.initial_carry is None and (cell.init_carry(params, jnp.ones(3)) == 0).all()
    ones = jax.nn.initializers.ones
    params = indrnn(2, recurrent_init=ones, initial_carry_init=ones).init(
        jax.random.key(0), jnp.ones(3)
    )
    assert (params.recurrent == 1).all() and (params.initial_carry == 1).all()


def test_wrong_input_is_an_error():
    cell = indrnn(4, **F64)
    with pytest.raises(ValueError, match="unknown activation 'rleu'"):
        indrnn(4, activation="rleu")
    with pytest.raises(ValueError, match=r"indrnn: expected one step.*got \[5, 3\]"):
        cell.init(jax.random.key(0), jnp.ones((5, 3)))
    params = cell.init(jax.random.key(0), jnp.ones(3))
    with pytest.raises(ValueError, match="indrnn: expected inputs of width 3, as at init, got 2"):
        cell.step(params, jnp.zeros(4), jnp.ones(2))
