"""A function of one sequence that is told when `vmap` goes over many, to do them together.

`jax.custom_batching.custom_vmap` does this too, but cannot be differentiated backwards. Here the
function steps aside as soon as it is differentiated: by then a batch has either been told of, for
`batch` maps inside of what is differentiated, or it comes later and is an ordinary `vmap`.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import jax
import jax.numpy as jnp
from jax.extend.core import Primitive
from jax.interpreters import ad, batching, mlir


def by_rows(one: Callable, many: Callable) -> Callable:
    """`one`, that becomes `many` under a `vmap`.

    Args:
      one: a function of pytrees of arrays, that closes over no array.
      many: `many(size, has_rows, *args)`, the same for many rows; args have the row axis last
        where `has_rows`, pytrees of flags like args, say so. All that it returns has it last.
    """

    def call(*args):
        leaves, structure = jax.tree.flatten(args)
        structures = []

        def flat(result):
            leaves, structure = jax.tree.flatten(result)
            structures.append(structure)
            return leaves

        def flat_one(*leaves):
            return flat(one(*jax.tree.unflatten(structure, leaves)))

        def flat_many(size, has_rows, *leaves):
            has_rows, args = (jax.tree.unflatten(structure, each) for each in (has_rows, leaves))
            return flat(many(size, has_rows, *args))

        results = _by_rows.bind(*leaves, one=flat_one, many=flat_many)
        return jax.tree.unflatten(structures[-1], results)

    return call


_by_rows = Primitive("by_rows")
_by_rows.multiple_results = True


@_by_rows.def_impl
def _run(*leaves, one, many):
    del many
    return one(*leaves)


@_by_rows.def_abstract_eval
def _shapes(*leaves, one, many):
    del many
    return jax.make_jaxpr(one)(*leaves).out_avals


def _go_over_rows(leaves: Sequence[Any], axes: Sequence[int | None], *, one, many):
    [size] = {leaf.shape[a] for leaf, a in zip(leaves, axes, strict=True) if a is not None}
    if size == 1:  # one row is no rows
        pairs = zip(leaves, axes, strict=True)
        results = one(*(leaf if a is None else jnp.squeeze(leaf, a) for leaf, a in pairs))
        results = [jnp.expand_dims(result, -1) for result in results]
    else:
        pairs = zip(leaves, axes, strict=True)
        leaves = [leaf if a is None else jnp.moveaxis(leaf, a, -1) for leaf, a in pairs]
        results = many(size, [a is not None for a in axes], *leaves)
    return results, [result.ndim - 1 for result in results]


def _step_aside(primals: Sequence[Any], tangents: Sequence[Any], *, one, many):
    del many
    moves = [not isinstance(tangent, ad.Zero) for tangent in tangents]

    def along(*moving):
        rest = iter(moving)
        return one(*(next(rest) if m else p for m, p in zip(moves, primals, strict=True)))

    moving, by = (
        tuple(each for each, m in zip(values, moves, strict=True) if m)
        for values in (primals, tangents)
    )
    results, changes = jax.jvp(along, moving, by)
    return results, [
        ad.Zero(jax.typeof(result).to_tangent_aval())
        if change.dtype == jax.dtypes.float0
        else change
        for result, change in zip(results, changes, strict=True)
    ]


batching.primitive_batchers[_by_rows] = _go_over_rows
ad.primitive_jvps[_by_rows] = _step_aside
mlir.register_lowering(_by_rows, mlir.lower_fun(_run, multiple_results=True))
