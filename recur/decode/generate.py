"""Autoregressive generation: a layer reads a prompt, then inputs made from its own outputs."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, NamedTuple, overload

import jax
import jax.numpy as jnp

from recur.checks import check_ids, check_whole
from recur.decode.compiled import call_compiled
from recur.decode.next_input import NextInput, check_decoder_inputs, make_next_input
from recur.decode.prompt import (
    check_prompt_ids,
    check_prompt_length,
    read_prompt,
    vocabulary_of,
)
from recur.decode.sample import Chooser, allowed, categorical, check_token, constraint
from recur.keys import check_key, split_along
from recur.layer import Layer, check_context
from recur.manual_axes import vary_over
from recur.masks import leading_shape
from recur.types import Carry, Context, Params

_NONE: Sequence[int] = ()


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


@overload
def generate(
    layer: Layer,
    params: Params,
    prompt: Any,
    *,
    max_tokens: int,
    min_tokens: int = ...,
    eos: int | None = ...,
    forbidden: Sequence[int] = ...,
    choose: Chooser = ...,
    carry: Carry = ...,
    context: Context = ...,
    length: Any = ...,
    key: jax.Array | None = ...,
) -> Generated: ...


@overload
def generate(
    layer: Layer,
    params: Params,
    prompt: Any,
    *,
    next_input: NextInput,
    steps: int,
    carry: Carry = ...,
    context: Context = ...,
    length: Any = ...,
    key: jax.Array | None = ...,
) -> Any: ...


def generate(
    layer: Layer,
    params: Params,
    prompt: Any,
    *,
    max_tokens: int | None = None,
    min_tokens: int = 0,
    eos: int | None = None,
    forbidden: Sequence[int] = _NONE,
    choose: Chooser = categorical,
    next_input: NextInput | None = None,
    steps: int | None = None,
    carry: Carry = None,
    context: Context = None,
    length: Any = None,
    key: jax.Array | None = None,
) -> Any:
    """Generates autoregressively: reads a prompt, then inputs made from its own outputs.

        token_{n+1} = choose(logits_n, key_n),    logits_{n+1} = layer(token_{n+1} | token_{1..n})

    It is one compiled loop, which ends when every row has ended. Outside of `jax.jit` it is
    compiled once for each layer, shape and chooser. The layer is bound once: values that do not
    change over time, such as the keys of an attended memory, are computed before the loop.

    With `recur.batch(layer)` the prompts are `[B, T]`, padded at the end to the longest; pass their
    lengths. Each row samples with its own key, so its tokens do not depend on the other rows.

    With `next_input` and `steps` it generates what are not tokens, such as vectors, piano rolls or
    pen strokes:

        x_{n+1} = next_input(y_n, key_n),    y_{n+1} = layer(x_{n+1} | x_{1..n})

    Args:
      layer: a causal layer from int tokens to logits `[T, V]`; with `next_input`, any causal layer.
      params: the params of the layer.
      prompt: integer `[T]`, or `[B, T]` of a batched layer, each from 0 to V - 1, with T ≥ 1. It is
        not checked inside a JAX transformation. With `next_input`, inputs of the layer, a pytree of
        arrays `[T, ...]` or `[B, T, ...]`.
      max_tokens: the maximum number of tokens to generate.
      min_tokens: the minimum number of tokens before `eos`.
      eos: the end-of-sequence token; it is not part of the result.
      forbidden: tokens that are never chosen, such as the unknown token and the
        beginning-of-sequence token. If all others have the probability 0, they are equally likely.
      choose: a chooser, such as `argmax` or `top_k(5)`.
      next_input: `next_input(y, key) -> x` from the output of one step of one sequence, a pytree,
        to the next input, such as `gaussian()` or a function of your own. Every row and step has
        its own key, or None without `key`. x is cast to the dtypes of the prompt.
      steps: the number of inputs to generate with `next_input`; the options above from
        `max_tokens` to `choose` are for tokens only.
      carry: the carry to start from; the initial carry by default.
      context: the context of the layer.
      length: the lengths of the prompts, integer `[]` or `[B]`, each from 1 to T.
      key: a typed key, needed if `choose` or `next_input` samples.

    Returns:
      A `Generated`; with `next_input` the generated inputs, arrays `[steps, ...]` or
      `[B, steps, ...]` in the structure of the prompt. Gradients flow through them.

    Raises:
      TypeError: if `layer` is not a layer, the prompt does not hold integers, `next_input` does not
        return an input of the layer, or a needed key is missing.
      ValueError: if the layer is not causal, the prompt is empty or of another rank, ids are
        outside the vocabulary, or an option for tokens is given with `next_input`.

    Example:
      A layer without weights, whose most likely next token is the last token plus 1:

      >>> import jax, jax.numpy as jnp, recur
      >>> from recur.decode import argmax, generate
      >>> counter = recur.chain(lambda token: jax.nn.one_hot((token + 1) % 5, 5))
      >>> generate(counter, counter.init(jax.random.key(0), jnp.array([0])), jnp.array([0]),
      ...          max_tokens=6, choose=argmax, eos=4).tokens.tolist()
      [1, 2, 3, 0, 0, 0]

      A layer that halves its input, and reads what it returned:

      >>> halve = recur.chain(lambda x: x / 2)
      >>> generate(halve, ((),), jnp.array([8.0]), next_input=lambda y, key: y, steps=3).tolist()
      [4.0, 2.0, 1.0]
    """
    if next_input is None:
        _check_absent("steps", steps, None, "without next_input", "max_tokens")
        rules = token_rules("generate", max_tokens, min_tokens, eos, forbidden)
    else:
        for name, value, default in (
            ("max_tokens", max_tokens, None),
            ("min_tokens", min_tokens, 0),
            ("eos", eos, None),
            ("forbidden", forbidden, _NONE),
        ):
            _check_absent(name, value, default, "with next_input", "steps")
        steps = check_whole("generate: steps", steps, 1)
    choice, what = (choose, categorical, next_input), "a prompt of integer tokens"
    xs = check_decoder_inputs("generate", layer, prompt, what, *choice)
    lengths = check_prompt_length(layer, xs, length, "generate")
    check_context(context)
    key = None if key is None else check_key(key)
    if next_input is not None:
        given = (layer, params, xs, next_input, carry, context, lengths, key)
        return call_compiled(_generate_inputs, *given, steps=steps)
    given = (layer, params, xs, choose, carry, context, lengths, key)
    generated, vocabulary = call_compiled(_generate, *given, rules=rules)
    check_prompt_ids("generate", prompt, length, vocabulary)
    return generated


def _generate_inputs(layer, params, prompt, next_input, carry, context, length, key, *, steps):
    read, carry, y = read_prompt(layer, params, prompt, carry, context, length)
    next_input = make_next_input("generate", layer, prompt, categorical, next_input)
    rows = leading_shape(prompt, layer.batch_axes)[:-1]
    keys = split_along(key, rows[0]) if rows else key

    def choose_row(y, key, position):
        return next_input(y, None if key is None else jax.random.fold_in(key, position))

    choose_rows = jax.vmap(choose_row, in_axes=(0, 0, None)) if rows else choose_row

    def advance(state, position):
        carry, y = state
        x = choose_rows(y, keys, position)
        return vary_over(state, read(carry, x)), x

    state = vary_over((carry, y, keys), (carry, y))
    _, xs = jax.lax.scan(advance, state, jnp.arange(steps))
    return jax.tree.map(lambda leaf: jnp.moveaxis(leaf, 0, len(rows)), xs)


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


def token_rules(
    caller: str, max_tokens: int | None, min_tokens: int, eos: int | None, forbidden: Sequence[int]
) -> TokenRules:
    """Checks the rules and makes them hashable; ids are checked later against the vocabulary."""
    max_tokens = check_whole(f"{caller}: max_tokens", max_tokens, 1)
    min_tokens = check_whole(f"{caller}: min_tokens", min_tokens, 0)
    if min_tokens > max_tokens:
        raise ValueError(
            f"{caller}: expected min_tokens from 0 to max_tokens, got max_tokens={max_tokens} and "
            f"min_tokens={min_tokens}."
        )
    eos = None if eos is None else check_whole(f"{caller}: eos", eos, 0)
    never = tuple(check_ids(f"{caller}: forbidden", forbidden))
    return TokenRules(max_tokens, min_tokens, eos, never)


def _check_absent(name: str, value: Any, default: Any, when: str, instead: str) -> None:
    """Raises a ValueError if an option does not have its default."""
    if value is not default:
        raise ValueError(
            f"generate: expected no {name} {when}, got {name}={value!r}. Use {instead} for the "
            "number of steps."
        )
