"""Word vectors: nearest words, analogies, saving and loading, and PCA."""

from __future__ import annotations

import dataclasses
import difflib
import functools
import os
from collections.abc import Iterable, Sequence
from typing import Any

import numpy as np

from recur.arrays import as_reals
from recur.checks import check_whole
from recur.classic.vectors_file import read_vectors, write_vectors
from recur.dtypes import at_least_float32


@dataclasses.dataclass(frozen=True, eq=False)
class WordVectors:
    """Word vectors, with nearest words, analogies and cosine similarity.

    Attributes:
      words: the V words, each once.
      matrix: the vectors, a row for each word, `[V, D]` of at least float32.

    Raises:
      TypeError: if a word is not a string, or the matrix does not hold floats.
      ValueError: if there is not one row for each word, a number is not finite, or a word occurs
        twice.

    Example:
      >>> import numpy as np
      >>> from recur.classic import WordVectors
      >>> vectors = WordVectors(
      ...     ("man", "woman", "king", "queen"),
      ...     np.array([[-1.0, 0.0, 1.0], [1.0, 0.0, 1.0], [-1.0, 2.0, 1.0], [1.0, 2.0, 1.0]]),
      ... )
      >>> [word for word, cosine in vectors.nearest("king", 2)]
      ['queen', 'man']
      >>> vectors.analogy("man", "woman", "king", 1)[0][0]
      'queen'
    """

    words: tuple[str, ...]
    matrix: np.ndarray

    def __post_init__(self) -> None:
        object.__setattr__(self, "words", tuple(_check_words("WordVectors", "words", self.words)))
        matrix = as_reals("WordVectors: matrix", self.matrix)
        object.__setattr__(self, "matrix", at_least_float32(matrix))
        if not np.issubdtype(self.matrix.dtype, np.floating):
            raise TypeError(f"WordVectors: expected a matrix of floats, got {self.matrix.dtype}.")
        if self.matrix.ndim != 2 or len(self.matrix) != len(self.words):
            raise ValueError(
                f"WordVectors: expected a row for each of the {len(self.words)} words, got a "
                f"matrix of shape {list(self.matrix.shape)}."
            )
        if not np.isfinite(self.matrix).all():
            word = self.words[np.flatnonzero(~np.isfinite(self.matrix).all(1))[0]]
            raise ValueError(f"WordVectors: expected finite numbers, got others for {word!r}.")
        if len(self._ids) != len(self.words):
            again = next(word for i, word in enumerate(self.words) if self._ids[word] != i)
            raise ValueError(f"WordVectors: expected each word once, got {again!r} again.")

    def __len__(self) -> int:
        """V, the number of words."""
        return len(self.words)

    def __contains__(self, word: object) -> bool:
        """Whether a word has a vector."""
        return isinstance(word, str) and word in self._ids

    def __getitem__(self, word: str) -> np.ndarray:
        """Returns the vector of a word, `[D]`.

        Raises:
          TypeError: if the word is not a string.
          ValueError: if the word has no vector; it names words of similar spelling.
        """
        return self.matrix[self._id(word)]

    def nearest(self, near: str | np.ndarray, n: int = 10) -> list[tuple[str, float]]:
        """Finds the words whose vectors have the highest cosine similarity with a vector.

        Args:
          near: a word, which is excluded from the result, or a vector `[D]`.
          n: the number of words to return.

        Returns:
          Pairs of a word and its cosine, the nearest first.

        Raises:
          TypeError: if `near` is neither a word nor a vector of numbers.
          ValueError: if the word has no vector, the vector has another size or is not finite, or n
            is below 1.
        """
        if isinstance(near, str):
            return self._highest(self.unit @ self.unit[self._id(near)], n, [near])
        near = as_reals("nearest: a vector", near)
        if near.shape != self.matrix.shape[1:]:
            raise ValueError(
                f"nearest: expected a word, or a vector of {self.matrix.shape[1]} numbers, got the "
                f"shape {list(near.shape)}."
            )
        if not np.isfinite(near).all():
            raise ValueError(f"nearest: expected a vector of finite numbers, got {near.tolist()}.")
        return self._highest(self.unit @ _unit(near), n)

    def analogy(self, a: str, b: str, c: str, n: int = 1) -> list[tuple[str, float]]:
        """Solves the analogy "a is to b as c is to ...".

            argmax_w cos(v_w, v_b / |v_b| - v_a / |v_a| + v_c / |v_c|)

        Args:
          a: a word, such as "man".
          b: a word, such as "woman".
          c: a word, such as "king".
          n: the number of words to return.

        Returns:
          Pairs of a word and its cosine, the nearest first, without a, b and c.

        Raises:
          TypeError: if a word is not a string.
          ValueError: if a word has no vector, or n is below 1.

        References:
          Mikolov, Yih & Zweig, Linguistic Regularities in Continuous Space Word Representations,
          2013, https://aclanthology.org/N13-1090/
        """
        ours, theirs, third = (self.unit[self._id(word)] for word in (a, b, c))
        return self._highest(self.unit @ _unit(theirs - ours + third), n, [a, b, c])

    def similarity(self, a: str, b: str) -> float:
        """Computes the cosine similarity of two words.

        Raises:
          TypeError: if a word is not a string.
          ValueError: if a word has no vector.
        """
        return float(self.unit[self._id(a)] @ self.unit[self._id(b)])

    def save(self, path: str | os.PathLike) -> None:
        """Saves the word vectors to a file, atomically.

        `numpy.load` can read it too. It holds `matrix`; `utf8`, the concatenated UTF-8 of all
        words; and `ends`, the end of each word in it.

        Raises:
          OSError: if the file cannot be written; an old file is then unchanged.
          ValueError: if the path is a file that `save` did not write.
        """
        write_vectors(path, self.words, self.matrix)

    @classmethod
    def load(cls, path: str | os.PathLike) -> WordVectors:
        """Loads word vectors from a file that `save` wrote.

        Raises:
          OSError: if the file cannot be read.
          ValueError: if `save` did not write it.
        """
        words, matrix = read_vectors(path)
        try:
            return cls(words, matrix)
        except (TypeError, ValueError) as error:
            raise ValueError(
                f"{path}: expected a file that WordVectors.save wrote, got another one ({error})."
            ) from error

    @functools.cached_property
    def unit(self) -> np.ndarray:
        """The vectors scaled to unit length, `[V, D]`, so that their products are cosines."""
        return _unit(self.matrix)

    @functools.cached_property
    def _ids(self) -> dict[str, int]:
        return {word: i for i, word in enumerate(self.words)}

    def _id(self, word: str) -> int:
        if not isinstance(word, str):
            raise TypeError(f"WordVectors: expected a word as a string, got {word!r}.")
        if word not in self._ids:
            near = difflib.get_close_matches(word, self.words, n=3)
            hint = f" Did you mean {' or '.join(map(repr, near))}?" if near else ""
            raise ValueError(f"{word!r} is none of the {len(self)} words with a vector.{hint}")
        return self._ids[word]

    def _highest(
        self, cosines: np.ndarray, n: int, without: Sequence[str] = ()
    ) -> list[tuple[str, float]]:
        n = check_whole("how many words", n, 1)
        order = np.argsort(-cosines, kind="stable")[: n + len(without)]
        found = [(self.words[i], float(cosines[i])) for i in order if self.words[i] not in without]
        return found[:n]


