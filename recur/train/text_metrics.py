"""Metrics of texts, in Python: word and character error rate, and BLEU."""

from __future__ import annotations

import dataclasses
from collections.abc import Hashable, Sequence
from typing import Any

import jax
import numpy as np

from recur.checks import check_flag
from recur.train.metrics import Average, Metric


def edit_distance(hypothesis: Sequence[Hashable], reference: Sequence[Hashable]) -> int:
    """Computes the edit distance (Levenshtein distance) of two sequences.

    Args:
      hypothesis: a text, or a sequence of tokens.
      reference: the same.

    Returns:
      The least number of insertions, deletions and substitutions that turn one into the other.

    Raises:
      TypeError: if an argument is not a sequence of values that can be compared by hash.

    Example:
      >>> from recur.train import edit_distance
      >>> edit_distance("kitten", "sitting"), edit_distance(["a", "cat"], ["cat"])
      (3, 1)

    References:
      Wagner & Fischer 1974, The String-to-String Correction Problem,
      https://doi.org/10.1145/321796.321811
    """
    first = _tokens("edit_distance: hypothesis", hypothesis)
    second = _tokens("edit_distance: reference", reference)
    number = {token: i for i, token in enumerate({*first, *second})}
    first, second = (np.array([number[t] for t in tokens], int) for tokens in (first, second))
    steps = np.arange(len(second) + 1)
    distances = steps  # of no tokens of the first to each beginning of the second
    for token in first:
        reached = distances + 1  # the token is deleted
        substituted = distances[:-1] + (second != token)
        reached[1:] = np.minimum(reached[1:], substituted)
        distances = np.minimum.accumulate(reached - steps) + steps  # tokens are inserted
    return int(distances[-1])


def token_error_rate(
    hypotheses: Sequence[Sequence[Hashable]], references: Sequence[Sequence[Hashable]]
) -> Average:
    """Computes the token error rate: edits per token of the references, as label error rates are.

        sum_i edit_distance(hypothesis_i, reference_i) / sum_i length(reference_i)

    Args:
      hypotheses: sequences of tokens, such as phones or ids.
      references: as many sequences of tokens.

    Returns:
      An `Average`; the rate may be above 1.

    Raises:
      TypeError: if an argument is not a sequence of sequences.
      ValueError: if there are not as many hypotheses as references.

    Example:
      >>> from recur.train import token_error_rate
      >>> token_error_rate([[1, 2, 3], [4]], [[1, 3], [4, 5]]).value().item()
      0.5
    """
    return _error_rate("token_error_rate", hypotheses, references, lambda tokens: tokens)


def word_error_rate(hypotheses: Sequence[str], references: Sequence[str]) -> Average:
    """Computes the word error rate (WER): edits of words per word of the references.

    Words are separated by white space. Normalize case and punctuation before.

    Args:
      hypotheses: texts.
      references: as many texts.

    Returns:
      An `Average`; the rate may be above 1.

    Raises:
      TypeError: if an argument is not a sequence of strings.
      ValueError: if there are not as many hypotheses as references.

    Example:
      >>> from recur.train import word_error_rate
      >>> word_error_rate(["the cat sat"], ["the cat sat down"]).value().item()
      0.25
    """
    _check_texts("word_error_rate", hypotheses=hypotheses, references=references)
    return _error_rate("word_error_rate", hypotheses, references, str.split)


def character_error_rate(hypotheses: Sequence[str], references: Sequence[str]) -> Average:
    """Computes the character error rate (CER): edits of characters per character of references.

    Spaces count, except for those before and after a text.

    Args:
      hypotheses: texts.
      references: as many texts.

    Returns:
      An `Average`; the rate may be above 1.

    Raises:
      TypeError: if an argument is not a sequence of strings.
      ValueError: if there are not as many hypotheses as references.

    Example:
      >>> from recur.train import character_error_rate
      >>> character_error_rate(["the cat"], ["the cart"]).value().item()
      0.125
    """
    _check_texts("character_error_rate", hypotheses=hypotheses, references=references)
    return _error_rate("character_error_rate", hypotheses, references, str.strip)


@jax.tree_util.register_dataclass
@dataclasses.dataclass(frozen=True)
class Bleu(Metric):
    """Counts of n-grams for the BLEU score of a corpus.

    Attributes:
      correct: `[4]`, int64, n-grams of 1 to 4 tokens that the references have too.
      total: `[4]`, int64, n-grams of the hypotheses.
      hypothesis_length: int, tokens of the hypotheses.
      reference_length: int, tokens of the references, of the closest length for each hypothesis.
    """

    correct: Any
    total: Any
    hypothesis_length: Any
    reference_length: Any

    def value(self) -> float:
        """Returns the BLEU score, from 0 to 100, by sacrebleu with its exponential smoothing."""
        from sacrebleu.metrics.bleu import BLEU

        lengths = int(self.hypothesis_length), int(self.reference_length)
        counts = [int(n) for n in self.correct], [int(n) for n in self.total]
        return BLEU.compute_bleu(*counts, *lengths, smooth_method="exp").score


