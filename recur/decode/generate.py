"""Autoregressive generation: a layer reads a prompt, then its own choices."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp

from recur.arrays import as_array
from recur.checks import check_function, check_ids, check_whole, known_value
from recur.decode.compiled import call_compiled
from recur.decode.sample import Chooser, allowed, categorical, check_token, constraint
from recur.ids import check_known_ids
from recur.keys import check_key, split_along
from recur.layer import Layer, check_context, check_is_layer
from recur.masks import make_mask
from recur.types import Carry, Context, Mask, Params

Read = Callable[[Carry, jax.Array], tuple[Carry, jax.Array]]


class Generated(NamedTuple):
    """The result of `generate`, without the prompt.

    Attributes:
      tokens: the generated tokens, int32 `[max_tokens]` or `[B, max_tokens]`, 0 after the end.
      length: the number of tokens without `eos`, int32 `[]` or `[B]`.
    """

    tokens: jax.Array
    length: jax.Array


class TokenRules(NamedTuple):
    """Which tokens may be chosen, and when a sequence ends, as in `generate`."""

    max_tokens: int
    min_tokens: int
    eos: int | None
    forbidden: tuple[int, ...]


class _Loop(NamedTuple):
    """The carry of the loop over tokens; `[...]` is the batch axis, if there is one."""

    position: jax.Array
    carry: Carry
    logits: jax.Array  # [..., V], of the next token
    tokens: jax.Array  # [..., max_tokens]
    length: jax.Array  # [...]
    has_ended: jax.Array  # [...]


def generate(
    layer: Layer,
    params: Params,
    prompt: jax.Array,
    *,
    max_tokens: int,
    min_tokens: int = 0,
    eos: int | None = None,
    forbidden: Sequence[int] = (),
    choose: Chooser = categorical,
    carry: Carry = None,
    context: Context = None,
    length: Any = None,
    key: jax.Array | None = None,
) -> Generated:
    """Generates tokens autoregressively: reads a prompt, then tokens chosen from the logits.

        token_{n+1} = choose(logits_n, key_n),    logits_{n+1} = layer(token_{n+1} | token_{1..n})

    It is one compiled loop, which ends when every row has ended. Outside of `jax.jit` it is
    compiled once for each layer, shape and chooser. The layer is bound once: values that do not
    change over time, such as the keys of an attended memory, are computed before the loop.

    With `recur.batch(layer)` the prompts are `[B, T]`, padded at the end to the longest; pass their
    lengths. Each row samples with its own key, so its tokens do not depend on the other rows.

    Args:
      layer: a causal layer from int tokens to logits `[T, V]`.
      params: the params of the layer.
      prompt: integer `[T]`, or `[B, T]` of a batched layer, each from 0 to V - 1, with T ≥ 1. It is
        not checked inside a JAX transformation.
      max_tokens: the maximum number of tokens to generate.
      min_tokens: the minimum number of tokens before `eos`.
      eos: the end-of-sequence token; it is not part of the result.
      forbidden: tokens that are never chosen, such as the unknown token and the
        beginning-of-sequence token. If all others have the probability 0, they are equally likely.
      choose: a chooser, such as `argmax` or `top_k(5)`.
      carry: the carry to start from; the initial carry by default.
      context: the context of the layer.
      length: the lengths of the prompts, integer `[]` or `[B]`, each from 1 to T.
      key: a typed key, needed if `choose` samples.

    Returns:
      A `Generated`.

    Raises:
      TypeError: if `layer` is not a layer, the prompt does not hold integers, or a needed key is
        missing.
      ValueError: if the layer is not causal, the prompt is empty or of another rank, or ids are
        outside the vocabulary.

    Example:
      A layer without weights, whose most likely next token is the last token plus 1:

      >>> import jax, jax.numpy as jnp, recur
      >>> from recur.decode import argmax, generate
      >>> counter = recur.chain(lambda token: jax.nn.one_hot((token + 1) % 5, 5))
      >>> generate(counter, counter.init(jax.random.key(0), jnp.array([0])), jnp.array([0]),
      ...          max_tokens=6, choose=argmax, eos=4).tokens.tolist()
      [1, 2, 3, 0, 0, 0]
    """
    rules = token_rules("generate", max_tokens, min_tokens, eos, forbidden)
    tokens, lengths = check_prompt(layer, prompt, length, "generate")
    check_context(context)
    check_function("generate: choose", choose)
    key = None if key is None else check_key(key)
    given = (layer, params, tokens, choose, carry, context, lengths, key)
    generated, vocabulary = call_compiled(_generate, *given, rules=rules)
    check_prompt_ids("generate", prompt, length, vocabulary)
    return generated


def _generate(layer, params, prompt, choose, carry, context, length, key, *, rules):
    max_tokens, min_tokens, eos, forbidden = rules
    read, carry, logits = read_prompt(layer, params, prompt, carry, context, length)
    rows = logits.shape[:-1]
    keys = split_along(key, rows[0]) if rows else key
    constrained = constraint(forbidden, eos, min_tokens, logits.shape[-1], "generate")

    def choose_row(logits, key, position):
        key = None if key is None else jax.random.fold_in(key, position)
        left = allowed(lambda logits: constrained(logits, position), logits)
        return check_token(choose(left, key))

    choose_rows = jax.vmap(choose_row, in_axes=(0, 0, None)) if rows else choose_row

    def continues(loop):
        return (loop.position < max_tokens) & ~loop.has_ended.all()

    def advance(loop):
        token = choose_rows(loop.logits, keys, loop.position)
        has_ended = loop.has_ended if eos is None else loop.has_ended | (token == eos)
        kept = jnp.where(has_ended, jnp.zeros_like(token), token)
        carry, logits = read(loop.carry, kept)
        return _Loop(
            position=loop.position + 1,
            carry=carry,
            logits=logits,
            tokens=loop.tokens.at[..., loop.position].set(kept),
            length=loop.length + (~has_ended).astype(jnp.int32),
            has_ended=has_ended,
        )

    loop = _Loop(
        position=jnp.zeros((), jnp.int32),
        carry=carry,
        logits=logits,
        tokens=jnp.zeros((*rows, max_tokens), jnp.int32),
        length=jnp.zeros(rows, jnp.int32),
        has_ended=jnp.zeros(rows, bool),
    )
    loop = jax.lax.while_loop(continues, advance, loop)
    return Generated(loop.tokens, loop.length), vocabulary_of(logits)


def read_prompt(
    layer: Layer,
    params: Params,
    prompt: jax.Array,
    carry: Carry,
    context: Context,
    length: jax.Array | None,
) -> tuple[Read, Carry, jax.Array]:
    """Binds the layer and reads prompts `[*B, T]`.

    Returns:
      `read(carry, token [*B]) -> (carry, logits [*B, V])`, the carry after the prompt, and the
      logits of the next token.
    """
    bound = layer.bind(params, prompt, context=context)
    carry = layer.begin(bound, prompt) if carry is None else carry
    mask = make_mask(prompt, length=length, batch_axes=layer.batch_axes)
    carry, logits = layer.apply(bound, carry, prompt, mask, None)

    def read(carry, token):
        xs = token[..., None].astype(prompt.dtype)
        carry, logits = layer.apply(bound, carry, xs, Mask(), None)
        return carry, logits[..., 0, :]

    if length is None:
        return read, carry, logits[..., -1, :]
    last = jnp.take_along_axis(logits, length[..., None, None] - 1, axis=-2)
    return read, carry, last[..., 0, :]


def check_prompt(
    layer: Any, prompt: Any, length: Any, asker: str
) -> tuple[jax.Array, jax.Array | None]:
    """Returns the prompt and its length as arrays if the layer can continue it."""
    prompt = check_tokens(layer, prompt, "a prompt of integer tokens", asker)
    if length is None:
        return prompt, None
    lengths = as_array(f"{asker}: length", length)
    if lengths.shape != prompt.shape[:-1]:
        raise ValueError(
            f"{asker}: expected one length for each prompt, of shape {list(prompt.shape[:-1])}, "
            f"got {list(lengths.shape)}."
        )
    if not jnp.issubdtype(lengths.dtype, jnp.integer):
        raise TypeError(f"{asker}: expected lengths as integers, got {lengths.dtype}.")
    known = known_value(length)
    if known is not None and not ((known >= 1) & (known <= prompt.shape[-1])).all():
        raise ValueError(
            f"{asker}: expected lengths from 1 to {prompt.shape[-1]}, got {known.tolist()}. "
            "To generate without a prompt, pass the beginning-of-sequence token."
        )
    return prompt, lengths


def vocabulary_of(logits: jax.Array) -> jax.Array:
    """Returns an empty array `[0, V]`, from which the caller of a compiled function gets V."""
    return jnp.zeros((0, logits.shape[-1]), bool)


def check_prompt_ids(asker: str, prompt: Any, length: Any, vocabulary: jax.Array) -> None:
    """Raises a ValueError unless ids of the prompt are in the vocabulary, if it is not traced."""
    check_known_ids(asker, "a prompt of ids", prompt, vocabulary.shape[-1], length=length)


def check_tokens(layer: Any, tokens: Any, what: str, asker: str) -> jax.Array:
    """Returns tokens as an array if the layer is causal and reads tokens of their shape.

    They are cast to at least 32 bits, so that every token of the vocabulary can be fed back.
    """
    check_is_layer(layer, asker)
    if not layer.is_causal:
        raise ValueError(
            f"{asker}: expected a causal layer, got one that reads backward in time, so it needs "
            "tokens that are not generated yet."
        )
    if layer.batch_axes > 1:
        raise ValueError(
            f"{asker}: expected a layer with at most one batch axis, got {layer.batch_axes}. Call "
            "recur.batch once."
        )
    tokens = as_array(f"{asker}: tokens", tokens)
    if not jnp.issubdtype(tokens.dtype, jnp.integer):
        raise TypeError(f"{asker}: expected {what}, got {tokens.dtype}.")
    shape = "[B, T]" if layer.is_batched else "[T]"
    if tokens.ndim != 1 + layer.batch_axes or tokens.shape[-1] == 0:
        raise ValueError(
            f"{asker}: expected {what} of shape {shape} with at least one token, got "
            f"{list(tokens.shape)}. Use recur.batch(layer) for a batch; to generate without a "
            "prompt, pass the beginning-of-sequence token."
        )
    return tokens if tokens.dtype.itemsize >= 4 else tokens.astype(jnp.int32)


def token_rules(
    asker: str, max_tokens: int, min_tokens: int, eos: int | None, forbidden: Sequence[int]
) -> TokenRules:
    """Checks the rules and makes them hashable; ids are checked later against the vocabulary."""
    max_tokens = check_whole(f"{asker}: max_tokens", max_tokens, 1)
    min_tokens = check_whole(f"{asker}: min_tokens", min_tokens, 0)
    if min_tokens > max_tokens:
        raise ValueError(
            f"{asker}: expected min_tokens from 0 to max_tokens, got max_tokens={max_tokens} and "
            f"min_tokens={min_tokens}."
        )
    eos = None if eos is None else check_whole(f"{asker}: eos", eos, 0)
    never = tuple(check_ids(f"{asker}: forbidden", forbidden))
    return TokenRules(max_tokens, min_tokens, eos, never)
