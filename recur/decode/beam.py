"""Beam search over the outputs of a layer, or of any step function."""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial
from typing import Any

import jax
import jax.numpy as jnp

from recur.arrays import as_array
from recur.checks import check_function, describe, signature
from recur.decode.compiled import call_compiled
from recur.decode.generate import token_rules
from recur.decode.hypotheses import Beams, Row, Rules, begin, check_beams, close, extend, make_rules
from recur.decode.prompt import (
    Read,
    check_prompt_ids,
    check_prompt_length,
    check_tokens,
    read_prompt,
    vocabulary_of,
)
from recur.layer import Layer, check_context
from recur.types import Carry, Context, Params


def beam_search(
    layer: Layer,
    params: Params,
    prompt: jax.Array,
    *,
    num_beams: int,
    num_return: int = 1,
    max_tokens: int,
    min_tokens: int = 0,
    eos: int | None = None,
    forbidden: Sequence[int] = (),
    length_penalty: float | jax.Array = 0.0,
    carry: Carry = None,
    context: Context = None,
    length: Any = None,
) -> Beams:
    """Finds likely continuations of a prompt by beam search.

        score(y) = log p(y | prompt) / lp(n),    lp(n) = ((5 + n) / 6)^length_penalty

    It is `search` with the layer as its step. All rows of a batch are searched in one loop, each
    with its own result. One beam without a penalty gives the tokens of `generate` with `argmax`.
    Outside of `jax.jit` it is compiled once for each layer and shape. The layer is bound once,
    before the loop.

    Args:
      layer: a causal layer from int tokens to logits `[T, V]`, batched or not.
      params: the params of the layer.
      prompt: integer `[T]`, or `[B, T]` of a batched layer, as in `generate`.
      num_beams: the number of hypotheses that are extended at each step, from 1 to V.
      num_return: the number of hypotheses to return, from 1 to num_beams.
      max_tokens: the maximum number of tokens of a hypothesis, `eos` included.
      min_tokens: the minimum number of tokens before `eos`.
      eos: the end-of-sequence token; it is not part of the result.
      forbidden: tokens that are never chosen.
      length_penalty: 0 for none; above 0 favors long hypotheses, below 0 short ones.
      carry: the carry to start from; the initial carry by default.
      context: the context of the layer.
      length: the lengths of the prompts, integer `[]` or `[B]`, each from 1 to T.

    Returns:
      `Beams` without the prompt, with arrays `[num_return, ...]`, or `[B, num_return, ...]` of a
      batch.

    Raises:
      TypeError: if `layer` is not a layer, or the prompt does not hold integers.
      ValueError: if the layer is not causal, the prompt is empty or of another rank, there are more
        beams than tokens, num_return is larger than num_beams, or ids are outside the vocabulary.

    Example:
      The most likely first token has no likely continuation, so two beams find a better sequence:

      >>> import jax, jax.numpy as jnp, recur
      >>> from recur.decode import beam_search
      >>> table = jnp.log(jnp.array([[0.0, 0.6, 0.4], [0.4, 0.3, 0.3], [0.9, 0.05, 0.05]]))
      >>> bigrams = recur.chain(lambda token: table[token])
      >>> params = bigrams.init(jax.random.key(0), jnp.array([0]))
      >>> for n in (1, 2):
      ...     found = beam_search(
      ...         bigrams, params, jnp.array([0]), num_beams=n, max_tokens=3, eos=0
      ...     )
      ...     print(found.tokens[0, :1], f"{jnp.exp(found.score[0]):.2f}")
      [1] 0.24
      [2] 0.36

    References:
      Wu et al. 2016, Google's Neural Machine Translation System, section 7,
      https://arxiv.org/abs/1609.08144
    """
    rules = token_rules("beam_search", max_tokens, min_tokens, eos, forbidden)
    check_beams("beam_search", num_beams, num_return, length_penalty)
    tokens = check_tokens(layer, prompt, "a prompt of integer tokens", "beam_search")
    lengths = check_prompt_length(layer, tokens, length, "beam_search")
    check_context(context)
    given = (layer, params, tokens, carry, context, lengths, length_penalty)
    options = {"num_beams": num_beams, "num_return": num_return, "rules": rules}
    beams, vocabulary = call_compiled(_beam_search, *given, **options)
    check_prompt_ids("beam_search", prompt, length, vocabulary)
    return beams


def _beam_search(
    layer, params, prompt, carry, context, length, length_penalty, *, num_beams, num_return, rules
):
    read, carry, logits = read_prompt(layer, params, prompt, carry, context, length)
    beam_axis = prompt.ndim - 1  # after the rows
    read_all = jax.vmap(read, in_axes=beam_axis, out_axes=beam_axis)
    given = (num_beams, num_return, rules, length_penalty)
    beams = _search(read_all, carry, logits, make_rules("beam_search", logits, *given))
    return beams, vocabulary_of(logits)


