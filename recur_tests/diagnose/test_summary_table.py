"""Summaries of layers: shapes of what runs, and counts and norms of params."""

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
import pytest
from flax import linen as nn
from flax import nnx

import recur
from recur.checks import describe
from recur.diagnose import summary
from recur.sequences import pool

KEY = jax.random.key(0)


def test_a_chain_of_modules_and_cells():
    model = recur.chain(
        nn.Embed(10, 4),
        recur.scan(recur.lstm(8)),
        nnx.Linear(8, 6, rngs=nnx.Rngs(0)),
        eqx.nn.Linear(6, 5, key=KEY, dtype=jnp.float32),
        nn.Dropout(0.5),
        "relu",
    )
    tokens = jnp.array([1, 2, 3])
    params = model.init(KEY, tokens)
    found = summary(model, tokens, params)
    assert [row.path for row in found.parts] == ["0", "1", "2", "3", "4", "5", ""]
    ys, carry = tokens, model.init_carry(params, tokens)
    for number, row in enumerate(found.parts[:-1]):
        part = model.parts[str(number)]
        ys = part(params[number], ys)
        assert row.output == describe(ys)
        assert row.carry == (describe(carry[number]) if number == 1 else "-")
        assert row.size == sum(w.size for w in jax.tree.leaves(params[number]))
    assert found.parts[-1].output == describe(model(params, tokens))
    for row, leaf in zip(found.params, jax.tree.leaves(params), strict=True):
        assert (row.shape, row.dtype, row.size) == (leaf.shape, leaf.dtype.name, leaf.size)
        assert row.bytes == leaf.nbytes
        np.testing.assert_allclose(row.norm, np.sqrt((np.asarray(leaf) ** 2).sum()), rtol=1e-6)
    assert {"1/recurrent_kernel/forget", "0/embedding"} < {row.path for row in found.params}
    total = sum(leaf.size for leaf in jax.tree.leaves(params))
    assert found.parts[-1].size == total and f"{total:,}" in str(found).split("\n")[-1]


def test_a_batch_of_a_pooled_layer_shows_the_parts_within():
    both = recur.bidirectional(recur.scan(recur.gru(3)), recur.scan(recur.gru(3), reverse=True))
    inner = recur.chain(recur.chain(recur.scan(recur.elman(4)), nn.Dense(2)), both)
    model = recur.batch(recur.pooled(inner, pool.last, nn.Dense(7)))
    xs = jax.ShapeDtypeStruct((2, 5, 3), jnp.float32)
    found = summary(model, xs)
    assert [row.path for row in found.parts] == [
        "layer/0/0",
        "layer/0/1",
        "layer/0",
        "layer/1",
        "layer",
        "",
    ]
    by_path = {row.path: row for row in found.parts}
    assert by_path["layer/0/0"][1:4] == ("scan(elman(4))", "float32[2,5,4]", "float32[2,4]")
    assert by_path["layer/1"].carry.startswith("Directions(forward=float32[2,3], backward=flo")
    assert by_path[""].output == "float32[2,7]"
    assert all(row.norm is None for row in found.params) and "norm" not in str(found)
    params = jax.eval_shape(lambda: model.init(KEY, jnp.ones((2, 5, 3), jnp.float32)))
    assert [row.shape for row in found.params] == [w.shape for w in jax.tree.leaves(params)]


def test_without_params_and_in_float64_and_int8():
    assert "param  " not in str(summary(recur.chain("tanh"), jnp.ones((4, 2))))
    params = {"a": np.float64(2.0), "b": np.full(3, -2, np.int8), "c": jnp.array([3 + 4j])}
    layer = recur.chain("tanh")
    rows = {row.path: row for row in summary(layer, jnp.ones((4, 2)), (params,)).params}
    assert (rows["0/a"].bytes, rows["0/b"].bytes, rows["0/b"].dtype) == (8, 3, "int8")
    assert rows["0/b"].norm == pytest.approx(np.sqrt(12)) and rows["0/c"].norm == pytest.approx(5)


def test_a_context():
    cell = recur.condition(recur.gru(3), "speaker")
    xs, context = jnp.ones((4, 2), jnp.float32), {"speaker": jnp.ones(5, jnp.float32)}
    found = summary(recur.scan(cell), xs, context=context)
    assert found.parts[0].output == "float32[4,3]"
