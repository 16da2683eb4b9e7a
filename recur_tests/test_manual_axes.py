import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jax.sharding import AxisType, NamedSharding, PartitionSpec

from recur.manual_axes import (
    drop_axes,
    explicit_sharding,
    placed_like,
    product_sharding,
    shard_like,
    vary_over,
)
from recur_tests.helpers import assert_close

ROWS, WHOLE = PartitionSpec("rows"), PartitionSpec()


def mesh_of(axis_type):
    return jax.make_mesh((2,), ("rows",), axis_types=(axis_type,))


def explicit(array, *spec):
    """Returns the array on a mesh with explicit axes."""
    return jax.device_put(array, NamedSharding(jax.sharding.get_mesh(), PartitionSpec(*spec)))


@pytest.fixture
def explicit_mesh():
    mesh = mesh_of(AxisType.Explicit)
    with jax.set_mesh(mesh):
        yield mesh


def inside_of_a_shard_map(function):
    """The function of rows that vary over devices, and of a value that does not."""
    mesh = mesh_of(AxisType.Auto)
    return jax.shard_map(function, mesh=mesh, in_specs=(ROWS, WHOLE), out_specs=ROWS)


def varying(leaf):
    return set(jax.typeof(leaf).manual_axis_type.varying)


def test_outside_of_a_shard_map_nothing_is_cast():
    tree = {"h": jnp.zeros(3), "key": jax.random.key(0), "none": None}
    found = vary_over(jnp.ones(2), tree)
    assert found["h"] is tree["h"] and found["key"] is tree["key"] and found["none"] is None


def test_values_vary_over_the_axes_of_any_of_the_others():
    seen = []

    def rows(x, w):
        carry = {"zeros": jnp.zeros(3), "x": x, "number": 0.0}
        cast = vary_over((w, x), carry)
        unchanged = vary_over((w, 1.0), carry)
        seen.append(jax.tree.map(varying, (carry, cast, unchanged)))
        assert cast["x"] is x
        return cast["zeros"] + x[0]

    found = jax.jit(inside_of_a_shard_map(rows))(jnp.ones((2, 3)), jnp.ones(3))
    [(before, cast, unchanged)] = seen
    assert before == unchanged == {"zeros": set(), "x": {"rows"}, "number": set()}
    assert cast == {"zeros": {"rows"}, "x": {"rows"}, "number": {"rows"}}
    assert_close(found, jnp.ones(6))


def test_a_loop_takes_a_carry_that_is_cast():
    def end(x, w, cast):
        def step(h, x):
            return h * w + x, None

        carry = jnp.zeros(x.shape[1:])
        return jax.lax.scan(step, vary_over((x, w), carry) if cast else carry, x)[0][None]

    run = inside_of_a_shard_map(functools.partial(end, cast=True))
    xs, w = jnp.arange(12.0).reshape(4, 3), jnp.asarray(0.5)
    assert_close(jax.jit(run)(xs, w), jnp.stack([0.5 * xs[0] + xs[1], 0.5 * xs[2] + xs[3]]))
    with pytest.raises(TypeError, match="carry"):
        jax.jit(inside_of_a_shard_map(functools.partial(end, cast=False)))(xs, w)


def test_drop_axes_of_arrays_and_shapes():
    keys = jax.random.split(jax.random.key(0), 2)
    for leaf, count, shape, dtype in (
        (jnp.ones((2, 3, 4), jnp.float32), 2, (4,), jnp.float32),
        (np.ones((2, 3)), 1, (3,), jnp.float64),
        (jax.ShapeDtypeStruct((2, 3), jnp.int8), 0, (2, 3), jnp.int8),
        (keys, 1, (), keys.dtype),
    ):
        found = drop_axes(leaf, count)
        assert isinstance(found, jax.ShapeDtypeStruct)
        assert (found.shape, found.dtype, found.sharding) == (shape, dtype, None)
    with jax.enable_x64(False):
        assert drop_axes(np.ones((2, 3)), 1).dtype == jnp.float32


def test_drop_axes_keeps_the_axes_over_which_a_value_varies():
    seen = []

    def rows(x, w):
        seen.extend(set(drop_axes(leaf, 1).manual_axis_type.varying) for leaf in (x, w))
        return x

    jax.jit(inside_of_a_shard_map(rows))(jnp.ones((2, 3)), jnp.ones(3))
    assert seen == [{"rows"}, set()]