def search(
    step: Read,
    carry: Carry,
    logits: jax.Array,
    *,
    num_beams: int,
    num_return: int = 1,
    max_tokens: int,
    min_tokens: int = 0,
    eos: int | None = None,
    forbidden: Sequence[int] = (),
    length_penalty: float | jax.Array = 0.0,
) -> Beams:
    """Finds likely sequences by beam search over any step function.

        carry_n, logits_n = step(carry_{n-1}, y_n),    p(y_{n+1} | y_{1..n}) = softmax(logits_n)
        score(y) = sum_n log p(y_n | y_{1..n-1}) / lp(n),    lp(n) = ((5 + n) / 6)^length_penalty

    At each step every live hypothesis is extended by every token. Of the `num_beams` most likely
    extensions, those that end in `eos` are finished. The `num_beams` finished hypotheses with the
    best scores are kept separately, so live ones never displace them. The `num_beams` most likely
    extensions that do not end in `eos` stay live. Scores include `eos`, in log p and in n.
    Hypotheses that have not ended after `max_tokens` tokens are returned as they are. Forbidden
    tokens are excluded, and the probabilities of the others are not renormalized.

    It is one compiled loop. It ends as soon as no live hypothesis can be among the `num_return`
    best any more: log p never increases, so a hypothesis that is live after n tokens never scores
    above log p / max(lp(n + 1), lp(max_tokens)). A narrow beam may miss the best sequence. It
    cannot if for each n below `max_tokens` there are at most `num_beams` possible sequences of n
    tokens, including those that end in `eos`. Outside of `jax.jit` it is compiled once for each
    step function, by identity, and shape.

    Args:
      step: `step(carry, token) -> (carry, logits)` for one hypothesis, with an int32 token and
        logits `[V]`.
      carry: any pytree of arrays, before the first token.
      logits: the logits of the first token, `[V]`.
      num_beams: the number of hypotheses that are extended at each step, from 1 to V.
      num_return: the number of hypotheses to return, from 1 to num_beams.
      max_tokens: the maximum number of tokens of a hypothesis, `eos` included.
      min_tokens: the minimum number of tokens before `eos`.
      eos: the end-of-sequence token; it is not part of the result.
      forbidden: tokens that are never chosen.
      length_penalty: 0 for none; above 0 favors long hypotheses, below 0 short ones.

    Returns:
      `Beams`, with arrays `[num_return, ...]`.

    Raises:
      TypeError: if `step` does not keep the types of carry and logits, or the logits are not
        floats.
      ValueError: if there are more beams than tokens, num_return is larger than num_beams, or ids
        are outside the vocabulary.

    Example:
      A walk from 0 with steps of 1, or of 2 with probability 1/4, that ends at 3 or beyond:

      >>> import jax, jax.numpy as jnp
      >>> from recur.decode import search
      >>> walks = jnp.log(jnp.array([0.0, 3.0, 1.0, 0.0]))
      >>> ends = jnp.where(jnp.arange(4) == 3, 0.0, -jnp.inf)
      >>> def step(position, token):
      ...     position = position + token
      ...     return position, jnp.where(position >= 3, ends, walks)
      >>> options = {"num_beams": 4, "num_return": 3, "max_tokens": 4, "eos": 3}
      >>> found = search(step, jnp.asarray(0), walks, **options)
      >>> for tokens, score in zip(found.tokens, found.score):
      ...     print(tokens, f"{jnp.exp(score):.3f}")
      [1 1 1 0] 0.422
      [1 2 0 0] 0.188
      [2 1 0 0] 0.188

    References:
      Wu et al. 2016, Google's Neural Machine Translation System, section 7,
      https://arxiv.org/abs/1609.08144
    """
    rules = token_rules("search", max_tokens, min_tokens, eos, forbidden)
    check_beams("search", num_beams, num_return, length_penalty)
    check_function("search: step", step)
    logits = as_array("search: logits", logits)
    carry = jax.tree.map(partial(as_array, "search: carry"), carry)
    options = {"num_beams": num_beams, "num_return": num_return, "rules": rules}
    return call_compiled(_search_row, step, carry, logits, length_penalty, **options)


def _search_row(step, carry, logits, length_penalty, *, num_beams, num_return, rules):
    _check_step(step, carry, logits)
    given = (num_beams, num_return, rules, length_penalty)
    return _search(jax.vmap(step), carry, logits, make_rules("search", logits, *given))


def _search(step: Read, carry: Carry, logits: jax.Array, rules: Rules) -> Beams:
    """Searches each row of `logits [..., V]`; `step` runs all hypotheses of all rows."""
    is_batch = logits.ndim > 1

    def each_row(function, *axes):
        function = partial(function, rules)
        return jax.vmap(function, in_axes=axes) if is_batch else function

    def continues(loop):
        position, row = loop
        largest = jnp.maximum(rules.penalties[position + 1], rules.penalties[-1])
        bound = row.live.log_likelihood[..., 0] / largest
        worst = row.finished.score[..., rules.num_return - 1]
        return (position < rules.max_tokens) & ~(bound <= worst).all()

    def advance(loop):
        position, row = loop
        carry, tokens, live, finished = each_row(extend, 0, None)(row, position)
        carry, logits = step(carry, tokens)
        return position + 1, Row(carry, logits, live, finished)

    row = each_row(begin, 0, 0)(carry, logits)
    position, row = jax.lax.while_loop(continues, advance, (jnp.zeros((), jnp.int32), row))
    return each_row(close, 0, None)(row, position)


def _check_step(step: Read, carry: Carry, logits: jax.Array) -> None:
    """Raises a TypeError unless a step keeps the types of the carry and the logits."""
    if logits.ndim != 1 or not jnp.issubdtype(logits.dtype, jnp.floating):
        raise TypeError(
            f"search: expected logits of the first token as floats [V], got {describe(logits)}."
        )
    token = jax.ShapeDtypeStruct((), jnp.int32)
    came = jax.eval_shape(step, carry, token)
    if signature(came) != signature((carry, logits)):
        raise TypeError(
            "search: expected step(carry, token) to return a carry and logits of the same shapes "
            f"and dtypes as given, {describe((carry, logits))}, got {describe(came)}."
        )
