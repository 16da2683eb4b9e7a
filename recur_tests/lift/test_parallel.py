"""`parallel` against its branches by hand, in NumPy where they are modules."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from flax import linen as nn

import recur
from recur_tests.contract.cases import dense, linear_of_equinox
from recur_tests.helpers import assert_close, random_like, to_numpy
from recur_tests.oracles.gru import gru

F64 = {"param_dtype": jnp.float64}
GRU = recur.gru(4, **F64)
XS = np.random.default_rng(0).standard_normal((5, 3))
MASK = np.array([True, False, True, True, False])


def drawn(layer, xs=XS):
    return random_like(jax.eval_shape(layer.init, jax.random.key(0), xs), 1)


@pytest.mark.parametrize(
    ("merge", "expected"),
    [
        ("concatenate", lambda *ys: np.concatenate(ys, -1)),
        ("sum", lambda a, b, c: a + b + c),
        ("mean", lambda a, b, c: (a + b + c) / 3),
        (lambda a, b, c: a * b - c, lambda a, b, c: a * b - c),
    ],
)
def test_merges_the_outputs_of_all_branches(merge, expected):
    layer = recur.parallel(
        recur.scan(GRU), dense(4), jnp.sin if merge == "concatenate" else dense(4), merge=merge
    )
    params = drawn(layer)
    carry, ys = layer.run(params, XS, mask=MASK)
    numpy = to_numpy(params)
    valid = XS[MASK]
    end, read = gru(numpy[0], np.zeros(4), valid, reset="after")
    wide = valid @ numpy[1]["kernel"] + numpy[1]["bias"]
    last = np.sin(valid) if numpy[2] == () else valid @ numpy[2]["kernel"] + numpy[2]["bias"]
    assert_close(to_numpy(ys)[MASK], expected(read, wide, last))
    assert not ys[~MASK].any()
    assert_close(carry, (end, (), ()))


def test_a_branch_reads_its_field():
    xs = {"word": np.array([1, 3, 2]), "case": np.eye(3, 2)}
    layer = recur.parallel(
        recur.chain(lambda x: x["word"], nn.Embed(5, 4, **F64), recur.scan(GRU)),
        lambda x: x["case"],
    )
    params = drawn(layer, xs)
    read = recur.scan(GRU)(params[0][2], params[0][1]["embedding"][xs["word"]])
    assert_close(layer(params, xs), jnp.concatenate([read, xs["case"]], -1))


def test_branches_are_drawn_and_noisy_independently():
    layer = recur.parallel(dense(4), dense(4))
    one, other = layer.init(jax.random.key(0), XS)
    assert (one["kernel"] != other["kernel"]).all()
    noisy = recur.parallel(nn.Dropout(0.5), nn.Dropout(0.5), merge=lambda a, b: (a, b))
    ones = np.ones((5, 64))
    a, b = noisy(noisy.init(jax.random.key(0), ones), ones, key=jax.random.key(1))
    assert (a != b).any() and not (a == 1).any()
    a, b = noisy(noisy.init(jax.random.key(0), ones), ones)
    assert (a == 1).all() and (b == 1).all()


FORWARD, BACKWARD = recur.scan(GRU), recur.scan(GRU, reverse=True)


@pytest.mark.parametrize(
    ("branches", "direction"),
    [
        (("tanh", dense(3)), "stepwise"),
        (("tanh", FORWARD), "forward"),
        ((BACKWARD, "tanh", BACKWARD), "backward"),
        ((FORWARD, BACKWARD), "bidirectional"),
        ((FORWARD, recur.sequencewise(jnp.sin)), "bidirectional"),
    ],
)
def test_the_direction_is_the_common_one(branches, direction):
    assert recur.parallel(*branches).direction == direction


def test_what_is_truncated_is_passed_on():
    truncated = recur.truncate(FORWARD, 1, 2)
    assert recur.parallel("tanh", truncated).is_truncated
    assert not recur.parallel("tanh", FORWARD).is_truncated
    with pytest.raises(ValueError, match="Apply truncate last"):
        recur.checkpoint(recur.parallel("tanh", truncated))


def test_pieces_equal_the_whole_and_bidirectional_is_a_parallel():
    layer = recur.parallel(FORWARD, linear_of_equinox(3, 2), recur.scan(recur.lstm(2, **F64)))
    params = drawn(layer)
    whole = layer.run(params, XS)
    carry, first = layer.run(params, XS[:2])
    carry, second = layer.run(params, XS[2:], carry=carry)
    assert_close((carry, jnp.concatenate([first, second])), whole)
    both = recur.bidirectional(FORWARD, BACKWARD)
    params = drawn(both)
    assert_close(recur.parallel(FORWARD, BACKWARD)(tuple(params), XS), both(params, XS))


def test_outputs_of_any_structure_merge_by_leaf():
    layer = recur.parallel(lambda x: (x, x[:2]), lambda x: (2 * x, x[1:]), merge="concatenate")
    assert_close(
        layer(((), ()), XS),
        (np.concatenate([XS, 2 * XS], -1), np.concatenate([XS[:, :2], XS[:, 1:]], -1)),
    )
