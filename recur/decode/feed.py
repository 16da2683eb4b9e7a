"""Runs a decoder step by step, on given inputs or on inputs made from its own outputs."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp

from recur.decode.next_input import NextInput
from recur.decode.prompt import take_step
from recur.keys import split, split_along
from recur.layer import Layer
from recur.manual_axes import vary_over
from recur.masks import expand_like, leading_shape, zero_invalid
from recur.types import Carry, Context, Mask, Params


class _State(NamedTuple):
    """The carry of the loop over steps; `chosen` and `is_teacher` have one entry for each row."""

    carry: Carry
    chosen: Any
    is_teacher: jax.Array  # whether the next input is the given one, not the chosen one


class _Step(NamedTuple):
    """The inputs of one step, or of all steps with the time axis first."""

    x: Any
    mask: Mask


def feed(
    layer: Layer,
    params: Params,
    xs: Any,
    uses_teacher: Callable[[jax.Array | None], Any],
    next_input: NextInput,
    carry: Carry,
    context: Context,
    mask: Mask,
    key: jax.Array | None,
) -> Any:
    """Runs a layer one step at a time and returns the outputs of all steps.

        x_{t+1} = xs_{t+1} if uses_teacher(key_t) else next_input(y_t, key_t)

    The first input, and the first one after a reset, is always the given one. Masked steps change
    neither the chosen input nor whether it is used.

    Args:
      layer: a causal layer, batched or not.
      params: the params of the layer.
      xs: the given inputs, a pytree of arrays `[T, ...]` or `[B, T, ...]`.
      uses_teacher: `uses_teacher(key)`, whether the next input is the given one; the key may be
        None.
      next_input: `next_input(y, key) -> x` for one row, with the shapes and dtypes of the inputs.
      carry: the carry to start from, or None.
      context: the context of the layer.
      mask: which steps count and where segments start.
      key: a typed key, or None; see `Layer`.
    """
    *rows, count = leading_shape(xs, layer.batch_axes)
    time = len(rows)
    bind_key, steps_key = split(key, 2)  # as `layer.run` splits it
    noise_key, choice_key = split(steps_key, 2)
    choice_keys = split_along(choice_key, rows[0]) if rows else choice_key
    bound = layer.bind(params, xs, key=bind_key, context=context)
    carry = layer.begin(bound, xs) if carry is None else carry

    def decide_row(y, key, position):
        coin, draw = split(_fold(key, position), 2)
        return next_input(y, draw), jnp.broadcast_to(uses_teacher(coin), ())

    decide = jax.vmap(decide_row, in_axes=(0, 0, None)) if rows else decide_row

    def advance(state, given):
        position, step = given
        valid, reset = step.mask
        is_teacher = state.is_teacher if reset is None else state.is_teacher | reset
        x = _select(is_teacher, step.x, state.chosen)
        one = jax.tree.map(lambda leaf: jnp.expand_dims(leaf, time), _Step(x, step.mask))
        noise = _fold(noise_key, position)
        carry, ys = layer.apply(bound, state.carry, one.x, one.mask, noise)
        y = take_step(ys, 0, time)
        chosen, is_teacher_next = decide(y, choice_keys, position)
        if valid is not None:
            held = (state.chosen, is_teacher)
            chosen, is_teacher_next = _select(valid, (chosen, is_teacher_next), held)
        return vary_over(state, _State(carry, chosen, is_teacher_next)), y

    steps = _Step(zero_invalid(mask.valid, xs), mask)
    steps = jax.tree.map(lambda leaf: jnp.moveaxis(leaf, time, 0), steps)
    none = jax.tree.map(lambda leaf: jnp.zeros(leaf.shape[1:], leaf.dtype), steps.x)
    state = _State(carry, none, jnp.ones(rows, bool))
    state = vary_over((bound, carry, steps, choice_keys), state)
    _, ys = jax.lax.scan(advance, state, (jnp.arange(count), steps))
    return jax.tree.map(lambda leaf: jnp.moveaxis(leaf, 0, time), ys)


def _select(flags: jax.Array, on_true: Any, on_false: Any) -> Any:
    """Selects between the rows of two pytrees by one flag for each row."""
    return jax.tree.map(lambda a, b: jnp.where(expand_like(flags, a), a, b), on_true, on_false)


def _fold(key: jax.Array | None, position: jax.Array) -> jax.Array | None:
    return None if key is None else jax.random.fold_in(key, position)
