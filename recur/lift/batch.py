"""A layer over a batch of sequences: `vmap`, with lengths, contexts and keys by row."""

from __future__ import annotations

from functools import partial
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp

from recur.checks import check_is_layer
from recur.keys import split_along
from recur.sequences.lengths import check_known_length, one_of, step_count
from recur.types import Layer, Params


class Rows(NamedTuple):
    """Bound params of `batch`: weights that rows share, and what each row has of its own.

    A row is bound within the `vmap`, so that only what depends on its key or its context is held
    once a row; bound apart from it, every weight would be.
    """

    params: Params
    key: jax.Array | None  # [B]
    context: Any  # [B, ...] each


def batch(layer: Layer) -> Layer:
    """Runs a layer over a batch of sequences.

        carry_b, ys_b = layer(params, xs_b)    for each row b

    All values have a row axis in front: xs `[B, T, ...]`, length `[B]`, valid and reset `[B, T]`,
    each entry of the context, the carry, ys `[B, T, ...]`. One key is split over rows; params are
    shared.

    Args:
      layer: any layer.

    Returns:
      A `Layer` with the layer's own params.

    Raises:
      TypeError: when `layer` is not a layer.
      ValueError: while tracing, when a value does not have one entry a row.

    Example:
      >>> import jax, jax.numpy as jnp, recur
      >>> layer = recur.batch(recur.scan(recur.gru(4)))
      >>> xs = jnp.ones((2, 5, 3))
      >>> params = layer.init(jax.random.key(0), xs)
      >>> ys = layer(params, xs, length=jnp.array([5, 2]))
      >>> ys.shape, ys[1, 2:].any()
      ((2, 5, 4), Array(False, dtype=bool))
    """
    check_is_layer(layer, "batch")

    def init(key, xs, context=None):
        check_rows("context", context, row_count(xs))
        return layer.init(key, one_of(xs), context=one_of(context))

    def bind(params, xs, *, key=None, context=None):
        check_rows("context", context, row_count(xs))
        return Rows(params, split_along(key, row_count(xs)), context)

    def bind_row(bound, x):
        return layer.bind(bound.params, x, key=bound.key, context=bound.context)

    def start(bound, xs):
        x = one_of(xs)

        def start_row(bound, row):
            del row  # mapped over, for there may be nothing else to map over
            return layer.start(bind_row(bound, x), x)

        return jax.vmap(start_row, in_axes=(Rows(None, 0, 0), 0))(bound, jnp.arange(row_count(xs)))

    def each_row(go, bound, carry, xs, *, length=None, valid=None, reset=None, key=None):
        count = row_count(xs)
        by_row = {"length": length, "valid": valid, "reset": reset}
        by_row = {n: None if value is None else jnp.asarray(value) for n, value in by_row.items()}
        for name, value in {**by_row, "carry": carry}.items():
            check_rows(name, value, count)
        if not layer.batched:
            check_steps(by_row, [count, step_count(one_of(xs))])

        def go_row(bound, carry, x, key, by_row):
            return go(bind_row(bound, x), carry, x, key=key, **by_row)

        mapped = jax.vmap(go_row, in_axes=(Rows(None, 0, 0), 0, 0, 0, 0))
        return mapped(bound, carry, xs, split_along(key, count), by_row)

    apply, follow = partial(each_row, layer.apply), partial(each_row, layer.follow)
    return Layer(init, bind, start, apply, follow, reads=layer.reads, batched=True)


def row_count(xs: Any) -> int:
    """B, the one length of the row axes in front of all arrays of xs."""
    shapes = [list(jnp.shape(leaf)) for leaf in jax.tree.leaves(xs)]
    counts = {tuple(shape[:1]) for shape in shapes}
    if len(counts) != 1 or () in counts:
        raise ValueError(f"batch: expected xs of shape [B, T, ...], got the shapes {shapes}.")
    return counts.pop()[0]


def check_rows(name: str, value: Any, count: int) -> None:
    """Raises a ValueError unless every array of `value` has `count` rows."""
    for leaf in jax.tree.leaves(value):
        shape = jnp.shape(leaf)
        if shape[:1] != (count,):
            raise ValueError(
                f"batch: {name} needs one entry for each of {count} rows, got the shape "
                f"{list(shape)}."
            )


def check_steps(by_row: dict[str, jax.Array | None], shape: list[int]) -> None:
    """Raises a ValueError unless lengths and flags fit B rows of T steps."""
    check_known_length(by_row["length"], shape[1])
    for name in ("valid", "reset"):
        flags = by_row[name]
        if flags is not None and list(flags.shape) != shape:
            raise ValueError(
                f"batch: {name}: expected one flag a step of each row, the shape {shape}, got "
                f"{list(flags.shape)}."
            )