def as_embedding(
    vectors: WordVectors, tokens: Sequence[str] | None = None
) -> dict[str, np.ndarray]:
    """Converts word vectors to the params of a `flax.linen.Embed`.

    Args:
      vectors: the vectors.
      tokens: the tokens of the model in the order of their ids, such as `Tokenizer.tokens`; by
        default the words of the vectors. A token without a vector gets the mean of all vectors.

    Returns:
      `{"embedding": [V, D]}`, to replace the params of the model's Embed.

    Raises:
      TypeError: if `vectors` are not `WordVectors`, or tokens are not strings.
      ValueError: if there are no tokens or no vectors.

    Example:
      >>> import jax, numpy as np, recur
      >>> from flax import linen as nn
      >>> from recur.classic import WordVectors, as_embedding
      >>> vectors = WordVectors(("so", "what"), np.array([[1.0, 2.0], [3.0, 4.0]]))
      >>> tokens = ["<unk>", "what", "so"]
      >>> model = recur.chain(nn.Embed(len(tokens), 2), recur.scan(recur.gru(4)))
      >>> _, *rest = model.init(jax.random.key(0), np.array([0, 1, 2]))
      >>> params = (as_embedding(vectors, tokens), *rest)
      >>> model(params, np.array([1, 2])).shape, params[0]["embedding"].tolist()
      ((2, 4), [[2.0, 3.0], [3.0, 4.0], [1.0, 2.0]])
    """
    if not isinstance(vectors, WordVectors):
        raise TypeError(f"as_embedding: expected WordVectors, got {type(vectors).__name__}.")
    if not len(vectors):
        raise ValueError("as_embedding: expected at least one vector, got none.")
    if tokens is None:
        return {"embedding": vectors.matrix}
    tokens = _check_words("as_embedding", "tokens", tokens)
    if not tokens:
        raise ValueError("as_embedding: expected at least one token, got none.")
    mean = vectors.matrix.mean(0)
    return {"embedding": np.stack([vectors[t] if t in vectors else mean for t in tokens])}


