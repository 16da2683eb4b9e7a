"""Axes of a device mesh that are part of the type of a value, as JAX tracks them.

Inside a `shard_map` these are the axes over which a value varies; on a mesh with explicit axes, the
axes over which it is sharded.
"""

from __future__ import annotations

from functools import partial
from typing import Any

import jax
from jax.sharding import AxisType, NamedSharding, PartitionSpec


def vary_over(values: Any, tree: Any) -> Any:
    """Casts `tree` to vary over the axes of a `shard_map` over which any of `values` varies.

    A loop needs a carry of one type throughout, and the axes it varies over are part of the
    type: a carry of zeros varies over none until it has met its inputs. So it is with a mesh of
    explicit axes: a carry of zeros is on none.
    """
    leaves = jax.tree.leaves(values)
    axes = frozenset().union(*map(_varying, leaves))
    mesh = next((mesh for mesh in map(_mesh, leaves) if AxisType.Explicit in mesh.axis_types), None)

    def vary(leaf):
        if mesh is not None and _mesh(leaf).empty:
            leaf = jax.sharding.reshard(leaf, _replicated(mesh, leaf))
        missing = tuple(sorted(axes - _varying(leaf)))
        return jax.lax.pcast(leaf, missing, to="varying") if missing else leaf

    return jax.tree.map(vary, tree)


def drop_axes(leaf: Any, count: int) -> jax.ShapeDtypeStruct:
    """The shape of `leaf` without its first axes, on the mesh axes on which it is."""
    dtype = jax.dtypes.canonicalize_dtype(leaf.dtype, allow_extended_dtype=True)
    shape = leaf.shape[count:]
    if not isinstance(leaf, jax.Array):
        return jax.ShapeDtypeStruct(shape, dtype)
    aval: Any = jax.typeof(leaf)
    mesh, spec = aval.sharding.mesh, aval.sharding.spec
    sharding = None if mesh.empty else NamedSharding(mesh, PartitionSpec(*spec[count:]))
    axes = aval.manual_axis_type
    return jax.ShapeDtypeStruct(shape, dtype, sharding=sharding, manual_axis_type=axes)


def shard_like(rows: Any, tree: Any) -> Any:
    """Shards the first axis of the arrays of `tree` as that of `rows`, on a mesh of explicit axes.

    `vmap` needs one sharding of all it maps over; on other meshes the compiler chooses it.
    """
    for leaf in jax.tree.leaves(rows):
        if not isinstance(leaf, jax.Array):
            continue
        sharding: Any = jax.typeof(leaf).sharding
        axis = sharding.spec[0] if len(sharding.spec) else None
        if axis is not None:
            spec = NamedSharding(sharding.mesh, PartitionSpec(axis))
            return jax.tree.map(partial(jax.sharding.reshard, out_shardings=spec), tree)
    return tree


def explicit_sharding(aval: Any, like: jax.Array) -> NamedSharding | None:
    """The sharding of `aval` where `like` is on a mesh of explicit axes; None on other meshes.

    There a sum over a sharded axis needs the sharding of its result; elsewhere the compiler
    chooses it.
    """
    mesh = _mesh(like)
    if AxisType.Explicit not in mesh.axis_types:
        return None
    return _replicated(mesh, aval) if aval.sharding.mesh.empty else aval.sharding


def _varying(leaf: Any) -> frozenset:
    return jax.typeof(leaf).manual_axis_type.varying


def _mesh(leaf: Any) -> Any:
    return jax.typeof(leaf).sharding.mesh


def _replicated(mesh: Any, leaf: Any) -> NamedSharding:
    return NamedSharding(mesh, PartitionSpec(*leaf.ndim * [None]))