def test_drop_axes_keeps_the_sharding_of_the_other_axes(explicit_mesh):
    found = drop_axes(explicit(jnp.ones((4, 2, 3)), None, "rows"), 1)
    assert found.shape == (2, 3)
    assert found.sharding.mesh == explicit_mesh.abstract_mesh
    assert found.sharding.spec == PartitionSpec("rows", None)
    found = drop_axes(explicit(jnp.ones((2, 3)), "rows"), 1)
    assert found.sharding.spec == PartitionSpec(None)


def test_shard_like_shards_first_axes_as_those_of_the_rows(explicit_mesh):
    rows = explicit(jnp.ones((2, 3)), "rows")
    tree = {"lengths": jnp.array([1, 2]), "carry": jnp.ones((2, 4)), "none": None}
    found = shard_like({"x": rows}, tree)
    assert found["none"] is None
    for name in ("lengths", "carry"):
        assert jax.typeof(found[name]).sharding.spec[0] == "rows"
        assert np.array_equal(found[name], tree[name])
    total = jax.vmap(lambda x, h: x.sum() + h.sum())(rows, found["carry"])
    assert np.array_equal(total, [7.0, 7.0])


def test_shard_like_leaves_values_alone_where_rows_are_not_sharded(explicit_mesh):
    tree = (jnp.array([1, 2]),)
    for rows in (explicit(jnp.ones((2, 4)), None, "rows"), np.ones((2, 3)), ()):
        assert shard_like(rows, tree) is tree


def test_shard_like_leaves_values_alone_on_other_meshes():
    tree = (jnp.array([1, 2]),)
    assert shard_like(jnp.ones((2, 3)), tree) is tree
    mesh = mesh_of(AxisType.Auto)
    rows = jax.device_put(jnp.ones((2, 3)), NamedSharding(mesh, ROWS))
    assert shard_like(rows, tree) is tree


def test_explicit_sharding(explicit_mesh):
    sharded = explicit(jnp.ones((2, 3)), "rows")
    assert explicit_sharding(jax.typeof(sharded), sharded) == jax.typeof(sharded).sharding
    empty = jax.core.ShapedArray((4, 3), jnp.float64)
    replicated = explicit_sharding(empty, sharded)
    assert replicated.mesh == explicit_mesh.abstract_mesh
    assert replicated.spec == PartitionSpec(None, None)


def test_on_other_meshes_there_is_no_explicit_sharding():
    x = jnp.ones((2, 3))
    assert explicit_sharding(jax.typeof(x), x) is None
    with jax.set_mesh(mesh_of(AxisType.Auto)):
        rows = jax.device_put(x, NamedSharding(jax.sharding.get_mesh(), ROWS))
        assert explicit_sharding(jax.typeof(rows), rows) is None


def test_placed_like_shards_as_values_are(explicit_mesh):
    sharded = explicit(jnp.ones((3, 2)), None, "rows")
    tree = {"same": sharded, "whole": jnp.zeros((3, 2)), "steps": jnp.zeros((5, 3, 2))}
    found = placed_like(dict.fromkeys(tree, sharded), tree)
    specs = {name: jax.typeof(leaf).sharding.spec for name, leaf in found.items()}
    whole = PartitionSpec(None, "rows")
    assert specs == {"same": whole, "whole": whole, "steps": PartitionSpec(None, None, "rows")}
    found = placed_like(jax.typeof(sharded), jnp.zeros((3, 2)))
    assert jax.typeof(found).sharding.spec == whole


def test_placed_like_leaves_values_alone_on_other_meshes():
    leaf = jnp.zeros(2)
    assert placed_like(jnp.ones(2), leaf) is leaf
    with jax.set_mesh(mesh_of(AxisType.Auto)):
        rows = jax.device_put(jnp.ones(2), NamedSharding(jax.sharding.get_mesh(), ROWS))
        assert placed_like(rows, leaf) is leaf


def test_product_sharding_is_for_sums_over_a_sharded_axis(explicit_mesh):
    kernel = explicit(jnp.ones((2, 4)), None, None)
    summed = product_sharding(explicit(jnp.ones((3, 2)), None, "rows"), kernel)
    assert summed.spec == PartitionSpec(None, None)
    assert product_sharding(explicit(jnp.ones((4, 2)), "rows", None), kernel) is None


def test_on_other_meshes_the_compiler_chooses_the_sharding_of_a_product():
    assert product_sharding(jnp.ones((3, 2)), jnp.ones((2, 4))) is None
