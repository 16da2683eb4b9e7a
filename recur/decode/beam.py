"""Beam search: the likeliest sequences, found by going on with the best few at once."""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial
from typing import Any

import jax
import jax.numpy as jnp

from recur.checks import describe, signature
from recur.decode.generate import Read, read_prompt
from recur.decode.hypotheses import Beams, Row, Rules, begin, close, extend, make_rules
from recur.types import Carry, Context, Layer, Params


def beam_search(
    layer: Layer,
    params: Params,
    prompt: jax.Array,
    *,
    width: int,
    steps: int,
    stop: int | None = None,
    best: int = 1,
    length_penalty: float | jax.Array = 0.0,
    forbidden: Sequence[int] = (),
    least: int = 0,
    length: Any = None,
    carry: Carry = None,
    context: Context = None,
) -> Beams:
    """Reads a prompt, then looks for the best sequences to follow it, `width` of them at once.

        score(y) = log p(y | prompt) / lp(n),    lp(n) = ((5 + n) / 6)^length_penalty

    It is `search` with the layer as its step; a batch is searched together, each row as if alone.
    With a width of 1 and no penalty it finds what `generate` does with `argmax`.

    Args:
      layer: a layer from int tokens to logits `[T, V]` that reads forwards, batched or not.
      params: its params.
      prompt: integer `[T]`, or `[B, T]` of a batched layer, padded behind; T ≥ 1.
      width: how many hypotheses live at once, from 1 to V.
      steps: how many tokens a hypothesis has at most, the stop token included.
      stop: the token that ends a sequence; it is not part of it.
      best: how many hypotheses to return, from 1 to width.
      length_penalty: 0 for none; above it long ones are favoured, below it short ones.
      forbidden: tokens that are never chosen.
      least: how many tokens come before `stop` may.
      length: integer `[]` or `[B]`, each from 1 to T: how much of the prompts counts.
      carry: the carry to start from; the layer's own start when not given.
      context: as of the layer.

    Returns:
      `Beams`, the prompt not included, of a batch `[B, best, ...]`.

    Raises:
      TypeError: when `layer` is not a layer, or the prompt not of integers.
      ValueError: when the layer reads backwards, the prompt is empty or of another rank, the beam
        is wider than the vocabulary, best is larger than width, or ids are outside the vocabulary.

    Example:
      The likeliest first token leads nowhere, and a beam of 2 sees it:

      >>> import jax, jax.numpy as jnp, recur
      >>> from recur.decode import beam_search
      >>> table = jnp.log(jnp.array([[0.0, 0.6, 0.4], [0.4, 0.3, 0.3], [0.9, 0.05, 0.05]]))
      >>> bigrams = recur.chain(lambda token: table[token])
      >>> params = bigrams.init(jax.random.key(0), jnp.array([0]))
      >>> for width in (1, 2):
      ...     found = beam_search(bigrams, params, jnp.array([0]), width=width, steps=3, stop=0)
      ...     print(found.tokens[0, :1], f"{jnp.exp(found.score[0]):.2f}")
      [1] 0.24
      [2] 0.36

    References:
      Wu et al. 2016, Google's Neural Machine Translation System, section 7,
      https://arxiv.org/abs/1609.08144
    """
    prompt = jnp.asarray(prompt)
    read, carry, logits = read_prompt(
        layer, params, prompt, length=length, carry=carry, context=context, asker="beam_search"
    )
    behind_rows = prompt.ndim - 1
    read_all = jax.vmap(read, in_axes=behind_rows, out_axes=behind_rows)
    given = (width, steps, stop, best, length_penalty, forbidden, least)
    return _search(read_all, carry, logits, make_rules("beam_search", logits, *given))