def bleu(
    hypotheses: Sequence[str],
    references: Sequence[str] | Sequence[Sequence[str]],
    *,
    tokenize: str = "13a",
    lowercase: bool = False,
) -> Bleu:
    """Computes the BLEU score of translations, by sacrebleu.

    Counts of n-grams are added over batches, and the score is that of the whole corpus. It needs
    `pip install "recur-jax[metrics]"`.

    Args:
      hypotheses: texts, detokenized.
      references: a text for each hypothesis, or a list of texts for each, detokenized.
      tokenize: the tokenizer of sacrebleu: `"13a"`, `"intl"`, `"zh"`, `"char"`, `"none"`, or
        others that it documents.
      lowercase: whether case is ignored.

    Returns:
      A `Bleu`, whose value is from 0 to 100.

    Raises:
      TypeError: if hypotheses or references are not texts, or lowercase is not a bool.
      ValueError: if there are not as many hypotheses as references, a hypothesis has no reference,
        or sacrebleu has no such tokenizer.
      ImportError: if sacrebleu is not installed.

    Example:
      >>> from recur.train import bleu
      >>> first = bleu(["the cat sat on the mat"], ["the cat sat on a mat"])
      >>> second = bleu(["it is raining"], [["it is raining", "it rains"]])
      >>> round(first.merge(second).value(), 1)
      59.7

    References:
      Post 2018, A Call for Clarity in Reporting BLEU Scores, https://aclanthology.org/W18-6319
    """
    from sacrebleu.metrics.bleu import BLEU

    lowercase = check_flag("bleu: lowercase", lowercase)
    if tokenize not in BLEU.TOKENIZERS:
        known = ", ".join(BLEU.TOKENIZERS)
        raise ValueError(f"bleu: expected tokenize as one of {known}, got {tokenize!r}.")
    _check_texts("bleu", hypotheses=hypotheses)
    if isinstance(references, str) or not isinstance(references, Sequence):
        raise TypeError(f"bleu: expected references as a list, got {type(references).__name__}.")
    lists = [[each] if isinstance(each, str) else each for each in references]
    for each in lists:
        _check_texts("bleu", references=each)
        if not each:
            raise ValueError("bleu: expected at least one reference for each hypothesis, got none.")
    _check_count("bleu", hypotheses, references)
    if not lists:
        return Bleu(np.zeros(4, np.int64), np.zeros(4, np.int64), 0, 0)
    most = max(map(len, lists))
    streams: Any = [[each[i] if i < len(each) else None for each in lists] for i in range(most)]
    # force: no warning about texts that look tokenized
    scorer = BLEU(lowercase=lowercase, tokenize=tokenize, force=True)
    score = scorer.corpus_score(list(hypotheses), streams)
    counts = np.array(score.counts, np.int64), np.array(score.totals, np.int64)
    return Bleu(*counts, score.sys_len, score.ref_len)


def _error_rate(name: str, hypotheses: Any, references: Any, split: Any) -> Average:
    _check_count(name, hypotheses, references)
    edits = tokens = 0
    for hypothesis, reference in zip(hypotheses, references, strict=True):
        reference = split(_tokens(f"{name}: references", reference))
        edits += edit_distance(split(_tokens(f"{name}: hypotheses", hypothesis)), reference)
        tokens += len(reference)
    return Average(edits, tokens)


def _tokens(name: str, tokens: Any) -> Any:
    if isinstance(tokens, (np.ndarray, jax.Array)) and tokens.ndim == 1:
        return np.asarray(tokens).tolist()
    if not isinstance(tokens, Sequence):
        raise TypeError(f"{name}: expected a sequence of tokens, got {type(tokens).__name__}.")
    if not all(isinstance(token, Hashable) for token in tokens):
        raise TypeError(f"{name}: expected tokens that can be hashed, got {tokens!r:.60}.")
    return tokens


def _check_texts(name: str, **lists: Any) -> None:
    for argument, texts in lists.items():
        is_list = isinstance(texts, Sequence) and not isinstance(texts, str)
        if not is_list or not all(isinstance(text, str) for text in texts):
            raise TypeError(f"{name}: expected {argument} as a list of strings, got {texts!r:.60}.")


def _check_count(name: str, hypotheses: Any, references: Any) -> None:
    for argument, given in (("hypotheses", hypotheses), ("references", references)):
        if isinstance(given, str) or not isinstance(given, Sequence):
            raise TypeError(
                f"{name}: expected {argument} as a list, one for each sequence, got {given!r:.60}."
            )
    if len(hypotheses) != len(references):
        raise ValueError(
            f"{name}: expected as many hypotheses as references, got {len(hypotheses)} and "
            f"{len(references)}."
        )
