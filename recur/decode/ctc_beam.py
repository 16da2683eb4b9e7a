"""Prefix beam search for CTC, with a language model by shallow fusion."""

from __future__ import annotations

from functools import partial
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from recur.arrays import check_one_number
from recur.checks import check_whole, describe, known_value
from recur.decode.compiled import call_compiled
from recur.decode.ctc_inputs import check_ctc_logits
from recur.decode.hypotheses import Beams, check_beams, log_softmax
from recur.decode.prompt import check_causal, read_prompt
from recur.layer import Layer
from recur.manual_axes import vary_over
from recur.masks import zero_invalid
from recur.types import Carry, Params


class LanguageModel(NamedTuple):
    """A language model for shallow fusion in `ctc_beam_search`.

    It reads and predicts the same ids as the CTC model. The blank, which is never part of a text,
    is the token before its first symbol and after its last: train it on `[blank, *symbols, blank]`.

    Attributes:
      layer: a causal layer from int tokens to logits `[T, V]`, such as a recurrent network or
        `recur.scan(recur.classic.ngram_cell(model))`.
      params: its params.
      weight: the factor of its log-probability, at least 0.
      bonus: what each symbol adds to the score; above 0 it favors long texts, as models that
        multiply probabilities favor short ones.
    """

    layer: Layer
    params: Params
    weight: float | jax.Array = 1.0
    bonus: float | jax.Array = 0.0


class _Beam(NamedTuple):
    """W prefixes of one sequence; those with total -inf are empty places."""

    tokens: jax.Array  # int32 [W, L], 0 after the end
    length: jax.Array  # int32 [W]
    ends_blank: jax.Array  # [W], log-probability of the paths that end in a blank
    ends_symbol: jax.Array  # [W], of those that end in the last symbol
    language: jax.Array  # [W], log-probability by the language model
    gains: jax.Array  # [W, V], log-probabilities of the next symbol by it
    carry: Carry  # of the language model, [W, ...]


def ctc_beam_search(
    logits: Any,
    mask: Any = None,
    *,
    num_beams: int,
    num_return: int = 1,
    max_tokens: int | None = None,
    blank: int = 0,
    language_model: LanguageModel | None = None,
) -> Beams:
    """Finds the most likely transcripts of CTC outputs by prefix beam search.

        score(y) = log p(y | x) + weight log p_lm(y) + bonus |y|

    After each frame it keeps the `num_beams` prefixes with the highest scores. The paths of a
    prefix that end in a blank and those that end in its last symbol are summed separately, so
    log p(y | x) is over all alignments of the transcript, except for those whose prefixes were not
    kept. If there are never more prefixes than beams, results are exact. A greedy decoder finds one
    alignment only: see `ctc_greedy`.

    All rows of a batch are searched in one loop over frames, which is compiled once for each shape
    and language model. Time is proportional to
    T num_beams (V + num_beams max_tokens), so a `max_tokens` below T is faster.

    Args:
      logits: `[..., T, V]`, of the symbols and the blank, as for `recur.train.ctc_loss`.
      mask: bool `[..., T]`, True where the frame counts; all frames by default. Values at other
        frames never matter.
      num_beams: the number of prefixes that are kept, at least 1.
      num_return: the number of transcripts to return, from 1 to num_beams.
      max_tokens: the maximum number of symbols of a transcript; T by default.
      blank: the id of the blank.
      language_model: a `LanguageModel`; none by default.

    Returns:
      `Beams` with arrays `[..., num_return, ...]`, the highest scores first. `log_likelihood` is
      log p(y | x), without the language model.

    Raises:
      TypeError: if logits are not floats, the mask is not bool, or the language model is not one.
      ValueError: if a shape does not fit, the blank is not one of the V ids, num_return is larger
        than num_beams, or the language model is not causal or not of V ids.

    Example:
      The most likely path is two blanks, of probability 0.36, but "1" has three paths:

      >>> import jax.numpy as jnp
      >>> from recur.decode import ctc_beam_search, ctc_greedy
      >>> logits = jnp.log(jnp.array([[0.6, 0.4], [0.6, 0.4]]))
      >>> found = ctc_beam_search(logits, num_beams=4, num_return=2)
      >>> for tokens, length, score in zip(found.tokens, found.length, found.score):
      ...     print(tokens[:length].tolist(), f"{jnp.exp(score):.2f}")
      [1] 0.64
      [] 0.36
      >>> ctc_greedy(logits).length.item()
      0

    References:
      Graves & Jaitly 2014, Towards End-to-End Speech Recognition with Recurrent Neural Networks,
      section 4, https://proceedings.mlr.press/v32/graves14.html
      Hannun et al. 2014, First-Pass Large Vocabulary Continuous Speech Recognition using
      Bi-Directional Recurrent DNNs, https://arxiv.org/abs/1408.2873
    """
    caller = "ctc_beam_search"
    logits, mask, blank = check_ctc_logits(caller, logits, mask, blank)
    check_beams(caller, num_beams, num_return, 0.0)
    longest = logits.shape[-2] if max_tokens is None else max_tokens
    longest = check_whole(f"{caller}: max_tokens", longest, 1)
    _check_language_model(language_model)
    layer, *others = language_model or (_no_language, (), 0.0, 0.0)
    options = {"num_beams": num_beams, "num_return": num_return, "max_tokens": longest}
    return call_compiled(_ctc_beam_search, layer, logits, mask, *others, blank=blank, **options)


