"""Generation: a layer is fed what was chosen of its own outputs."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp

from recur.checks import check_is_layer, check_whole
from recur.decode.sample import Chooser, allowed, constraint, multinomial
from recur.keys import check_key, split_along
from recur.types import Carry, Context, Layer, Params

Read = Callable[[Carry, jax.Array], tuple[Carry, jax.Array]]


class Generated(NamedTuple):
    """What was generated, the prompt not included."""

    tokens: jax.Array  # int32 [steps] or [B, steps], 0 behind the end
    length: jax.Array  # int32 [] or [B], the stop token not included


class _Loop(NamedTuple):
    """What one turn hands to the next; values by row have the axes of the prompt but for time."""

    position: jax.Array
    carry: Carry
    logits: jax.Array  # [..., V], of the token to come
    tokens: jax.Array  # [..., steps]
    length: jax.Array  # [...]
    stopped: jax.Array  # [...]


def generate(
    layer: Layer,
    params: Params,
    prompt: jax.Array,
    *,
    steps: int,
    key: jax.Array | None = None,
    choose: Chooser = multinomial,
    length: Any = None,
    stop: int | None = None,
    forbidden: Sequence[int] = (),
    least: int = 0,
    carry: Carry = None,
    context: Context = None,
) -> Generated:
    """Reads a prompt, then feeds the layer the tokens chosen of its own logits.

        token_{n+1} = choose(logits_n, key_n),    logits_{n+1} = layer(token_{n+1} | token_{1..n})

    All of it is one compiled loop when called within `jit`, and ends when every row has stopped.
    With `recur.batch(layer)` the prompts are `[B, T]`, padded behind to the longest, with their
    lengths; a row draws with a key of its own, so that the others do not matter to it.

    Args:
      layer: a layer from int tokens to logits `[T, V]` that reads forwards.
      params: its params.
      prompt: integer `[T]`, or `[B, T]` of a batched layer; T ≥ 1.
      steps: how many tokens to generate at most.
      key: a typed key, where `choose` draws.
      choose: a chooser, as of `recur.decode.sample`.
      length: integer `[]` or `[B]`, each from 1 to T: how much of the prompts counts.
      stop: the token that ends a sequence; it is not part of it.
      forbidden: tokens that are never chosen, such as the unknown one; where the model thinks all
        others impossible, they are equally likely.
      least: how many tokens come before `stop` may.
      carry: the carry to start from; the layer's own start when not given.
      context: as of the layer.

    Returns:
      A `Generated`.

    Raises:
      TypeError: when `layer` is not a layer, the prompt not of integers, or a needed key not there.
      ValueError: when the layer reads backwards, the prompt is empty or of another rank, or ids are
        outside the vocabulary.

    Example:
      A layer that has been taught nothing, and counts all the same:

      >>> import jax, jax.numpy as jnp, recur
      >>> from recur.decode import argmax, generate
      >>> counter = recur.chain(lambda token: jax.nn.one_hot((token + 1) % 5, 5))
      >>> generate(counter, counter.init(jax.random.key(0), jnp.array([0])), jnp.array([0]),
      ...          steps=6, choose=argmax, stop=4).tokens.tolist()
      [1, 2, 3, 0, 0, 0]
    """
    check_steps(steps, least, "generate")
    read, carry, logits = read_prompt(
        layer, params, prompt, length=length, carry=carry, context=context, asker="generate"
    )
    rows = logits.shape[:-1]
    key = None if key is None else check_key(key)
    keys = split_along(key, rows[0]) if rows else key
    constrained = constraint(forbidden, stop, least, logits.shape[-1], "generate")

    def choose_row(logits, key, position):
        key = None if key is None else jax.random.fold_in(key, position)
        return choose(allowed(lambda logits: constrained(logits, position), logits), key)

    choose_rows = jax.vmap(choose_row, in_axes=(0, 0, None)) if rows else choose_row

    def goes_on(loop):
        return (loop.position < steps) & ~loop.stopped.all()

    def turn(loop):
        token = choose_rows(loop.logits, keys, loop.position)
        stopped = loop.stopped if stop is None else loop.stopped | (token == stop)
        kept = jnp.where(stopped, jnp.zeros_like(token), token)
        carry, logits = read(loop.carry, kept)
        return _Loop(
            position=loop.position + 1,
            carry=carry,
            logits=logits,
            tokens=loop.tokens.at[..., loop.position].set(kept),
            length=loop.length + (~stopped).astype(jnp.int32),
            stopped=stopped,
        )

    loop = _Loop(
        position=jnp.zeros((), jnp.int32),
        carry=carry,
        logits=logits,
        tokens=jnp.zeros((*rows, steps), jnp.int32),
        length=jnp.zeros(rows, jnp.int32),
        stopped=jnp.zeros(rows, bool),
    )
    loop = jax.lax.while_loop(goes_on, turn, loop)
    return Generated(loop.tokens, loop.length)


def read_prompt(
    layer: Layer,
    params: Params,
    prompt: Any,
    *,
    length: Any,
    carry: Carry,
    context: Context,
    asker: str,
) -> tuple[Read, Carry, jax.Array]:
    """Reads prompts, `[...]` of which are rows, to go on from.

    Returns:
      `read(carry, token [...]) -> (carry, logits [..., V])`; the carry behind the prompt, and the
      logits of the token to come.
    """
    prompt = jnp.asarray(prompt)
    check_decoder(layer, prompt, "a prompt of integer tokens", asker)
    rows = prompt.shape[:-1]
    length = jnp.full(rows, prompt.shape[-1]) if length is None else jnp.asarray(length)
    _check_length(length, prompt, asker)
    bound = layer.bind(params, prompt, context=context)
    carry = layer.start(bound, prompt) if carry is None else carry
    carry, logits = layer.apply(bound, carry, prompt, length=length)

    def read(carry, token):
        carry, logits = layer.apply(bound, carry, token[..., None].astype(prompt.dtype))
        return carry, logits[..., 0, :]

    last = jnp.take_along_axis(logits, length[..., None, None] - 1, axis=-2)
    return read, carry, last[..., 0, :]


def check_decoder(layer: Any, tokens: jax.Array, what: str, asker: str) -> None:
    """Raises an error unless the layer reads forwards, and `tokens` are such as it reads."""
    check_is_layer(layer, asker)
    if not layer.streams:
        raise ValueError(
            f"{asker}: the layer reads backwards, so it would need the tokens that are still to "
            "come. Only layers that read forwards decode."
        )
    if not jnp.issubdtype(tokens.dtype, jnp.integer):
        raise TypeError(f"{asker}: expected {what}, got {tokens.dtype}.")
    shape = "[B, T]" if layer.batched else "[T]"
    if tokens.ndim != 1 + layer.batched or tokens.shape[-1] == 0:
        raise ValueError(
            f"{asker}: expected {what} of shape {shape} with at least one token, got "
            f"{list(tokens.shape)}. recur.batch(layer) takes a batch; without anything to begin "
            "with, begin with the token that stands in front of texts."
        )


def check_steps(steps: int, least: int, asker: str) -> None:
    """Raises a ValueError unless there are steps, and at least as many as `least`."""
    check_whole(f"{asker}: steps", steps, 1)
    if check_whole(f"{asker}: least", least, 0) > steps:
        raise ValueError(
            f"{asker}: expected least from 0 to the number of steps, got steps={steps} and "
            f"least={least}."
        )


def _check_length(length: jax.Array, prompt: jax.Array, asker: str) -> None:
    if length.shape != prompt.shape[:-1]:
        raise ValueError(
            f"{asker}: expected one length for each prompt, the shape {list(prompt.shape[:-1])}, "
            f"got {list(length.shape)}."
        )
    known = not isinstance(length, jax.core.Tracer)
    if known and not ((length >= 1) & (length <= prompt.shape[-1])).all():
        raise ValueError(
            f"{asker}: expected lengths from 1 to {prompt.shape[-1]}, got {length.tolist()}. "
            "Without anything to begin with, begin with the token that stands in front of texts."
        )
