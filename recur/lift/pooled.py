"""Many to one: a layer over a sequence, pooling over time, and a head, as one layer."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp

from recur.call_repr import call_repr
from recur.checks import check_params, describe
from recur.keys import check_key, split, split_along
from recur.layer import Layer, check_layer
from recur.masks import drop_leading_axis, step_count
from recur.modules import Module, as_module
from recur.sequences import pool as pooling
from recur.types import Mask, Params


class PooledParams(NamedTuple):
    """The params of `pooled`.

    Attributes:
      layer: those of the layer.
      scores: those of the module of scores; () without one.
      pool: those of the pool; () of a function.
      head: those of the head; () without one.
    """

    layer: Params
    scores: Params
    pool: Params
    head: Params


@call_repr
def pooled(
    layer: Layer, pool: Callable[..., Any] | Any, head: Any = None, *, scores: Any = None
) -> Layer:
    """Pools the outputs of a layer over time: sequence classification or regression (many to one).

        ys = layer(xs),    y = head(pool(ys, mask))

    The pool gets the outputs of one sequence and a mask of the steps that count, so it can average
    over nothing else: `recur.batch(recur.pooled(...))` pools each row separately. The output has no
    time axis. So `chain` and the other layers of layers refuse a pooled layer; pool their result
    instead: `recur.pooled(recur.chain(...), pool.mean, nn.Dense(3))`.

    Args:
      layer: a layer over one sequence. It may read in both directions.
      pool: a function of `recur.sequences.pool`, your own function `(ys, mask) -> y` with ys
        `[T, ...]` and mask bool `[T]`, or a module with weights that is called so.
      head: a module, function or activation that is applied to the pooled value, such as
        `nn.Dense(3)`; `nn.Sequential` holds several. None for no head.
      scores: a module or function that gives one score per step, such as `nn.Dense(1)`. The pool is
        then called as `pool(ys, scores, mask)` with scores `[T]`, as `pool.attention` needs.

    Returns:
      A `Layer` with `PooledParams` and the carry of the layer, whose output is `[...]`, or
      `[B, ...]` if batched. The pools of `recur.sequences.pool` give zero for a sequence without
      steps.

    Raises:
      TypeError: if `layer` is not a layer, or the pool, the head or the scores cannot be applied.
      ValueError: if the layer is batched or pooled, or `pool.attention` has no scores; when
        tracing, if there are resets, for a packed row holds several sequences, or there is not one
        score per step.

    Example:
      >>> import jax, jax.numpy as jnp, recur
      >>> from flax import linen as nn
      >>> from recur.sequences import pool
      >>> model = recur.batch(recur.pooled(recur.scan(recur.gru(8)), pool.mean, nn.Dense(3)))
      >>> xs = jnp.ones((2, 5, 4))
      >>> params = model.init(jax.random.key(0), xs)
      >>> model(params, xs, length=jnp.array([5, 2])).shape
      (2, 3)
      >>> attentive = recur.pooled(
      ...     recur.scan(recur.gru(8)), pool.attention, nn.Dense(3), scores=nn.Dense(1)
      ... )
      >>> attentive(attentive.init(jax.random.key(0), xs[0]), xs[0]).shape
      (3,)
    """
    check_layer(layer, "pooled")
    last = _as_one_module(_as_pool(pool, scores), scores, head)

    def init(key, xs, context=None):
        layer_key, *keys = split(check_key(key), 4)
        params = layer.init(layer_key, xs, context=context)

        def outputs(params):
            return layer.output_shape(layer.bind(params, xs, context=context), xs)

        ys = jax.eval_shape(outputs, params)
        return PooledParams(params, *last.init(keys, ys, jax.ShapeDtypeStruct(_count(ys), bool)))

    def bind(params, xs, *, key=None, context=None):
        check_params("pooled", params, PooledParams)
        return params._replace(layer=layer.bind(params.layer, xs, key=key, context=context))

    def begin(bound, xs):
        return layer.begin(bound.layer, xs)

    def apply(bound, carry, xs, mask, key, *, all_carries=False):
        _check_no_resets(mask)
        layer_key, *keys = split(key, 4)
        carry, ys = layer.apply(bound.layer, carry, xs, mask, layer_key, all_carries=all_carries)
        valid = jnp.ones(_count(ys), bool) if mask.valid is None else mask.valid
        return carry, last.apply(bound[1:], ys, valid, key=keys)

    def find_output_shape(bound, xs):
        ys = layer.output_shape(bound.layer, xs)
        return jax.eval_shape(last.apply, bound[1:], ys, jax.ShapeDtypeStruct(_count(ys), bool))

    return Layer(
        init,
        bind,
        begin,
        apply,
        find_output_shape,
        direction="bidirectional",  # the output needs the whole sequence
        is_truncated=layer.is_truncated,
        is_pooled=True,
        parts={"layer": layer},
    )


def _as_one_module(pool: Module, scores: Any, head: Any) -> Module:
    """Makes one module `(ys, mask) -> y` of three, with a tuple of their params and of keys."""
    score: Any = None if scores is None else as_module(scores)
    final = as_module((lambda y: y) if head is None else head)

    def given(params, ys, valid, key):
        """Returns the arguments of the pool."""
        if score is None:
            return ys, valid
        found = jax.vmap(lambda y, key: score.apply(params, y, key=key))(
            ys, split_along(key, step_count(ys))
        )
        return ys, _as_scores(found, valid), valid

    def init(keys, ys, valid):
        score_key, pool_key, head_key = keys
        scores = () if score is None else score.init(score_key, drop_leading_axis(ys))
        arguments = jax.eval_shape(partial(given, key=None), scores, ys, valid)
        pooled = pool.init(pool_key, *arguments)
        y = jax.eval_shape(pool.apply, pooled, *arguments)
        return scores, pooled, final.init(head_key, y)

    def apply(params, ys, valid, key=(None, None, None)):
        y = pool.apply(params[1], *given(params[0], ys, valid, key[0]), key=key[1])
        return final.apply(params[2], y, key=key[2])

    return Module(init, apply)


def _count(ys: Any) -> tuple[int]:
    return (step_count(ys),)


def _as_pool(pool: Any, scores: Any) -> Module:
    if isinstance(pool, str) or not callable(pool):
        raise TypeError(
            "pooled: expected the pool as a function, such as recur.sequences.pool.mean, got "
            f"{pool!r}."
        )
    if pool is pooling.attention and scores is None:
        raise ValueError(
            "pooled: pool.attention needs scores. Pass a module that gives one score per step: "
            "scores=nn.Dense(1)."
        )
    return as_module(pool)


def _as_scores(found: Any, valid: jax.Array) -> jax.Array:
    """Returns the scores `[T]`, given as `[T]` or `[T, 1]`."""
    shape = getattr(found, "shape", None)
    if shape not in (valid.shape, (*valid.shape, 1)):
        raise ValueError(
            "pooled: expected one score per step, as scores=nn.Dense(1) gives, got "
            f"{describe(found)} for {valid.shape[0]} steps."
        )
    return found.reshape(valid.shape)


def _check_no_resets(mask: Mask) -> None:
    if mask.reset is not None:
        raise ValueError(
            "pooled: expected one sequence, got resets, so that a row holds several. Pass rows of "
            "pad or bucket, or run the layer alone and separate the sequences of packed rows with "
            "recur.sequences.segments, whose values and mask recur.sequences.pool takes."
        )