def _no_language() -> None:
    """In place of the layer of a language model, where there is none."""


def _ctc_beam_search(layer, logits, mask, params, weight, bonus, *, blank, **options):
    log_p = log_softmax(zero_invalid(mask, logits))
    weight, bonus = (jnp.asarray(each, log_p.dtype) for each in (weight, bonus))
    model = _Reader(layer, params, log_p, blank)
    one = partial(_search, model, weight, bonus, blank=blank, **options)
    for _ in range(logits.ndim - 2):
        one = jax.vmap(one)
    return one(log_p, mask)


class _Reader:
    """Reads symbols by the language model, for one prefix; its log-probabilities are 0 without."""

    def __init__(self, layer, params, log_p, blank):
        self.is_there = layer is not _no_language
        size = log_p.shape[-1]
        self.none = jnp.zeros(size, log_p.dtype)
        self.carry, self.gains = (), self.none
        if not self.is_there:
            return
        self.rows = layer.batch_axes
        prompt = jnp.full((1,) * (self.rows + 1), blank, jnp.int32)
        self.read, self.carry, logits = read_prompt(layer, params, prompt, None, None, None)
        if logits.shape != (1,) * self.rows + (size,) or not jnp.issubdtype(
            logits.dtype, jnp.floating
        ):
            raise ValueError(
                f"ctc_beam_search: expected a language model with logits of {size} ids for each "
                f"token, as the CTC model has, got {describe(logits)}."
            )
        self.gains = self._gains(logits)

    def __call__(self, carry, token):
        if not self.is_there:
            return carry, self.none
        carry, logits = self.read(carry, token.reshape((1,) * self.rows))
        return carry, self._gains(logits)

    def _gains(self, logits):
        return log_softmax(logits.reshape(-1)).astype(self.none.dtype)


def _search(model, weight, bonus, log_p, mask, *, blank, num_beams, num_return, max_tokens):
    """Searches one sequence, `log_p [T, V]`."""
    size = log_p.shape[-1]
    score = partial(_score, weight, bonus)
    read = jax.vmap(model)

    def advance(beam, step):
        log_p, valid = step
        stays, extended = _continue(beam, log_p, blank)
        totals = extended.at[:, blank].set(jnp.logaddexp(*stays))
        grown = (_numbers(size) != blank)[None]  # whether a continuation has one more symbol
        language = beam.language[:, None] + jnp.where(grown, beam.gains, 0.0)
        lengths = beam.length[:, None] + grown.astype(jnp.int32)
        _, places = jax.lax.top_k(score(totals, language, lengths).ravel(), num_beams)
        parents, symbols = places // size, (places % size).astype(jnp.int32)
        stay = symbols == blank
        old = jax.tree.map(lambda leaf: leaf[parents], beam)
        rows = jnp.arange(num_beams)
        at = jnp.where(stay, max_tokens, old.length)
        carry, gains = read(old.carry, symbols)
        carry, gains = _select(stay, (old.carry, old.gains), (carry, gains))
        new = _Beam(
            tokens=old.tokens.at[rows, at].set(symbols, mode="drop"),
            length=old.length + (~stay).astype(jnp.int32),
            ends_blank=jnp.where(stay, stays[0][parents], -jnp.inf),
            ends_symbol=jnp.where(stay, stays[1][parents], extended[parents, symbols]),
            language=language[parents, symbols],
            gains=gains,
            carry=carry,
        )
        return jax.tree.map(lambda a, b: jnp.where(valid, a, b), new, beam), None

    def repeat(leaf):
        return jnp.broadcast_to(leaf, (num_beams, *leaf.shape))

    none = jnp.full(num_beams, -jnp.inf, log_p.dtype)
    count = jnp.zeros(num_beams, jnp.int32)
    tokens = jnp.zeros((num_beams, max_tokens), jnp.int32)
    state = jax.tree.map(repeat, (model.gains, model.carry))
    beam = _Beam(tokens, count, none.at[0].set(0.0), none, jnp.zeros_like(none), *state)
    beam, _ = jax.lax.scan(advance, vary_over((log_p, mask, state), beam), (log_p, mask))
    totals = jnp.logaddexp(beam.ends_blank, beam.ends_symbol)
    scores = score(totals, beam.language + beam.gains[:, blank], beam.length)
    scores, best = jax.lax.top_k(scores, num_return)
    return Beams(beam.tokens[best], beam.length[best], scores, totals[best])


