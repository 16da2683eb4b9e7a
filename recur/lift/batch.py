"""A layer over a batch of sequences: `vmap`, with a length, context and key for each row."""

from __future__ import annotations

import dataclasses
from typing import Any

import jax
import jax.numpy as jnp

from recur.call_repr import call_repr
from recur.keys import split_along
from recur.layer import Layer, check_is_layer
from recur.lift.chunks import ROWS
from recur.manual_axes import shard_like
from recur.masks import add_leading_axis, drop_leading_axis, is_known, leading_shape
from recur.structure import ByRow, bind_rows

_BY_ROW = ByRow(None, 0)  # the axes of bound params under vmap


@call_repr
def batch(layer: Layer) -> Layer:
    """Maps a layer over a batch of sequences (vmap).

        carry_b, ys_b = layer(params, xs_b)    for each row b

    All values have a leading batch axis: xs and ys `[B, T, ...]`, length `[B]`, mask and reset
    `[B, T]`, each entry of the context and of the carry. One key is split over rows; params are
    shared.

    Args:
      layer: any layer.

    Returns:
      A `Layer` with the layer's own params.

    Raises:
      TypeError: if `layer` is not a layer.
      ValueError: when tracing, if a value does not have one entry per row.

    Example:
      >>> import jax, jax.numpy as jnp, recur
      >>> layer = recur.batch(recur.scan(recur.gru(4)))
      >>> xs = jnp.ones((2, 5, 3))
      >>> params = layer.init(jax.random.key(0), xs)
      >>> ys = layer(params, xs, length=jnp.array([5, 2]))
      >>> ys.shape, ys[1, 2:].any()
      ((2, 5, 4), Array(False, dtype=bool))
    """
    check_is_layer(layer, "batch", may_be_pooled=True)
    axes = layer.batch_axes + 1

    def row_count(xs):
        return leading_shape(xs, axes)[0]

    def init(key, xs, context=None):
        check_rows("context", context, row_count(xs))
        return layer.init(key, drop_leading_axis(xs), context=drop_leading_axis(context))

    def bind(params, xs, *, key=None, context=None):
        count, x = row_count(xs), drop_leading_axis(xs)
        check_rows("context", context, count)
        context = jax.tree.map(jnp.asarray, context)

        def bind_row(params, of_row):
            key, context = of_row
            return layer.bind(params, x, key=key, context=context)

        return bind_rows(bind_row, params, shard_like(xs, (split_along(key, count), context)))

    def begin(bound, xs):
        x = drop_leading_axis(xs)

        def begin_row(bound, row):
            del row  # `vmap` needs an argument to map over; `bound` may have none
            return layer.begin(bound.join(), x)

        rows = shard_like(bound.of_row, jnp.arange(row_count(xs)))
        return jax.vmap(begin_row, (_BY_ROW, 0))(bound, rows)

    def apply(bound, carry, xs, mask, key, *, all_carries=False):
        count = row_count(xs)
        check_rows("carry", carry, count)
        carry = jax.tree.map(jnp.asarray, carry)  # vmap of a custom_jvp fails on NumPy's
        carry, mask, keys = shard_like(xs, (carry, mask, split_along(key, count)))

        def apply_row(bound, carry, x, mask, key):
            return layer.apply(bound.join(), carry, x, mask, key, all_carries=all_carries)

        # Move the batch axis after the time axis, the order in which a loop over time reads arrays.
        xs, mask = jax.tree.map(lambda leaf: jnp.moveaxis(leaf, 0, axes), (xs, mask))
        in_axes = (_BY_ROW, 0, axes, axes, 0)
        axis_name = ROWS if is_known(count) else None  # an axis with a name needs a known size
        return jax.vmap(apply_row, in_axes, axis_name=axis_name)(bound, carry, xs, mask, keys)

    def find_output_shape(bound, xs):
        count, x = row_count(xs), drop_leading_axis(xs)
        row = jax.eval_shape(ByRow.first, bound)
        y = layer.output_shape(row, x)
        return add_leading_axis(y, count)

    return Layer(
        init,
        bind,
        begin,
        apply,
        find_output_shape,
        direction=layer.direction,
        batch_axes=axes,
        is_truncated=layer.is_truncated,
        is_pooled=layer.is_pooled,
        parts={path: _batch_of_part(part) for path, part in layer.parts.items()},
    )


def _batch_of_part(part: Layer) -> Layer:
    """A part of a batched layer, which keeps its name."""
    return dataclasses.replace(batch(part), call=part.call)


def check_rows(name: str, value: Any, count: int) -> None:
    """Raises a ValueError unless every array of `value` has `count` rows."""
    for leaf in jax.tree.leaves(value):
        shape = jnp.shape(leaf)
        if shape[:1] != (count,):
            raise ValueError(
                f"batch: {name} needs one entry for each of {count} rows, got the shape "
                f"{list(shape)}."
            )
