import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

import recur
from recur.train import by_path, l1, l2
from recur_tests.helpers import assert_close

PARAMS = {
    "cell": {"kernel": np.array([1.0, -2.0]), "bias": np.array([-3.0])},
    "out": np.array(-4.0),
}


def test_sums():
    assert_close(float(l1(PARAMS)), 10.0)
    assert_close(float(l2(PARAMS)), 30.0)
    where = {"cell": {"kernel": True, "bias": False}, "out": True}
    assert_close(float(l1(PARAMS, where)), 7.0)
    assert_close(float(l2(PARAMS, by_path("*bias", "out"))), 25.0)
    assert_close(jax.grad(l2)(PARAMS)["cell"]["kernel"], jnp.array([2.0, -4.0]))
    untouched = jax.grad(lambda p: l1(p, by_path("out")))(PARAMS)
    assert_close(untouched["cell"]["kernel"], jnp.zeros(2))
    assert_close(untouched["out"], jnp.asarray(-1.0))


def test_chooses_by_the_names_of_a_chains_params():
    model = recur.chain(recur.scan(recur.lstm(4)), recur.scan(recur.gru(4)))
    params = model.init(jax.random.key(0), jnp.ones((2, 3), jnp.float32))
    kernels = by_path("*kernel")(params)
    assert jax.tree.leaves(kernels[0].kernel) == [True] * 4
    assert not any(jax.tree.leaves(kernels[0].bias))
    first = by_path("0")(params)
    assert all(jax.tree.leaves(first[0])) and not any(jax.tree.leaves(first[1]))
    decay = optax.add_decayed_weights(1.0, mask=by_path("*/recurrent_kernel"))
    updates, _ = decay.update(jax.tree.map(jnp.zeros_like, params), decay.init(params), params)
    assert_close(updates[0].recurrent_kernel, params[0].recurrent_kernel)
    assert not any(leaf.any() for leaf in jax.tree.leaves(updates[0].kernel))


def test_a_pattern_that_selects_nothing():
    with pytest.raises(ValueError, match=r"got '\*kernle'.*cell/bias, cell/kernel, out"):
        l1(PARAMS, by_path("out", "*kernle"))
