"""Runs a decoder step by step, on given tokens or on tokens chosen from its own logits."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp

from recur.decode.sample import Chooser, check_token
from recur.keys import split, split_along
from recur.layer import Layer
from recur.lift.mask import select
from recur.manual_axes import vary_over
from recur.masks import zero_invalid
from recur.types import Carry, Context, Mask, Params


class _State(NamedTuple):
    """The carry of the loop over steps; `chosen` and `is_teacher` have one entry for each row."""

    carry: Carry
    chosen: jax.Array
    is_teacher: jax.Array  # whether the next token is the given one, not the chosen one


class _Step(NamedTuple):
    """The inputs of one step, or of all steps with the time axis first."""

    token: jax.Array
    mask: Mask


def feed(
    layer: Layer,
    params: Params,
    tokens: jax.Array,
    uses_teacher: Callable[[jax.Array | None], Any],
    choose: Chooser,
    carry: Carry,
    context: Context,
    mask: Mask,
    key: jax.Array | None,
) -> jax.Array:
    """Runs a layer one step at a time and returns the logits of all steps.

        x_{t+1} = tokens_{t+1} if uses_teacher(key_t) else choose(logits_t, key_t)

    The first token, and the first one after a reset, is always the given one. Masked steps change
    neither the chosen token nor whether it is used.

    Args:
      layer: a causal layer, batched or not.
      params: the params of the layer.
      tokens: the given tokens, integer `[T]` or `[B, T]`.
      uses_teacher: `uses_teacher(key)`, whether the next token is the given one; the key may be
        None.
      choose: a chooser.
      carry: the carry to start from, or None.
      context: the context of the layer.
      mask: which steps count and where segments start.
      key: a typed key, or None; see `Layer`.
    """
    rows, time = tokens.shape[:-1], tokens.ndim - 1
    bind_key, steps_key = split(key, 2)  # as `layer.run` splits it
    noise_key, choice_key = split(steps_key, 2)
    choice_keys = split_along(choice_key, rows[0]) if rows else choice_key
    bound = layer.bind(params, tokens, key=bind_key, context=context)
    carry = layer.begin(bound, tokens) if carry is None else carry

    def decide_row(logits, key, position):
        coin, draw = split(_fold(key, position), 2)
        token = check_token(choose(jax.lax.stop_gradient(logits), draw))
        return token.astype(tokens.dtype), jnp.broadcast_to(uses_teacher(coin), ())

    decide = jax.vmap(decide_row, in_axes=(0, 0, None)) if rows else decide_row

    def advance(state, given):
        position, step = given
        valid, reset = step.mask
        is_teacher = state.is_teacher if reset is None else state.is_teacher | reset
        token = jnp.where(is_teacher, step.token, state.chosen)
        one = jax.tree.map(lambda leaf: leaf[..., None], _Step(token, step.mask))
        noise = _fold(noise_key, position)
        carry, logits = layer.apply(bound, state.carry, one.token, one.mask, noise)
        logits = logits[..., 0, :]
        chosen, is_teacher_next = decide(logits, choice_keys, position)
        if valid is not None:
            held = (state.chosen, is_teacher)
            chosen, is_teacher_next = select(valid, (chosen, is_teacher_next), held)
        return vary_over(state, _State(carry, chosen, is_teacher_next)), logits

    steps = _Step(zero_invalid(mask.valid, tokens), mask)
    steps = jax.tree.map(lambda leaf: jnp.moveaxis(leaf, time, 0), steps)
    state = _State(carry, jnp.zeros(rows, tokens.dtype), jnp.ones(rows, bool))
    state = vary_over((bound, carry, steps, choice_keys), state)
    _, logits = jax.lax.scan(advance, state, (jnp.arange(tokens.shape[-1]), steps))
    return jnp.moveaxis(logits, 0, time)


def _fold(key: jax.Array | None, position: jax.Array) -> jax.Array | None:
    return None if key is None else jax.random.fold_in(key, position)
