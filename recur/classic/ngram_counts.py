"""Counts of the n-grams in documents, the input of all smoothing methods."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np

from recur.sequences.streams import check_documents

NONE = -1  # the number of an unseen n-gram


class Line(NamedTuple):
    """Concatenated documents."""

    tokens: np.ndarray  # int64 [N]
    starts: np.ndarray  # bool [N], the first token of each document, which is never predicted


class Grams(NamedTuple):
    """The distinct n-grams of one length, numbered in the order of their keys.

    An n-gram consists of a context, which is the n-gram of all but its last token, and its last
    token. Its key is the number of the context times V, plus the token.
    """

    keys: np.ndarray  # int64 [G], increasing
    suffixes: np.ndarray  # int64 [G], the number of the n-gram without its first token
    counts: np.ndarray  # int64 [G]
    lefts: np.ndarray  # int64 [G], distinct preceding tokens; the counts at the greatest length


def count_grams(documents: Sequence[np.ndarray], order: int, size: int) -> list[Grams]:
    """Counts the n-grams of lengths 1 to order that end at a token to predict.

    N-grams do not cross the starts of documents. At the start of a document, where no token
    precedes an n-gram, `lefts` counts each occurrence.

    Args:
      documents: as for `recur.sequences.Streams`; ids from 0 to size - 1.
      order: the greatest length.
      size: V. All V tokens are unigrams, even with a count of 0; the number of a token is its id.

    Returns:
      A `Grams` for each length.

    Raises:
      TypeError: if a document does not hold integers.
      ValueError: if a document is shorter than 2, or an id outside the vocabulary.

    Example:
      >>> import numpy as np
      >>> from recur.classic.ngram_counts import count_grams
      >>> unigrams, bigrams = count_grams([np.array([0, 1, 2, 1, 2])], order=2, size=3)
      >>> unigrams.counts.tolist(), unigrams.lefts.tolist()
      ([0, 2, 2], [0, 2, 1])
      >>> [divmod(key, 3) for key in bigrams.keys.tolist()], bigrams.counts.tolist()
      ([(0, 1), (1, 2), (2, 1)], [1, 2, 1])
    """
    line = join_tokens(documents, size)
    predicted = ~line.starts
    numbers, none = line.tokens, np.zeros(size, np.int64)
    counts = np.bincount(line.tokens[predicted], minlength=size)
    levels = [Grams(np.arange(size), none, counts, counts)]
    for _ in range(order - 1):
        contexts = contexts_of(numbers, line)
        there = np.flatnonzero(contexts != NONE)
        keys, first, inverse, counts = np.unique(
            contexts[there] * size + line.tokens[there],
            return_index=True,
            return_inverse=True,
            return_counts=True,
        )
        suffixes = numbers[there[first]]
        longer = np.full_like(numbers, NONE)
        longer[there] = inverse
        begins = numbers[predicted & (numbers != NONE) & (longer == NONE)]
        shorter = len(levels[-1].keys)
        lefts = np.bincount(suffixes, minlength=shorter) + np.bincount(begins, minlength=shorter)
        levels[-1] = levels[-1]._replace(lefts=lefts)
        levels.append(Grams(keys, suffixes, counts, counts))
        numbers = longer
    return levels


def contexts_of(numbers: np.ndarray, line: Line) -> np.ndarray:
    """The number of the n-gram that ends before each token, given those that end at each."""
    before = np.roll(numbers, 1)
    before[line.starts] = NONE
    return before


def find(
    keys: np.ndarray, contexts: np.ndarray | int, tokens: np.ndarray | int, size: int
) -> np.ndarray:
    """The numbers of the n-grams of contexts and tokens; `NONE` for unseen n-grams."""
    wanted = contexts * size + tokens  # below all keys where the context is NONE
    at = np.searchsorted(keys, wanted)
    return np.where(np.searchsorted(keys, wanted, side="right") > at, at, NONE)


def join_tokens(documents: Sequence[np.ndarray], size: int) -> Line:
    """Checks documents and concatenates them."""
    check_documents(documents)
    arrays = [np.asarray(document, np.int64) for document in documents]
    for number, document in enumerate(arrays):
        outside = np.flatnonzero((document < 0) | (document >= size))
        if len(outside):
            raise ValueError(
                f"document {number}: expected ids from 0 to {size - 1}, the size of the vocabulary "
                f"less 1, got {document[outside[0]]} at position {outside[0]}."
            )
    line = Line(np.concatenate(arrays), np.zeros(sum(map(len, arrays)), bool))
    line.starts[np.cumsum([0, *map(len, arrays[:-1])])] = True
    return line
