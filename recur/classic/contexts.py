"""Batches of context windows around the words of sentences, the training data of word2vec."""

from __future__ import annotations

import functools
from collections.abc import Iterator, Sequence
from typing import Any, NamedTuple

import numpy as np

from recur.checks import check_whole, is_number
from recur.classic.log_space import as_ids
from recur.classic.noise_distribution import check_counts
from recur.classic.word2vec import ContextWindows
from recur.sequences.stream_state import read_position
from recur.sequences.streams import checksum

_MOST_EPOCHS = 1000  # from which one batch may be drawn


class _Epoch(NamedTuple):
    """The words that an epoch keeps, and the order of its centers."""

    words: np.ndarray  # int32 [N]
    sentence: np.ndarray  # int32 [N], the sentence of each word
    reach: np.ndarray  # [N], the window size of each word
    order: np.ndarray  # [M], M ≤ N, the positions of the centers


class Contexts:
    """Iterates endlessly over batches of context windows for word2vec.

    As in word2vec.c, each epoch first drops frequent words at random (subsampling): a word of
    relative frequency f is kept with the probability

        sqrt(sample / f) + sample / f.

    Then it draws the window size of each word, uniformly from 1 to `window`, so that nearer words
    are in more windows. Windows do not cross sentences. Each word with a neighbour left is a center
    once per epoch, in random order; the last batch of an epoch is filled from the next. The seed
    determines all draws.

    Args:
      sentences: integer arrays, each the words of one sentence as ids of at least 0. Leave out
        words outside the vocabulary.
      batch_size: B, the number of windows in a batch, at most the number of words in all sentences.
      window: the largest number of words on each side; the contexts are `[B, 2 window]`.
      sample: the threshold for frequent words, typically 1e-3 to 1e-5; None keeps all words.
      seed: the seed of all random numbers, at least 0.

    Attributes:
      counts: the count of each id, for `unigram_noise`, int64 `[V]`.
      windows_per_epoch: the approximate mean number of windows in an epoch.

    Raises:
      TypeError: if sentences are not a list, or one does not hold integers.
      ValueError: if a sentence is not a vector of ids of at least 0, none has two words, or
        batch_size, window, sample or seed is out of range; when a batch is drawn, if `sample` keeps
        too few words.

    Example:
      >>> import numpy as np
      >>> from recur.classic import Contexts
      >>> sentences = [np.array([5, 6, 7]), np.array([8, 9])]
      >>> contexts = Contexts(sentences, batch_size=5, window=2, sample=None)
      >>> windows = next(contexts)
      >>> around = {
      ...     int(c): words[m].tolist()
      ...     for c, words, m in zip(windows.centers, windows.contexts, windows.mask)
      ... }
      >>> around[6], around[9]
      ([5, 7], [8])
    """

    def __init__(
        self,
        sentences: Sequence[np.ndarray],
        batch_size: int,
        *,
        window: int = 5,
        sample: float | None = 1e-3,
        seed: int = 0,
    ):
        self._batch_size = check_whole("Contexts: batch_size", batch_size, 1)
        self._window = check_whole("Contexts: window", window, 1)
        _check_sample("Contexts", sample)
        lengths = _check_sentences(sentences)
        self._words = np.concatenate(sentences).astype(np.int32)
        self._sentence = np.repeat(np.arange(len(lengths), dtype=np.int32), lengths)
        self._sample, self._seed = sample, check_whole("Contexts: seed", seed, 0)
        if self._batch_size > len(self._words):
            raise ValueError(
                f"Contexts: expected a batch_size of at most {len(self._words)}, the words of all "
                f"sentences, got {batch_size}. Pass more text, or a smaller batch_size."
            )
        self.counts = np.bincount(self._words)
        self._keep = keep_probability(self.counts, sample)
        self.windows_per_epoch = int(self.counts @ self._keep)
        self._at = (0, 0)  # the epoch, and the number of its windows drawn
        self._epoch = functools.lru_cache(maxsize=1)(self._draw_epoch)

    def get_state(self) -> dict[str, Any]:
        """Returns the position in the stream and its identity, as values for JSON."""
        epoch, done = self._at
        return {**self._identity, "epoch": epoch, "done": done}

    def set_state(self, state: dict[str, Any]) -> None:
        """Continues from the position that `get_state` returned.

        Raises:
          TypeError: if the state is not a dict.
          ValueError: if it is the state of a stream of other sentences or options.
        """
        position = read_position("Contexts.set_state", state, self._identity, "epoch", "done")
        self._at = (position[0], position[1])

    @functools.cached_property
    def _identity(self) -> dict[str, Any]:
        return {
            "batch_size": self._batch_size,
            "window": self._window,
            "sample": self._sample,
            "seed": self._seed,
            "checksum of sentences": checksum([self._words, self._sentence]),
        }

    def __iter__(self) -> Iterator[ContextWindows]:
        return self

    def __next__(self) -> ContextWindows:
        parts, missing, first = [], self._batch_size, self._at[0]
        while missing:
            epoch, done = self._at
            if epoch - first == _MOST_EPOCHS:
                raise ValueError(
                    f"Contexts: {_MOST_EPOCHS} epochs kept too few neighbours for a batch of "
                    f"{self._batch_size} words. Raise sample, or pass more text or a smaller "
                    "batch_size."
                )
            drawn = self._epoch(epoch)
            centers = drawn.order[done : done + missing]
            parts.append(self._around(drawn, centers))
            missing -= len(centers)
            self._at = (epoch, done + len(centers)) if not missing else (epoch + 1, 0)
        return ContextWindows(*map(np.concatenate, zip(*parts, strict=True)))

    def _draw_epoch(self, epoch: int) -> _Epoch:
        draws = np.random.default_rng((self._seed, epoch))
        kept = draws.random(len(self._words)) < self._keep[self._words]
        words, sentence = self._words[kept], self._sentence[kept]
        reach = draws.integers(1, self._window, len(words), endpoint=True)
        joined = sentence[1:] == sentence[:-1]
        has_neighbour = np.append(joined, False) | np.append(False, joined)[: len(words)]
        order = draws.permutation(np.flatnonzero(has_neighbour))
        return _Epoch(words, sentence, reach, order)

    def _around(self, drawn: _Epoch, centers: np.ndarray) -> ContextWindows:
        """The windows around the words at given positions."""
        away = np.arange(1, self._window + 1)
        away = np.concatenate([-away[::-1], away])
        places = centers[:, None] + away
        there = np.clip(places, 0, max(0, len(drawn.words) - 1))
        mask = (there == places) & (np.abs(away) <= drawn.reach[centers, None])
        mask &= drawn.sentence[there] == drawn.sentence[centers, None]
        contexts = np.where(mask, drawn.words[there], 0)
        return ContextWindows(drawn.words[centers], contexts, mask)


