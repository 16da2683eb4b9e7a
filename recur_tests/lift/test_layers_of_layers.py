"""Which layers of layers commute: all pairs, in values and gradients, against the Python loop."""

import itertools

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import recur
from recur_tests.helpers import assert_close, random_like, weighted_sum

CELL = recur.gru(2, param_dtype=jnp.float64)
STEPS, ROWS, WIDTH = 6, 2, 2
XS = np.random.default_rng(0).standard_normal((ROWS, STEPS, WIDTH))
FLAGS = {
    "mask": np.arange(STEPS) != 2,
    "reset": np.arange(STEPS) == 3,
}

# Each takes a layer that reads forward and one that reads backward, and gives two again.
WRAPS = {
    "batch": lambda *both: tuple(map(recur.batch, both)),
    "bidirectional": lambda *both: 2 * (recur.bidirectional(*both),),
    "chain": lambda *both: tuple(recur.chain("tanh", layer, jnp.sin) for layer in both),
    "checkpoint": lambda *both: tuple(recur.checkpoint(layer, 2) for layer in both),
    "parallel": lambda *both: tuple(recur.parallel("tanh", layer) for layer in both),
    "truncate": lambda forward, backward: (recur.truncate(forward, 2, 3), backward),
}
# Layers of layers that do not change values and gradients: the oracle omits them.
SILENT = {"batch": lambda *both: both, "checkpoint": lambda *both: both}
ORACLE = {**WRAPS, **SILENT}

BATCH_LAST = r"Apply batch last: recur.batch\(recur.{}\(...\)\)"
# For each pair, the error if the first wraps the second; no entry if that is possible.
AROUND = {
    ("bidirectional", "batch"): BATCH_LAST.format("bidirectional"),
    ("chain", "batch"): BATCH_LAST.format("chain"),
    ("checkpoint", "batch"): BATCH_LAST.format("checkpoint"),
    ("parallel", "batch"): BATCH_LAST.format("parallel"),
    ("truncate", "batch"): BATCH_LAST.format("truncate"),
    ("checkpoint", "bidirectional"): "Checkpoint each direction",
    ("truncate", "bidirectional"): "truncate: expected a causal layer",
    ("checkpoint", "truncate"): "Apply truncate last",
}

# Both orders are possible, and give other models.
DIFFERENT = {("bidirectional", "parallel"), ("chain", "parallel")}


def build(lift, outer, inner, wraps=WRAPS):
    """`outer(inner(layer))`, of lifted cells."""
    return wraps[outer](*wraps[inner](lift(CELL), lift(CELL, reverse=True)))[0]


def rows_of(layer, params, xs):
    """The outputs of all rows, one row after the other unless the layer is batched."""
    if layer.is_batched:
        flags = {name: np.stack(len(xs) * [flag]) for name, flag in FLAGS.items()}
        return layer(params, xs, **flags)
    return jnp.stack([layer(params, x, **FLAGS) for x in xs])


def results(layer, rows=1):
    """Leaves of the gradients with respect to params and inputs, and outputs."""
    example = XS if layer.is_batched else XS[0]
    params = random_like(jax.eval_shape(layer.init, jax.random.key(0), example), 1)

    @jax.jit
    def derive(params, xs):
        def loss(params, xs):
            ys = rows_of(layer, params, xs)
            return weighted_sum(ys), ys

        return jax.grad(loss, (0, 1), has_aux=True)(params, xs)

    return jax.tree.leaves(derive(params, XS[:rows]))


@pytest.mark.parametrize(("first", "second"), [*itertools.combinations(WRAPS, 2)])
def test_both_orders_are_the_loop_or_one_is_an_error(first, second):
    """Where both orders are possible most commute, in values and in gradients."""
    expected, rows = {}, ROWS if "batch" in (first, second) else 1
    for outer, inner in ((first, second), (second, first)):
        if (outer, inner) in AROUND:
            with pytest.raises(ValueError, match=AROUND[outer, inner]):
                build(recur.scan, outer, inner)
        else:
            expected[outer] = results(build(recur.loop, outer, inner, ORACLE), rows)
            assert_close(results(build(recur.scan, outer, inner), rows), expected[outer])
    assert expected
    if len(expected) == 2 and (first, second) not in DIFFERENT:
        assert_close(expected[first], expected[second])


@pytest.mark.parametrize("name", ["batch", "chain", "checkpoint"])
def test_around_themselves(name):
    if name == "batch":
        layer = recur.batch(recur.batch(recur.scan(CELL)))
        params = layer.init(jax.random.key(0), XS[None])
        assert_close(layer(params, XS[None])[0], recur.batch(recur.scan(CELL))(params, XS))
    else:
        expected = results(build(recur.loop, name, name, ORACLE))
        assert_close(results(build(recur.scan, name, name)), expected)


def test_a_truncated_chain_of_two_is_not_a_chain_of_two_truncated_layers():
    """Within a window errors of the upper layer flow through all its steps of the lower one."""

    def both(lift):
        layer = lift(CELL)
        parts = recur.truncate(layer, 1, 2)
        return recur.truncate(recur.chain(layer, layer), 1, 2), recur.chain(parts, parts)

    whole, parts = (results(layer) for layer in both(recur.scan))
    assert_close([whole, parts], [results(layer) for layer in both(recur.loop)])
    assert_close(whole[-1], parts[-1])  # the outputs
    assert any(not np.allclose(a, b) for a, b in zip(whole, parts, strict=True))


def test_what_is_truncated_is_passed_on_to_what_is_around_it():
    forward, backward = recur.scan(CELL), recur.scan(CELL, reverse=True)
    truncated = recur.truncate(forward, 2, 3)
    assert not forward.is_truncated and truncated.is_truncated
    assert recur.chain("tanh", recur.chain(truncated)).is_truncated
    assert recur.bidirectional(truncated, backward).is_truncated
    assert recur.batch(truncated).is_truncated
    assert not recur.batch(recur.chain(forward)).is_truncated
