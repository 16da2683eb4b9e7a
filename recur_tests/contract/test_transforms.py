"""Every transformation of JAX, applied to layers."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from flax import linen as nn
from jax.sharding import AxisType, PartitionSpec

import recur
from recur_tests.contract.cases import (
    CELLS,
    by_name,
    dense,
    example,
    linear_of_equinox,
    linear_of_nnx,
)
from recur_tests.contract.composed import COMPOSED, NO_RESETS, pooled
from recur_tests.contract.own_cells import interpolating_cell, plain_cell, wide_lstm
from recur_tests.helpers import assert_close, random_like, weighted_sum
from recur_tests.lift.test_tree import on_a_line

F64 = {"param_dtype": jnp.float64}
LSTM, GRU = recur.lstm(3, **F64), recur.gru(3, **F64)
LAYERS = {
    "scan": recur.scan(LSTM),
    "loop": recur.loop(LSTM),
    "before": recur.scan(recur.gru(3, reset="before", **F64)),
    "wide": recur.scan(wide_lstm()),
    "truncate": recur.truncate(recur.scan(LSTM), 2, 3),
    "bidirectional": recur.bidirectional(recur.scan(LSTM), recur.scan(GRU, reverse=True)),
    "checkpoint": recur.checkpoint(recur.chain(recur.scan(LSTM), dense(3)), (2, 2)),
    "associative": recur.associative(recur.stack(recur.diagonal(3, **F64), interpolating_cell())),
    "newton": recur.newton(GRU),
    "tree": on_a_line(LSTM),
    "chain": recur.chain(recur.scan(LSTM), nn.Dropout(0.5), dense(3), "tanh"),
    "modules": recur.chain(linear_of_nnx(3, 3), recur.scan(plain_cell()), linear_of_equinox(4, 3)),
    "batch": recur.batch(recur.scan(LSTM)),
    **{name: make(GRU) for name, make in COMPOSED.items()},
    "pooled": pooled(GRU),
}
SEQUENCES = [LAYERS[name] for name in NO_RESETS]  # these do not run packed rows
every_layer = pytest.mark.parametrize("layer", LAYERS.values(), ids=LAYERS.keys())


def given(layer):
    rows = (2,) if layer is LAYERS["batch"] else ()
    xs = random_like(jax.ShapeDtypeStruct((*rows, 5, 3), jnp.float64), 0)
    return random_like(jax.eval_shape(layer.init, jax.random.key(0), xs), 1), xs


@every_layer
def test_checkpoint_and_eval_shape(layer):
    params, xs = given(layer)

    def results(layer):
        def loss(params):
            ys = layer(params, xs)
            return weighted_sum(ys), ys

        return jax.jit(jax.grad(loss, has_aux=True))(params)

    plain = results(layer)
    assert_close(results(jax.checkpoint(layer)), plain)
    shape, (_, ys) = jax.eval_shape(layer, params, xs), plain
    assert (shape.shape, shape.dtype) == (ys.shape, ys.dtype)


@every_layer
def test_vmap_over_params(layer):
    params, xs = given(layer)
    twice = jax.tree.map(lambda leaf: 2 * np.asarray(leaf), params)
    models = jax.tree.map(lambda *leaves: np.stack(leaves), params, twice)
    ys = jax.jit(jax.vmap(layer, in_axes=(0, None)))(models, xs)
    assert_close(ys[1], jax.jit(layer)(twice, xs))


@every_layer
def test_derivatives_of_first_and_second_order_in_both_modes(layer):
    params, xs = given(layer)

    direction, step = random_like(xs, 7), 1e-5

    def loss(xs):
        return weighted_sum(layer(params, xs))

    def along(function, xs):
        """The value of a function, and its derivative along the direction."""
        return jax.jvp(function, (xs,), (direction,))

    @jax.jit
    def derive(xs):
        by_forward = along(lambda xs: along(loss, xs)[1], xs)
        by_reverse = tuple((each * direction).sum() for each in along(jax.grad(loss), xs))
        above, below = jax.lax.map(loss, jnp.stack([xs + step * direction, xs - step * direction]))
        return by_forward, by_reverse, (above - below) / (2 * step)

    by_forward, by_reverse, difference = derive(xs)
    assert_close(by_forward, by_reverse)
    if layer is not LAYERS["truncate"]:  # whose gradient is not that of its value
        assert_close(by_forward[0], difference, 1e-7)


@every_layer
def test_no_second_compilation_and_no_leaked_tracer(layer):
    params, xs = given(layer)
    traces = []

    @jax.jit
    def run(params, xs):
        traces.append(None)
        return layer(params, xs)

    with jax.checking_leaks():
        run(params, xs)
        run(jax.tree.map(lambda leaf: leaf + 1, params), xs)
    assert len(traces) == 1


@every_layer
def test_numpy_arrays_are_arrays_and_jit_changes_nothing(layer):
    params, xs = given(layer)
    shape = (2,) if layer is LAYERS["batch"] else ()
    marks = {"reset": np.arange(5) == 2, "mask": np.arange(5) != 3, "length": np.array(4)}
    if layer in SEQUENCES:
        del marks["reset"]
    marks = {name: np.broadcast_to(mark, shape + mark.shape) for name, mark in marks.items()}
    plain = layer(jax.tree.map(np.asarray, params), np.asarray(xs), **marks)
    assert_close(plain, jax.jit(layer)(params, xs, **jax.tree.map(jnp.asarray, marks)))


@every_layer
def test_shard_map_over_two_devices(layer):
    """The batch is split over devices; carries of zeros are cast to vary as the inputs do."""
    scans_in_parallel = layer in (LAYERS["associative"], LAYERS["newton"])
    if scans_in_parallel and jax.__version_info__ >= (0, 11):
        pytest.skip("XLA of jax 0.11 crashes compiling associative_scan's gradient in a shard_map")
    params, xs = given(layer)
    batched = layer if layer is LAYERS["batch"] else recur.batch(layer)
    xs = xs if layer is LAYERS["batch"] else jnp.stack([xs, 2 * xs])
    lengths, reset = jnp.array([5, 3]), jnp.zeros((2, 5), bool).at[:, 2].set(True)

    def run(params, xs, lengths, reset):
        reset = None if layer in SEQUENCES else reset
        return batched(params, xs, length=lengths, reset=reset)

    rows = PartitionSpec("rows")
    sharded = jax.shard_map(
        run,
        mesh=jax.make_mesh((2,), ("rows",), axis_types=(AxisType.Auto,)),
        in_specs=(PartitionSpec(), rows, rows, rows),
        out_specs=rows,
    )
    assert len(jax.devices()) >= 2
    arguments = (xs, lengths, reset)

    def results(function):
        def loss(params):
            ys = function(params, *arguments)
            return weighted_sum(ys), ys

        return jax.jit(jax.grad(loss, has_aux=True))(params)

    assert_close(results(sharded), results(run))


@pytest.mark.parametrize("case", **by_name(CELLS))
def test_init_promises_what_apply_returns(case):
    """Shapes of params, carry and outputs are known without computing, from shapes alone."""
    layer = recur.scan(case.cell)
    example_ = example(case, layer)
    xs, context, key = example_.xs, example_.context, jax.random.key(0)
    spec = jax.ShapeDtypeStruct(xs.shape, xs.dtype)
    from_spec = jax.eval_shape(lambda key: layer.init(key, spec, context=context), key)
    drawn = jax.eval_shape(lambda key: layer.init(key, xs, context=context), key)
    assert drawn == from_spec
    carry, ys = jax.eval_shape(lambda p: layer.run(p, xs, context=context), drawn)
    assert jax.tree.map(jnp.shape, carry) == jax.tree.map(jnp.shape, example_.carry)
    assert all(len(leaf) == len(xs) for leaf in jax.tree.leaves(ys))
    real = {jnp.finfo(leaf.dtype).dtype for leaf in jax.tree.leaves((carry, ys))}
    assert real == {jnp.dtype("float64")}
