"""Exported layers: for any number of steps, for other platforms, and serialized."""

import re

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from flax import linen as nn
from jax import export

import recur
from recur import classic
from recur_tests.helpers import assert_close

CELL = recur.lstm(4)
XS = np.linspace(-1, 1, 18, dtype=np.float32).reshape(6, 3)
LAYERS = {
    "scan": recur.scan(CELL),
    "backward": recur.scan(recur.gru(4, reset="before"), reverse=True),
    "stack": recur.scan(recur.stack(CELL, recur.min_gru(4))),
    "chain": recur.chain(recur.scan(CELL), nn.Dense(2)),
    "bidirectional": recur.bidirectional(
        recur.scan(CELL), recur.scan(recur.elman(4), reverse=True)
    ),
    "checkpoint": recur.checkpoint(recur.scan(CELL)),
    "checkpoint in 4": recur.checkpoint(recur.scan(CELL), segments=4),
    "associative": recur.associative(recur.min_gru(4)),
    "associative backward": recur.associative(recur.min_gru(4), reverse=True),
    "associative in log space": recur.associative(recur.min_gru(4), log_space=True),
    "newton": recur.newton(recur.elman(4)),
    "newton backward": recur.newton(recur.gru(4), jacobian="diagonal", reverse=True),
    "noise": recur.scan(recur.recurrent_dropout(CELL, 0.5)),
    "batch": recur.batch(recur.scan(CELL)),
    "tcn": classic.tcn(4, levels=2, kernel_size=3),
    "batch of tcn": recur.batch(classic.tcn(4, levels=2, kernel_size=3)),
    "without x": recur.scan(
        recur.cell(
            lambda key, x: jnp.eye(3),
            lambda p, x: jnp.ones(3),
            lambda p, h, x: 2 * (jnp.tanh(h @ p),),
        )
    ),
}


def shapes_like(layer, xs, *, symbolic=True):
    """Arguments for an export: params, xs and lengths, with any number of steps and rows."""
    rows = (2,) if layer.is_batched else ()
    params = jax.eval_shape(
        layer.init, jax.random.key(0), jnp.zeros((*rows, *xs.shape), jnp.float32)
    )
    steps, width = xs.shape
    if symbolic:
        names = "b, t" if rows else "t"
        *rows, steps = export.symbolic_shape(names)
    shape = jax.ShapeDtypeStruct((*rows, steps, width), xs.dtype)
    return params, shape, jax.ShapeDtypeStruct((*rows,), jnp.int32)


def functions_of(layer, noisy=False):
    """The outputs, and the gradient with respect to params."""
    key = jax.random.key(1) if noisy else None

    def run(params, xs, length):
        # Where T is known, run of newton may call the host to warn; solve does not.
        is_known = isinstance(xs.shape[-2], int)
        solve = getattr(layer, "solve", layer.run) if is_known else layer.run
        return solve(params, xs, length=length, key=key)[:2]

    def gradient(params, xs, length):
        ys = lambda params: jax.tree.leaves(run(params, xs, length)[1])  # noqa: E731
        return jax.grad(lambda params: sum((y**2).sum() for y in ys(params)))(params)

    return run, gradient


def draw(layer, xs):
    params = layer.init(jax.random.key(0), xs)
    return params, xs, jnp.full(xs.shape[:1] if layer.is_batched else (), xs.shape[-2] - 1)


@pytest.mark.parametrize("name", LAYERS)
def test_any_number_of_steps(name):
    """One program for sequences of any length, in values and gradients."""
    layer = LAYERS[name]
    for function in functions_of(layer, name == "noise"):
        exported = export.export(jax.jit(function))(*shapes_like(layer, XS))
        for count in (6, 5):  # with 4 segments, neither is cut evenly
            xs = np.stack([XS, -XS])[:, :count] if layer.is_batched else XS[:count]
            given = draw(layer, xs.astype(np.float32))
            given = (*given[:2], given[2].astype(jnp.int32))
            assert_close(exported.call(*given), jax.jit(function)(*given), 1e-5)


def test_truncate_needs_a_known_number_of_steps():
    layer = recur.truncate(recur.scan(CELL), 1, 2)
    run, _ = functions_of(layer)
    message = "truncate: expected a known number of steps, got the symbolic dimension t. Export"
    with pytest.raises(ValueError, match=re.escape(message)):
        export.export(jax.jit(run))(*shapes_like(layer, XS))


@pytest.mark.parametrize("symbolic", [True, False])
@pytest.mark.parametrize("name", LAYERS)
def test_lowering_for_other_platforms(name, symbolic):
    layer = LAYERS[name]
    for function in functions_of(layer, name == "noise"):
        shapes = shapes_like(layer, XS, symbolic=symbolic)
        exported = export.export(jax.jit(function), platforms=["cuda", "tpu"])(*shapes)
        assert exported.platforms == ("cuda", "tpu")


@pytest.mark.parametrize("name", ["scan", "stack", "chain", "batch"])
def test_saved_as_bytes(name):
    """With params as arguments: their types are registered by name."""
    pytest.importorskip("flatbuffers")
    layer = LAYERS[name]
    xs = np.stack([XS, -XS]) if layer.is_batched else XS
    params, xs, length = draw(layer, xs)
    given = (params, xs, length.astype(jnp.int32))
    for function in functions_of(layer):
        exported = export.export(jax.jit(function))(*shapes_like(layer, XS))
        loaded = export.deserialize(exported.serialize())
        assert_close(loaded.call(*given), jax.jit(function)(*given), 1e-5)


@pytest.mark.parametrize("count", [1, 6])
@pytest.mark.parametrize("name", ["scan", "checkpoint", "bidirectional", "associative"])
def test_any_number_of_rows_with_a_known_number_of_steps(name, count):
    """One step of many streams is such a program: the carry is an argument and a result."""
    layer = recur.batch(LAYERS[name])

    def run(params, carry, xs):
        return layer.run(params, xs, carry=carry)

    (b,) = export.symbolic_shape("b")
    xs = np.stack([XS, -XS, 2 * XS])[:, :count].astype(np.float32)
    params = layer.init(jax.random.key(0), xs)
    carry = layer.init_carry(params, xs)
    given = params, jax.tree.map(lambda leaf: leaf + 0.5, carry), xs
    shapes = jax.tree.map(
        lambda leaf: jax.ShapeDtypeStruct((b, *leaf.shape[1:]), leaf.dtype), given[1:]
    )
    exported = export.export(jax.jit(run))(params, *shapes)
    assert_close(exported.call(*given), run(*given), 1e-5)
