"""Reads a prompt and continues step by step; checks of prompts."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import Any

import jax
import jax.numpy as jnp

from recur.arrays import as_array
from recur.checks import known_value
from recur.ids import check_known_ids
from recur.layer import Layer, check_is_layer
from recur.masks import leading_shape, make_mask
from recur.types import Carry, Context, Mask, Params

Read = Callable[[Carry, Any], tuple[Carry, Any]]


def read_prompt(
    layer: Layer,
    params: Params,
    prompt: Any,
    carry: Carry,
    context: Context,
    length: jax.Array | None,
) -> tuple[Read, Carry, Any]:
    """Binds the layer and reads prompts, arrays `[*B, T, ...]`.

    Returns:
      `read(carry, x) -> (carry, y)`, where x has arrays `[*B, ...]` and y is the output, such as
      the logits `[*B, V]` of the next token; the carry after the prompt; and its last output.
    """
    time = layer.batch_axes
    bound = layer.bind(params, prompt, context=context)
    carry = layer.begin(bound, prompt) if carry is None else carry
    mask = make_mask(prompt, length=length, batch_axes=time)
    carry, ys = layer.apply(bound, carry, prompt, mask, None)

    def read(carry, x):
        xs = jax.tree.map(lambda a, b: jnp.expand_dims(a.astype(b.dtype), time), x, prompt)
        carry, ys = layer.apply(bound, carry, xs, Mask(), None)
        return carry, take_step(ys, 0, time)

    if length is None:
        return read, carry, take_step(ys, -1, time)
    take = partial(take_step, axis=0)
    take = jax.vmap(take) if time else take
    return read, carry, take(ys, length - 1)


def take_step(ys: Any, step: Any, axis: int) -> Any:
    """Takes one step of arrays along their time axis."""
    place = (slice(None),) * axis
    return jax.tree.map(lambda leaf: leaf[(*place, step)], ys)


def check_prompt_length(layer: Layer, prompt: Any, length: Any, caller: str) -> jax.Array | None:
    """Returns the lengths of prompts, arrays `[*B, T, ...]`, as an array of integers `[*B]`."""
    if length is None:
        return None
    *rows, count = leading_shape(prompt, layer.batch_axes)
    lengths = as_array(f"{caller}: length", length)
    if list(lengths.shape) != rows:
        raise ValueError(
            f"{caller}: expected one length for each prompt, of shape {rows}, got "
            f"{list(lengths.shape)}."
        )
    if not jnp.issubdtype(lengths.dtype, jnp.integer):
        raise TypeError(f"{caller}: expected lengths as integers, got {lengths.dtype}.")
    known = known_value(length)
    if known is not None and not ((known >= 1) & (known <= count)).all():
        raise ValueError(
            f"{caller}: expected lengths from 1 to {count}, got {known.tolist()}. To generate "
            "without a prompt, pass the beginning-of-sequence token."
        )
    return lengths


def vocabulary_of(logits: jax.Array) -> jax.Array:
    """Returns an empty array `[0, V]`, from which the caller of a compiled function gets V."""
    return jnp.zeros((0, logits.shape[-1]), bool)


def check_prompt_ids(caller: str, prompt: Any, length: Any, vocabulary: jax.Array) -> None:
    """Raises a ValueError unless ids of the prompt are in the vocabulary, if it is not traced."""
    check_known_ids(caller, "a prompt of ids", prompt, vocabulary.shape[-1], length=length)


def check_tokens(layer: Any, tokens: Any, what: str, caller: str, otherwise: str = "") -> jax.Array:
    """Returns tokens as an array if the layer is causal and reads tokens of their shape.

    They are cast to at least 32 bits, so that every token of the vocabulary can be fed back.
    `otherwise` says what to do with inputs that are not tokens.
    """
    check_causal(layer, caller)
    tokens = as_array(f"{caller}: tokens", tokens)
    if not jnp.issubdtype(tokens.dtype, jnp.integer):
        raise TypeError(f"{caller}: expected {what}, got {tokens.dtype}.{otherwise}")
    shape = "[B, T]" if layer.is_batched else "[T]"
    if tokens.ndim != 1 + layer.batch_axes or tokens.shape[-1] == 0:
        raise ValueError(
            f"{caller}: expected {what} of shape {shape} with at least one token, got "
            f"{list(tokens.shape)}. Use recur.batch(layer) for a batch; to generate without a "
            "prompt, pass the beginning-of-sequence token."
        )
    return tokens if tokens.dtype.itemsize >= 4 else tokens.astype(jnp.int32)


def check_inputs(layer: Any, xs: Any, caller: str) -> Any:
    """Returns inputs `[T, ...]`, or `[B, T, ...]`, as arrays if the layer is causal."""
    check_causal(layer, caller)
    xs = jax.tree.map(partial(as_array, f"{caller}: inputs"), xs)
    if leading_shape(xs, layer.batch_axes)[-1] == 0:
        raise ValueError(
            f"{caller}: expected inputs of at least one step, got none. To generate without a "
            "prompt, pass a first input, such as zeros."
        )
    return xs


def check_causal(layer: Any, caller: str) -> None:
    """Raises an error unless the layer is causal, with at most one batch axis."""
    check_is_layer(layer, caller)
    if not layer.is_causal:
        raise ValueError(
            f"{caller}: expected a causal layer, got one that reads the whole sequence, so it "
            "needs tokens that are not generated yet."
        )
    if layer.batch_axes > 1:
        raise ValueError(
            f"{caller}: expected a layer with at most one batch axis, got {layer.batch_axes}. Call "
            "recur.batch once."
        )
