"""Diagnoses of one example against the functions they use, on batched models too."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from flax import linen as nn

import recur
from recur.diagnose import (
    Diagnosis,
    diagnose_example,
    gradient_by_lag,
    named_over_time,
    step_jacobians,
)
from recur.diagnose.one_row import one_row

KEY = jax.random.key(0)
XS = jax.random.normal(KEY, (6, 3), jnp.float32)


def test_of_a_batched_model_and_in_a_file(tmp_path):
    one = recur.chain(recur.scan(recur.gru(4)), nn.Dense(5))
    params = one.init(KEY, XS)

    def loss(y):
        return y[2]

    found = diagnose_example(recur.batch(one), params, XS, loss, labels=list("abcdef"))
    norms = gradient_by_lag(one, params, XS, loss)
    np.testing.assert_allclose(found.gradient_by_lag, norms, rtol=1e-5)
    jacobian = np.asarray(step_jacobians(one, params, XS)[-1], np.float64)
    wanted = np.sort_complex(np.linalg.eigvals(jacobian))
    np.testing.assert_allclose(np.sort_complex(found.jacobian_eigenvalues), wanted, atol=1e-5)
    gates = named_over_time(one, params, XS)
    assert found.gates.keys() == gates.keys()
    for name, values in gates.items():
        np.testing.assert_allclose(found.gates[name], values, rtol=1e-5, atol=1e-6)
    found.save(tmp_path / "diagnosis.npz")
    loaded = Diagnosis.load(tmp_path / "diagnosis.npz")
    assert loaded.labels == tuple("abcdef")
    jax.tree.map(np.testing.assert_array_equal, loaded[1:], found[1:])


def test_of_layers_that_read_backward_and_of_complex_carries(tmp_path):
    both = recur.bidirectional(recur.scan(recur.gru(4)), recur.scan(recur.gru(4), reverse=True))
    found = diagnose_example(both, both.init(KEY, XS), XS)
    assert found.gradient_by_lag is None and found.jacobian_eigenvalues is None
    assert {"update/0", "update/1"} < found.gates.keys()
    assert found.labels == ("0", "1", "2", "3", "4", "5")
    lru = recur.scan(recur.lru(4))
    found = diagnose_example(lru, lru.init(KEY, XS), XS)
    assert found.gradient_by_lag.shape == (6,) and found.jacobian_eigenvalues is None
    found.save(tmp_path / "a.npz")
    assert Diagnosis.load(tmp_path / "a.npz").jacobian_eigenvalues is None


def test_one_step():
    layer = recur.scan(recur.elman(4))
    found = diagnose_example(layer, layer.init(KEY, XS), XS[:1])
    assert found.gradient_by_lag.shape == (1,) and found.jacobian_eigenvalues.shape == (4,)


def test_one_row_of_a_batch_equals_the_layer():
    layer = recur.chain(recur.scan(recur.lstm(4)), nn.Dense(2))
    row = one_row(recur.batch(recur.batch(layer)))
    params = layer.init(KEY, XS)
    assert not row.is_batched and one_row(layer) is layer
    jax.tree.map(np.testing.assert_array_equal, row.init(KEY, XS), params)
    got, wanted = (each.run(params, XS, length=4, all_carries=True) for each in (row, layer))
    jax.tree.map(lambda a, b: np.testing.assert_allclose(a, b, rtol=1e-5, atol=1e-6), got, wanted)


def test_a_file_of_another_kind(tmp_path):
    (tmp_path / "a.npz").write_text("not an archive")
    np.savez(tmp_path / "b.npz", other=np.ones(3))
    for name in ("a.npz", "b.npz"):
        with pytest.raises(ValueError, match=f"{name}: expected a file of a Diagnosis, got anoth"):
            Diagnosis.load(tmp_path / name)