def pca(points: np.ndarray, n: int = 2) -> np.ndarray:
    """Projects points onto their principal components (PCA).

        X - mean = U S Wᵀ,    Y = (X - mean) W_{1..n}

    The sign of each component is chosen such that its largest weight is positive.

    Args:
      points: float `[N, D]`, such as rows of `WordVectors.matrix`.
      n: the number of components, at most N and D.

    Returns:
      `[N, n]`.

    Raises:
      TypeError: if the points are not numbers.
      ValueError: if n is below 1, or the points are not a matrix, not finite, or have fewer than n
        rows or columns.

    Example:
      >>> import numpy as np
      >>> from recur.classic import pca
      >>> pca(np.array([[0.0, 1.0], [2.0, 1.0], [4.0, 1.0]]), n=1).tolist()
      [[-2.0], [0.0], [2.0]]
    """
    points, n = at_least_float32(as_reals("pca: points", points)), check_whole("pca: n", n, 1)
    if points.ndim != 2 or n > min(points.shape):
        raise ValueError(
            f"pca: expected points [N, D] of at least {n} rows and columns, got "
            f"{list(points.shape)}."
        )
    if not np.isfinite(points).all():
        raise ValueError("pca: expected points of finite numbers, got others.")
    centered = points - points.mean(0)
    components = np.linalg.svd(centered, full_matrices=False)[2][:n]
    largest = np.take_along_axis(components, np.abs(components).argmax(1)[:, None], 1)
    return centered @ (components * np.sign(largest)).T


def _check_words(caller: str, name: str, words: Any) -> list[str]:
    """Returns `words` as a list; raises a TypeError unless they are a sequence of strings."""
    if isinstance(words, str) or not isinstance(words, Iterable):
        raise TypeError(f"{caller}: expected {name} as a sequence of strings, got {words!r}.")
    listed = list(words)
    for word in listed:
        if not isinstance(word, str):
            raise TypeError(f"{caller}: expected {name} as strings, got {word!r}.")
    return listed


def _unit(vectors: np.ndarray) -> np.ndarray:
    """Vectors `[..., D]` scaled to length 1; zeros stay zero."""
    lengths = np.linalg.norm(vectors, axis=-1, keepdims=True)
    return vectors / np.where(lengths > 0, lengths, np.ones_like(lengths))
