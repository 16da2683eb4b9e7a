"""Layers side by side: several layers over the same steps, and the merge of their outputs."""

from __future__ import annotations

import functools
import operator
from collections.abc import Callable, Sequence
from typing import Any

import jax
import jax.numpy as jnp

from recur.call_repr import call_repr
from recur.checks import check_entries, describe
from recur.keys import check_key, split
from recur.layer import Layer
from recur.lift.chain import as_layer, common_direction
from recur.masks import zero_invalid
from recur.modules import activation

Merge = str | Callable[..., Any]


MERGES = {
    "concatenate": lambda leaves: jnp.concatenate(leaves, axis=-1),
    "sum": lambda leaves: functools.reduce(operator.add, leaves),
    "mean": lambda leaves: functools.reduce(operator.add, leaves) / len(leaves),
}


@call_repr
def parallel(*branches: Any, merge: Merge = "concatenate") -> Layer:
    """Runs several layers or modules over the same steps and merges their outputs (branches).

        ys^k = branch^k(xs),    y_t = merge(y^1_t, ..., y^K_t)

    All branches read the same xs. If xs are a dict, a function selects the field that a branch
    reads: `recur.chain(lambda x: x["words"], nn.Embed(1000, 32))`.

    Args:
      *branches: layers, modules of Flax Linen, Flax NNX or Equinox, functions of one step, or names
        of `recur.modules.ACTIVATIONS`, as in `chain`.
      merge: "concatenate" along the last axis, "sum", "mean", or a function without weights of the
        outputs `[T, ...]` of all branches.

    Returns:
      A `Layer`; its params and its carry are tuples with one entry per branch. It is causal if all
      branches are.

    Raises:
      ValueError: if there are no branches, merge is an unknown name, or a layer is batched or
        pooled; when tracing, if the outputs cannot be merged.
      TypeError: if a branch is a cell that has not been lifted, or cannot be applied.

    Example:
      >>> import jax, jax.numpy as jnp, recur
      >>> from flax import linen as nn
      >>> model = recur.parallel(recur.scan(recur.lstm(16)), nn.Dense(8))
      >>> xs = jnp.ones((5, 3))
      >>> model(model.init(jax.random.key(0), xs), xs).shape
      (5, 24)

    References:
      Cheng et al. 2016, Wide & Deep Learning for Recommender Systems,
      https://arxiv.org/abs/1606.07792
    """
    if not branches:
        raise ValueError("parallel: expected at least one branch, got none.")
    layers = [as_layer(branch, "parallel") for branch in branches]
    return in_parallel(layers, merge, tuple, "parallel")


def in_parallel(
    layers: Sequence[Layer], merge: Merge, as_record: Callable[[Any], Any], caller: str
) -> Layer:
    """Makes a layer of layers that read the same steps.

    Args:
      layers: layers over one sequence.
      merge: as in `parallel`.
      as_record: makes the tuple of params or carries from an iterable.
      caller: the public function, for messages.
    """
    merge_outputs, count = _merge(merge, caller), len(layers)

    def init(key, xs, context=None):
        keys = split(check_key(key), count)
        parts = zip(layers, keys, strict=True)
        return as_record(layer.init(k, xs, context=context) for layer, k in parts)

    def bind(params, xs, *, key=None, context=None):
        check_entries("params", params, count)
        parts = zip(layers, params, split(key, count), strict=True)
        return as_record(layer.bind(p, xs, key=k, context=context) for layer, p, k in parts)

    def begin(bound, xs):
        return as_record(layer.begin(b, xs) for layer, b in zip(layers, bound, strict=True))

    def apply(bound, carry, xs, mask, key, *, all_carries=False):
        check_entries("carry", carry, count)
        parts = zip(layers, bound, carry, split(key, count), strict=True)
        ends = [f.apply(b, c, xs, mask, k, all_carries=all_carries) for f, b, c, k in parts]
        carries, outputs = zip(*ends, strict=True)
        return as_record(carries), zero_invalid(mask.valid, merge_outputs(*outputs))

    def find_output_shape(bound, xs):
        outputs = [layer.output_shape(b, xs) for layer, b in zip(layers, bound, strict=True)]
        return jax.eval_shape(merge_outputs, *outputs)

    return Layer(
        init,
        bind,
        begin,
        apply,
        find_output_shape,
        direction=common_direction(layers),
        is_truncated=any(layer.is_truncated for layer in layers),
    )


def _merge(merge: Merge, caller: str) -> Callable[..., Any]:
    """Returns a function of the outputs `[T, ...]` of all layers."""
    if callable(merge):
        return activation(merge)  # a module would not be trained
    if merge not in tuple(MERGES):
        raise ValueError(
            f"{caller}: expected merge as one of {', '.join(MERGES)}, or a function, got {merge!r}."
        )

    def merged(*outputs):
        _check_shapes(outputs, merge, caller)
        return jax.tree.map(lambda *leaves: MERGES[merge](leaves), *outputs)

    return merged


def _check_shapes(outputs: Sequence[Any], merge: str, caller: str) -> None:
    """Raises a ValueError unless outputs have equal shapes, but for D if they are concatenated."""
    leaves, structures = zip(*map(jax.tree.flatten, outputs), strict=True)
    cut = -1 if merge == "concatenate" else None
    shapes = [[jnp.shape(leaf)[:cut] for leaf in each] for each in leaves]
    has_features = merge != "concatenate" or all(shape for each in shapes for shape in each)
    if has_features and len(set(structures)) == 1 and all(each == shapes[0] for each in shapes):
        return
    needs = "[T, ..., D] that differ in D only" if cut else "of equal shapes"
    raise ValueError(
        f"{caller}: merge={merge!r} needs outputs {needs}, got "
        f"{' and '.join(map(describe, outputs))}."
    )
