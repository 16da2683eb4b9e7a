"""A layer over a nested time axis within each step, such as the characters of each word."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import jax

from recur.call_repr import call_repr
from recur.keys import check_key
from recur.layer import Layer, check_layer
from recur.lift.batch import batch
from recur.lift.pooled import pooled
from recur.lift.stepwise import begin_without_carry
from recur.masks import add_leading_axis, drop_leading_axis, make_mask, step_count, zero_invalid
from recur.sequences.padded import Padded
from recur.structure import ByRow


@call_repr
def inner(layer: Layer, pool: Callable[..., Any] | Any = None) -> Layer:
    """Runs a layer over the inner sequence of each step and pools it (hierarchical model).

        y_t = pool(layer(x_t)),    where x_t is a sequence with its own length

    A model of characters within a model of words is such a layer: each word is a step, and its
    characters are the inner sequence. The inner sequences of all steps run at once, each from the
    initial carry. Their padding has no effect.

    Args:
      layer: a layer over one inner sequence, or a pooled layer, for a head or scores.
      pool: as in `pooled`, such as `recur.sequences.pool.last`; None with a pooled layer.

    Returns:
      A `Layer` without a carry over `recur.sequences.Padded(steps, length)`, with steps
      `[T, C, ...]` and length `[T]`, or None if all C steps count. Its params are `PooledParams`.
      With a key, each step draws its own noise, but noise that is drawn once per sequence, such as
      a mask of variational dropout, is shared by all steps.

    Raises:
      TypeError: if `layer` is not a layer, or the pool cannot be applied; when tracing, if the xs
        are not `Padded`.
      ValueError: if the layer is batched, or there is no pool, or one too many; when tracing, if
        the length is not `[T]`.

    Example:
      >>> import jax, jax.numpy as jnp, recur
      >>> from flax import linen as nn
      >>> from recur.sequences import Padded, pool
      >>> characters = recur.chain(nn.Embed(30, 8), recur.scan(recur.lstm(16)))
      >>> words = recur.inner(characters, pool.last)
      >>> xs = Padded(jnp.array([[3, 1, 4], [1, 5, 0]]), jnp.array([3, 2]))
      >>> words(words.init(jax.random.key(0), xs), xs).shape
      (2, 16)

    References:
      Ling et al. 2015, Finding Function in Form: Compositional Character Models for Open Vocabulary
      Word Representation, https://arxiv.org/abs/1508.02096
    """
    check_layer(layer, "inner", may_be_pooled=True)
    _check_pool(layer, pool)
    each = layer if layer.is_pooled else pooled(layer, pool)
    every = batch(each)

    def init(key, xs, context=None):
        return each.init(check_key(key), _first(xs), context=context)

    def bind(params, xs, *, key=None, context=None):
        return each.bind(params, _first(xs), key=key, context=context)

    def apply(bound, carry, xs, mask, key, *, all_carries=False):
        del all_carries  # the carry is empty
        steps, length = zero_invalid(mask.valid, _check_padded(xs))
        shared = ByRow(bound, jax.tree.map(lambda _: None, bound))
        inside = make_mask(steps, length=length, batch_axes=1)
        _, ys = every.apply(shared, every.begin(shared, steps), steps, inside, key)
        return carry, zero_invalid(mask.valid, ys)

    def find_output_shape(bound, xs):
        return add_leading_axis(each.output_shape(bound, _first(xs)), step_count(xs))

    return Layer(init, bind, begin_without_carry, apply, find_output_shape, direction="stepwise")


def _first(xs: Any) -> Any:
    """Returns the shapes of the inner sequence of one step."""
    return drop_leading_axis(_check_padded(xs).steps)


def _check_padded(xs: Any) -> Padded:
    if not isinstance(xs, Padded):
        raise TypeError(
            "inner: expected xs as recur.sequences.Padded(steps, length), with steps [T, C, ...], "
            f"one sequence for each step, got {type(xs).__name__}."
        )
    return xs


def _check_pool(layer: Layer, pool: Any) -> None:
    if layer.is_pooled and pool is not None:
        raise ValueError("inner: the layer is pooled already. Leave out the pool.")
    if not layer.is_pooled and pool is None:
        raise ValueError(
            "inner: expected a pool, such as recur.sequences.pool.last, or a pooled layer, got "
            "neither."
        )