def _continue(
    beam: _Beam, log_p: jax.Array, blank: int
) -> tuple[tuple[jax.Array, jax.Array], jax.Array]:
    """The log-probabilities after one more frame, of one sequence.

    Returns:
      Those of the paths that stay at each prefix and end in a blank, and in its last symbol, `[W]`
      each; and those of each prefix with each symbol appended, `[W, V]`, -inf for prefixes that are
      in the beam, to which they are added.
    """
    count, longest = beam.tokens.shape
    symbols, places = _numbers(len(log_p))[None], _numbers(longest)[None]
    before = jnp.maximum(beam.length - 1, 0)
    last = beam.tokens[jnp.arange(count), before]
    total = jnp.logaddexp(beam.ends_blank, beam.ends_symbol)
    is_repeated = (symbols == last[:, None]) & (beam.length > 0)[:, None]
    # A symbol after itself is a new one only with a blank between them.
    extended = jnp.where(is_repeated, beam.ends_blank[:, None], total[:, None]) + log_p[None]
    can_grow = (beam.length < longest)[:, None] & (symbols != blank)
    extended = jnp.where(can_grow, extended, -jnp.inf)

    parents = jnp.where(places == before[:, None], 0, beam.tokens)
    follows = (beam.tokens[:, None] == parents[None]).all(-1)  # [i, j], j is i and one symbol
    follows &= beam.length[:, None] + 1 == beam.length[None]
    follows &= (total > -jnp.inf)[None]
    joining = jnp.where(follows, extended[:, last], -jnp.inf)
    stays_symbol = jnp.logaddexp(beam.ends_symbol + log_p[last], joining.max(0))
    rows = jnp.broadcast_to(jnp.arange(count)[:, None], follows.shape)
    columns = jnp.broadcast_to(last[None], follows.shape)
    extended = extended.at[rows, columns].min(jnp.where(follows, -jnp.inf, jnp.inf))
    return (total + log_p[blank], stays_symbol), extended


def _numbers(count: int) -> jax.Array:
    return jnp.arange(count, dtype=jnp.int32)


def _score(weight, bonus, totals, language, lengths):
    """The score of prefixes; a weight of 0 ignores the language model, also where it is -inf."""
    weighted = jnp.where(weight == 0, 0.0, weight * language)
    return totals + weighted + bonus * lengths.astype(totals.dtype)


def _select(flags, on_true, on_false):
    def select(a, b):
        return jnp.where(flags.reshape(flags.shape + (1,) * (a.ndim - 1)), a, b)

    return jax.tree.map(select, on_true, on_false)


def _check_language_model(model: Any) -> None:
    if model is None:
        return
    if not isinstance(model, LanguageModel):
        raise TypeError(
            "ctc_beam_search: expected language_model as a LanguageModel(layer, params), got "
            f"{type(model).__name__}."
        )
    check_causal(model.layer, "ctc_beam_search")
    for name, value, least in (("weight", model.weight, 0), ("bonus", model.bonus, -np.inf)):
        check_one_number(f"ctc_beam_search: {name}", value)
        known = known_value(value)
        if known is not None and not (np.isfinite(known) and known >= least):
            bound = "of at least 0" if least == 0 else "that is finite"
            raise ValueError(f"ctc_beam_search: expected a {name} {bound}, got {value}.")
