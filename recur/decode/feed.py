"""A decoder fed one step at a time, with tokens that are given or with those it chose."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp

from recur.decode.sample import Chooser
from recur.keys import split, split_along
from recur.lift.mask import lay_out, select
from recur.types import Carry, Context, Layer, Params
from recur.varying import vary_over


class _Fed(NamedTuple):
    """What one step hands to the next; all but the carry has the axes of tokens but for time."""

    carry: Carry
    chosen: jax.Array
    taught: jax.Array  # whether the next token is the teacher's, and not the chosen one


def feed(
    layer: Layer,
    params: Params,
    tokens: jax.Array,
    is_taught: Callable[[jax.Array | None], Any],
    choose: Chooser,
    *,
    carry: Carry,
    context: Context,
    key: jax.Array | None,
    **marks: Any,
) -> jax.Array:
    """Runs a layer one step at a time, and gives the logits of all steps.

        x_{t+1} = tokens_{t+1} if is_taught(key_t) else choose(logits_t, key_t)

    The first token, and the first behind a reset, is the teacher's. Steps that do not count change
    neither who says the next token nor what was chosen.

    Args:
      layer: a layer that reads forwards, batched or not.
      params: its params.
      tokens: integer `[T]` or `[B, T]`.
      is_taught: whether the next token is the teacher's; its key is None where there is none.
      choose: a chooser.
      carry: as of the layer.
      context: as of the layer.
      key: as of the layer.
      **marks: `length`, `valid` and `reset`, as of the layer.
    """
    marks = {name: None if mark is None else jnp.asarray(mark) for name, mark in marks.items()}
    given = {"carry": carry, "context": context, "key": key}
    jax.eval_shape(lambda: layer(params, tokens, **given, **marks))  # what does not fit is told

    rows, time = tokens.shape[:-1], tokens.ndim - 1
    bind_key, steps_key = split(key, 2)  # as in the layer's own call
    noise_key, choice_key = split(steps_key, 2)
    choice_keys = split_along(choice_key, rows[0]) if rows else choice_key
    bound = layer.bind(params, tokens, key=bind_key, context=context)
    carry = layer.start(bound, tokens) if carry is None else carry

    def lay_out_row(tokens, marks):
        return lay_out(tokens, **marks, key=None)

    def decide(logits, key, position):
        coin, draw = split(_fold(key, position), 2)
        token = choose(jax.lax.stop_gradient(logits), draw)
        return token.astype(tokens.dtype), jnp.broadcast_to(is_taught(coin), ())

    if rows:
        lay_out_row, decide = jax.vmap(lay_out_row), jax.vmap(decide, in_axes=(0, 0, None))

    def turn(fed, given):
        position, step = given
        taught = fed.taught if step.reset is None else fed.taught | step.reset
        token = jnp.where(taught, step.x, fed.chosen)
        one = jax.tree.map(lambda leaf: leaf[..., None], step._replace(x=token))
        carry, logits = layer.apply(
            bound,
            fed.carry,
            one.x,
            valid=one.valid,
            reset=one.reset,
            key=_fold(noise_key, position),
        )
        logits = logits[..., 0, :]
        chosen, taught_next = decide(logits, choice_keys, position)
        if step.valid is not None:
            held = (fed.chosen, taught)
            chosen, taught_next = select(step.valid, (chosen, taught_next), held)
        return vary_over(fed, _Fed(carry, chosen, taught_next)), logits

    steps = lay_out_row(tokens, marks)
    steps = jax.tree.map(lambda leaf: jnp.moveaxis(leaf, time, 0), steps)
    fed = _Fed(carry, jnp.zeros(rows, tokens.dtype), jnp.ones(rows, bool))
    fed = vary_over((bound, carry, steps, choice_keys), fed)
    _, logits = jax.lax.scan(turn, fed, (jnp.arange(tokens.shape[-1]), steps))
    return jnp.moveaxis(logits, 0, time)


def _fold(key: jax.Array | None, position: jax.Array) -> jax.Array | None:
    return None if key is None else jax.random.fold_in(key, position)
