"""Mesh axes that are part of an array's type.

Inside a `shard_map` these are the axes over which a value varies. On a mesh with explicit axes,
they are the axes over which it is sharded.
"""

from __future__ import annotations

from functools import partial
from typing import Any

import jax
from jax.core import ShapedArray
from jax.sharding import AxisType, NamedSharding, PartitionSpec


def vary_over(values: Any, tree: Any) -> Any:
    """Casts `tree` to vary over the axes of a `shard_map` over which any of `values` varies.

    The carry of a loop must keep its type, and the axes it varies over are part of the type. A
    carry of zeros varies over no axis, but the carry after a step varies over the axes of its
    inputs. The same holds on a mesh with explicit axes, where a carry of zeros is on no mesh.
    """
    leaves = jax.tree.leaves(values)
    axes = frozenset().union(*map(_varying, leaves))
    mesh = next((_mesh(leaf) for leaf in leaves if has_explicit_axes(leaf)), None)

    def vary(leaf):
        if mesh is not None and _mesh(leaf).empty:
            leaf = jax.sharding.reshard(leaf, _replicated(mesh, leaf))
        missing = tuple(sorted(axes - _varying(leaf)))
        return jax.lax.pcast(leaf, missing, to="varying") if missing else leaf

    return jax.tree.map(vary, tree)


def drop_axes(leaf: Any, count: int) -> jax.ShapeDtypeStruct:
    """Returns the shape of `leaf` without its first axes, with the sharding of the others."""
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
    """Shards the first axis of each array of `tree` like that of `rows`, on explicit mesh axes.

    `vmap` needs the same sharding of all its arguments; on other meshes the compiler chooses it.
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


def has_explicit_axes(leaf: Any) -> bool:
    """Whether an array, or its type, is on a mesh with explicit axes."""
    return AxisType.Explicit in _mesh(leaf).axis_types


def placed_like(values: Any, tree: Any) -> Any:
    """Shards the arrays of `tree` like those of `values`, on a mesh of explicit axes.

    The carry of a loop must keep its type, and on such a mesh the sharding is part of the type: a
    hidden state computed by kernels that are sharded by columns has their sharding. Leading axes
    that `values` do not have are not sharded.
    """

    def place(value, leaf):
        if not has_explicit_axes(value):
            return leaf
        spec = PartitionSpec(
            *(None,) * (leaf.ndim - _aval(value).ndim), *_aval(value).sharding.spec
        )
        return jax.sharding.reshard(leaf, NamedSharding(_mesh(value), spec))

    return jax.tree.map(place, values, tree)


def explicit_sharding(aval: Any, like: jax.Array) -> NamedSharding | None:
    """Returns the sharding of `aval` if `like` is on a mesh of explicit axes; None on other meshes.

    On a mesh of explicit axes, a sum over a sharded axis needs the sharding of its result; on
    others the compiler chooses it.
    """
    if not has_explicit_axes(like):
        return None
    return _replicated(_mesh(like), aval) if aval.sharding.mesh.empty else aval.sharding


def product_sharding(x: jax.Array, kernel: jax.Array) -> NamedSharding | None:
    """Returns the sharding of `x W` if it sums over an explicitly sharded axis, else None."""
    if not has_explicit_axes(x):
        return None
    of_x, of_kernel = (jax.typeof(factor).sharding.spec for factor in (x, kernel))
    if of_x[-1] is None:
        return None
    return NamedSharding(_mesh(x), PartitionSpec(*of_x[:-1], *of_kernel[1:]))


def _varying(leaf: Any) -> frozenset:
    return jax.typeof(leaf).manual_axis_type.varying


def _aval(leaf: Any) -> Any:
    return leaf if isinstance(leaf, ShapedArray) else jax.typeof(leaf)


def _mesh(leaf: Any) -> Any:
    return _aval(leaf).sharding.mesh


def _replicated(mesh: Any, leaf: Any) -> NamedSharding:
    return NamedSharding(mesh, PartitionSpec(*leaf.ndim * [None]))
