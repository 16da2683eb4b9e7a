"""The axes of a `shard_map` over which values vary, which are part of their type."""

from __future__ import annotations

from typing import Any

import jax


def vary_over(values: Any, tree: Any) -> Any:
    """`tree`, varying over the axes of a `shard_map` over which any of `values` varies.

    A loop wants its carry to have one type throughout, and the axes it varies over are part of the
    type: a start of zeros varies over none until it has met its inputs.
    """
    axes = frozenset().union(*(_varying(leaf) for leaf in jax.tree.leaves(values)))

    def vary(leaf):
        missing = tuple(sorted(axes - _varying(leaf)))
        return jax.lax.pcast(leaf, missing, to="varying") if missing else leaf

    return jax.tree.map(vary, tree)


def _varying(leaf: Any) -> frozenset:
    return jax.typeof(leaf).manual_axis_type.varying