def search(
    step: Read,
    carry: Carry,
    logits: jax.Array,
    *,
    width: int,
    steps: int,
    stop: int | None = None,
    best: int = 1,
    length_penalty: float | jax.Array = 0.0,
    forbidden: Sequence[int] = (),
    least: int = 0,
) -> Beams:
    """Looks for the best sequences of any step function, `width` of them at once.

        carry_n, logits_n = step(carry_{n-1}, y_n),    p(y_{n+1} | y_{1..n}) = softmax(logits_n)
        score(y) = sum_n log p(y_n | y_{1..n-1}) / lp(n),    lp(n) = ((5 + n) / 6)^length_penalty

    At each step every live hypothesis goes on with every token. Of the `width` likeliest that come
    of it, those that end in `stop` are finished, and the best `width` of them by score are kept, so
    that live ones never push them out; the `width` likeliest that do not end live on. Scores count
    the stop token, in log p and in n. What has not stopped after `steps` tokens counts as it
    stands. Forbidden tokens are left out, and the others keep the probability that `step` gives.

    It is one compiled loop, which ends as soon as no live hypothesis can be among the `best` any
    more: log p never rises, so what is live after n tokens never scores above
    log p / max(lp(n + 1), lp(steps)). A narrow beam may miss the best sequence. It misses none when
    for each n below `steps` there are at most `width` possible sequences of n tokens, those whose
    last one is `stop` included.

    Args:
      step: `step(carry, token) -> (carry, logits)` for one hypothesis, with an int32 token and
        logits `[V]`.
      carry: any pytree of arrays, before the first token.
      logits: `[V]`, of the first token.
      width: how many hypotheses live at once, from 1 to V.
      steps: how many tokens a hypothesis has at most, the stop token included.
      stop: the token that ends a sequence; it is not part of it.
      best: how many hypotheses to return, from 1 to width.
      length_penalty: 0 for none; above it long ones are favoured, below it short ones.
      forbidden: tokens that are never chosen.
      least: how many tokens come before `stop` may.

    Returns:
      `Beams`, `[best, ...]`.

    Raises:
      TypeError: when `step` does not keep the types of carry and logits, or those are not floats.
      ValueError: when the beam is wider than the vocabulary, best is larger than width, or ids are
        outside the vocabulary.

    Example:
      A clock that runs on by 1 or, one time of four, by 2, until it strikes 3:

      >>> import jax, jax.numpy as jnp
      >>> from recur.decode import search
      >>> odds = jnp.log(jnp.array([0.0, 3.0, 1.0, 0.0]))
      >>> def step(time, token):
      ...     strikes = jnp.where(jnp.arange(4) == 3, 0.0, -jnp.inf)
      ...     return time + token, jnp.where(time + token >= 3, strikes, odds)
      >>> found = search(step, jnp.asarray(0), odds, width=4, steps=4, stop=3, best=3)
      >>> for tokens, score in zip(found.tokens, found.score):
      ...     print(tokens, f"{jnp.exp(score):.3f}")
      [1 1 1 0] 0.422
      [1 2 0 0] 0.188
      [2 1 0 0] 0.188

    References:
      Wu et al. 2016, Google's Neural Machine Translation System, section 7,
      https://arxiv.org/abs/1609.08144
    """
    carry, logits = jax.tree.map(jnp.asarray, (carry, logits))
    _check_step(step, carry, logits)
    given = (width, steps, stop, best, length_penalty, forbidden, least)
    return _search(jax.vmap(step), carry, logits, make_rules("search", logits, *given))


def _search(step: Read, carry: Carry, logits: jax.Array, rules: Rules) -> Beams:
    """Searches for each row of `logits [..., V]`; `step` is that of all hypotheses of all rows."""
    is_batch = logits.ndim > 1

    def each_row(function, *axes):
        function = partial(function, rules)
        return jax.vmap(function, in_axes=axes) if is_batch else function

    def goes_on(loop):
        position, row = loop
        largest = jnp.maximum(rules.penalties[position + 1], rules.penalties[-1])
        ahead = row.live.log_likelihood[..., 0] / largest
        return (position < rules.steps) & ~(ahead <= row.finished.score[..., rules.best - 1]).all()

    def turn(loop):
        position, row = loop
        carry, tokens, live, finished = each_row(extend, 0, None)(row, position)
        carry, logits = step(carry, tokens)
        return position + 1, Row(carry, logits, live, finished)

    row = each_row(begin, 0, 0)(carry, logits)
    position, row = jax.lax.while_loop(goes_on, turn, (jnp.zeros((), jnp.int32), row))
    return each_row(close, 0, None)(row, position)


def _check_step(step: Read, carry: Carry, logits: jax.Array) -> None:
    if logits.ndim != 1 or not jnp.issubdtype(logits.dtype, jnp.floating):
        raise TypeError(
            f"search: expected logits of floats [V], of the first token, got {describe(logits)}."
        )
    token = jax.ShapeDtypeStruct((), jnp.int32)
    came = jax.eval_shape(step, carry, token)
    if signature(came) != signature((carry, logits)):
        raise TypeError(
            "search: expected step(carry, token) to return a carry and logits as it is given, "
            f"{describe((carry, logits))}, got {describe(came)}."
        )