def keep_probability(counts: np.ndarray, sample: float | None) -> np.ndarray:
    """Computes the probability of keeping each word in the subsampling of frequent words.

        min(1, sqrt(sample / f_w) + sample / f_w),    f_w = count_w / Σ_w' count_w'

    Args:
      counts: `[V]`, the count of each word.
      sample: the threshold; None keeps all words.

    Returns:
      float64 `[V]`, as in word2vec.c. The paper's probability to drop a word, 1 - sqrt(sample / f),
      lacks the second term.

    Raises:
      TypeError: if counts are not numbers.
      ValueError: if counts are not a vector of numbers of at least 0, with one above 0, or sample
        is not a number above 0.

    Example:
      >>> from recur.classic import keep_probability
      >>> keep_probability([9, 1], sample=0.1).round(3).tolist()
      [0.444, 1.0]
    """
    counts = check_counts("keep_probability", counts)
    _check_sample("keep_probability", sample)
    if sample is None:
        return np.ones_like(counts)
    ratio = sample * counts.sum() / np.maximum(counts, 1)
    return np.minimum(1.0, np.sqrt(ratio) + ratio)


def _check_sample(caller: str, sample: Any) -> None:
    if sample is not None and not (is_number(sample) and 0 < sample < np.inf):
        raise ValueError(f"{caller}: expected sample above 0, or None, got {sample!r}.")


def _check_sentences(sentences: Sequence[np.ndarray]) -> list[int]:
    """Checks sentences, and returns their lengths."""
    if not isinstance(sentences, Sequence | np.ndarray):
        raise TypeError(
            f"Contexts: expected a list of sentences, got {type(sentences).__name__}. An iterator "
            "becomes a list with list(...)."
        )
    lengths = []
    for number, sentence in enumerate(sentences):
        sentence = np.asarray(as_ids(f"sentence {number}", sentence))
        if sentence.size and not np.issubdtype(sentence.dtype, np.integer):
            raise TypeError(f"sentence {number}: expected integer ids, got {sentence.dtype}.")
        if sentence.ndim != 1 or (sentence < 0).any():
            raise ValueError(
                f"sentence {number}: expected a vector of ids from 0 on, got {sentence}."
            )
        lengths.append(len(sentence))
    if max(lengths, default=0) < 2:
        raise ValueError(
            "Contexts: expected a sentence of at least two words, got none. Pass longer sentences."
        )
    return lengths
