"""An n-gram language model: lookup tables, for any smoothing method."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from typing import NamedTuple

import numpy as np

from recur.checks import check_ids, check_whole
from recur.classic.ngram_counts import NONE, contexts_of, find, join_tokens


class Level(NamedTuple):
    """The table of the G n-grams of one length.

    Attributes:
      keys: the n-grams in increasing order, each (number of its context h) V + w, int64 `[G]`.
      probabilities: p(w | h) of each n-gram, float64 `[G]`.
      weights: the weight of each context h, float64; the last is 1, for unseen contexts.
    """

    keys: np.ndarray
    probabilities: np.ndarray
    weights: np.ndarray


@dataclasses.dataclass(frozen=True, eq=False)
class NGrams:
    """An n-gram language model, as `additive`, `kneser_ney` and `katz` return it.

        p(w | h) = the table's value if h w was seen, else weight(h) p(w | h')

    h' is h without its first token. All smoothing methods here have this form.

    Attributes:
      size: V, the size of the vocabulary.
      levels: the tables of the n-grams of lengths 1 (all V tokens), 2, ..., order.

    Example:
      >>> import numpy as np
      >>> from recur.classic import kneser_ney
      >>> text = np.array([0, 1, 2, 1, 2, 1, 2, 3])
      >>> model = kneser_ney([text], order=3, size=4)
      >>> model.probabilities([2, 1]).round(2).tolist()
      [0.0, 0.02, 0.96, 0.01]
      >>> [nats.round(2).tolist() for nats in model.nats([text[:3], text[4:]])]
      [[0.38, 0.08], [0.73, 0.04, 1.22]]
    """

    size: int
    levels: tuple[Level, ...]

    @property
    def order(self) -> int:
        """The length n of the longest n-grams."""
        return len(self.levels)

    def probabilities(self, context: Sequence[int]) -> np.ndarray:
        """Computes the distribution of the next token after a context.

        Args:
          context: ids from 0 to V - 1, in order, possibly none; only the last order - 1 are used.

        Returns:
          float64 `[V]`.

        Raises:
          TypeError: if an id is not an integer.
          ValueError: if an id is outside the vocabulary.
        """
        contexts = [0] + [NONE] * (self.order - 1)  # the numbers of the last 0, 1, 2, ... tokens
        tokens = check_ids("context", context, self.size)
        for token in tokens[max(0, len(tokens) - self.order + 1) :]:
            longer = zip(self.levels[:-1], contexts, strict=False)
            contexts = [0, *(int(find(level.keys, h, token, self.size)) for level, h in longer)]
        p = np.full(self.size, 1 / self.size)
        for level, h in zip(self.levels, contexts, strict=True):
            p *= level.weights[h]
            seen = slice(*np.searchsorted(level.keys, [h * self.size, (h + 1) * self.size]))
            p[level.keys[seen] - h * self.size] = level.probabilities[seen]
        return p

    def nats(self, documents: Sequence[np.ndarray]) -> list[np.ndarray]:
        """Computes the negative log likelihood of each token of documents, in nats.

            l_t = -log p(d_t | d_0 ... d_{t-1}),    t = 1 ... n

        Args:
          documents: as for `recur.sequences.Streams`: the first token of each is not predicted.

        Returns:
          float64 `[n]` for each document d_0 ... d_n.

        Raises:
          TypeError: if a document does not hold integers.
          ValueError: if a document is shorter than 2, or an id outside the vocabulary.
        """
        line = join_tokens(documents, self.size)
        p = np.full(len(line.tokens), 1 / self.size)
        contexts = np.zeros(len(line.tokens), np.int64)
        for level in self.levels:
            numbers = find(level.keys, contexts, line.tokens, self.size)
            p *= level.weights[contexts]
            seen = numbers != NONE
            p[seen] = level.probabilities[numbers[seen]]
            contexts = contexts_of(numbers, line)
        nats = np.split(-np.log(p), np.flatnonzero(line.starts)[1:])
        return [of_document[1:] for of_document in nats]

    def perplexity(self, documents: Sequence[np.ndarray]) -> float:
        """Computes the perplexity, `exp` of the mean of `nats` over all tokens of all documents.

        Args:
          documents: as for `nats`.

        Returns:
          The perplexity.

        Raises:
          TypeError: as `nats`.
          ValueError: as `nats`.
        """
        return float(np.exp(np.concatenate(self.nats(documents)).mean()))

    def sample(
        self,
        context: Sequence[int],
        *,
        max_tokens: int,
        eos: int | None = None,
        forbidden: Sequence[int] = (),
        seed: int = 0,
    ) -> np.ndarray:
        """Samples a sequence of tokens.

        Args:
          context: the tokens before the first one, as for `probabilities`.
          max_tokens: the largest number of tokens to sample.
          eos: the end-of-sequence token; it is not part of the result.
          forbidden: tokens that are never sampled.
          seed: the seed of the samples, at least 0.

        Returns:
          int64 `[max_tokens]`, or fewer if `eos` was sampled.

        Raises:
          TypeError: if an id is not an integer.
          ValueError: if an id is outside the vocabulary, all tokens are forbidden, or max_tokens or
            seed is not a whole number of at least 0.
        """
        ruled_out = check_ids("forbidden", forbidden, self.size)
        max_tokens = check_whole("max_tokens", max_tokens, 0)
        if eos is not None:
            [eos] = check_ids("eos", [check_whole("eos", eos, 0)], self.size)
        if len(set(ruled_out)) == self.size:
            raise ValueError(f"forbidden: all {self.size} tokens, so none can be drawn.")
        draws = np.random.default_rng(check_whole("seed", seed, 0))
        tokens = check_ids("context", context, self.size)
        begin = len(tokens)
        for _ in range(max_tokens):
            p = self.probabilities(tokens[-self.order :])
            p[ruled_out] = 0
            token = int(draws.choice(self.size, p=p / p.sum()))
            if token == eos:
                break
            tokens.append(token)
        return np.array(tokens[begin:], np.int64)
