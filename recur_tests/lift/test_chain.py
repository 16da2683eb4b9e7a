import jax
import jax.numpy as jnp
import numpy as np
import pytest
from flax import linen as nn

import recur
from recur_tests.contract.cases import dense, linear_of_equinox, linear_of_nnx
from recur_tests.helpers import assert_close

LSTM = recur.lstm(4, param_dtype=jnp.float64)
XS = np.linspace(-1, 1, 15).reshape(5, 3)


def test_each_part_reads_what_the_one_before_gives():
    model = recur.chain(dense(4), "tanh", recur.scan(LSTM), jnp.square)
    params = model.init(jax.random.key(0), XS)
    inner = jnp.tanh(XS @ params[0]["kernel"] + params[0]["bias"][None])
    assert_close(model(params, XS), recur.scan(LSTM)(params[2], inner) ** 2)


def test_chains_nest():
    flat = recur.chain(dense(4), recur.scan(LSTM), dense(2))
    nested = recur.chain(dense(4), recur.chain(recur.scan(LSTM), dense(2)))
    params = flat.init(jax.random.key(0), XS)
    assert_close(nested((params[0], params[1:]), XS), flat(params, XS))


def test_modules_are_zero_where_invalid_though_they_have_a_bias():
    model = recur.chain(nn.Dense(2, bias_init=nn.initializers.ones, param_dtype=jnp.float64))
    params = model.init(jax.random.key(0), XS)
    dirty = jnp.asarray(XS).at[3:].set(jnp.nan)
    ys, gradient = jax.value_and_grad(lambda p: model(p, dirty, length=3).sum())(params)
    assert not model(params, dirty, length=3)[3:].any()
    assert_close(gradient, jax.grad(lambda p: model(p, XS[:3]).sum())(params))
    assert jnp.isfinite(ys)


def test_dropout_is_off_without_a_key_and_differs_by_step_row_and_part_with_one():
    model = recur.chain(nn.Dropout(0.5), nn.Dropout(0.5))
    xs = jnp.ones((2, 3, 256), jnp.float32)
    batched = recur.batch(model)
    params = batched.init(jax.random.key(0), xs)
    assert (batched(params, xs) == 1).all()
    kept = batched(params, xs, key=jax.random.key(1)) != 0
    assert 0.2 < kept.mean() < 0.3  # one mask for both parts would keep a half
    assert len({mask.tobytes() for mask in jax.device_get(kept).reshape(6, 256)}) == 6


def test_modules_of_nnx_and_equinox_are_applied_to_each_step_and_trained():
    model = recur.chain(linear_of_nnx(3, 4), recur.scan(LSTM), linear_of_equinox(4, 2))
    params = model.init(jax.random.key(0), XS)
    nnx_params, lstm, eqx_params = params
    inner = XS @ nnx_params["kernel"] + nnx_params["bias"][None]
    expected = recur.scan(LSTM)(lstm, inner) @ eqx_params.weight.T + eqx_params.bias[None]
    assert_close(model(params, XS), expected)
    gradient = jax.grad(lambda params: (model(params, XS) ** 2).sum())(params)
    assert all(leaf.any() for leaf in jax.tree.leaves(gradient))


def test_embeddings_read_tokens_and_padding_tokens_do_not_matter():
    model = recur.chain(nn.Embed(7, 3, param_dtype=jnp.float64), recur.scan(LSTM))
    tokens = jnp.array([1, 5, 2, 6, 6])
    params = model.init(jax.random.key(0), tokens)
    gradient = jax.grad(lambda p: model(p, tokens, length=3).sum())(params)
    assert not gradient[0]["embedding"][6].any()
    assert gradient[0]["embedding"][5].any()


def test_wrong_parts_are_an_error():
    with pytest.raises(ValueError, match="at least one part"):
        recur.chain()
    with pytest.raises(TypeError, match="expected layers, got a cell"):
        recur.chain(LSTM)
    with pytest.raises(TypeError, match="expected a module, a function"):
        recur.chain(3)
    with pytest.raises(ValueError, match="mutable collections"):
        norm = recur.chain(nn.BatchNorm(use_running_average=True))
        norm.init(jax.random.key(0), XS.astype(np.float32))


def test_wrong_params_and_carries_are_an_error():
    model = recur.chain(dense(4), recur.scan(LSTM))
    params = model.init(jax.random.key(0), XS)
    with pytest.raises(ValueError, match="params: expected a tuple of 2 entries, .* got 1 entries"):
        model(params[:1], XS)
    with pytest.raises(ValueError, match="carry: expected a tuple of 2 entries"):
        model.run(params, XS, carry=(1,))
    with pytest.raises(ValueError, match="Dense was initialised for inputs of another width"):
        model(params, XS[:, :2])
