"""The noise distribution for negative sampling in word2vec, and fast sampling from it."""

from __future__ import annotations

from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from recur.arrays import as_reals
from recur.checks import check_number, check_whole
from recur.keys import check_key


class NoiseDistribution(NamedTuple):
    """A distribution over V words, as alias tables by Walker's method.

    Attributes:
      kept: the probability that an index represents its own word, float32 `[V]`.
      other: the word that it represents otherwise, int32 `[V]`.

    Example:
      >>> from recur.classic import unigram_noise
      >>> unigram_noise([1, 3], power=1).other.tolist()
      [1, 1]
    """

    kept: Any
    other: Any


def unigram_noise(counts: np.ndarray, power: float = 0.75) -> NoiseDistribution:
    """Makes the noise distribution for negative sampling: word counts raised to a power.

        P(w) = count_w^power / Σ_w' count_w'^power

    Args:
      counts: `[V]`, the count of each word, on the host. A word of count 0 is never drawn.
      power: 1 gives the distribution of the text, 0 the uniform distribution over words that
        occur; below 1, rare words are drawn more often than in the text.

    Returns:
      A `NoiseDistribution`, for `draw_noise`.

    Raises:
      TypeError: if counts are not numbers.
      ValueError: if counts are not a vector of numbers of at least 0, with one above 0, or power is
        not a finite number.

    Example:
      >>> from recur.classic import unigram_noise
      >>> unigram_noise([1, 1, 2], power=1).kept.tolist()
      [0.75, 0.75, 1.0]

    References:
      Walker, An Efficient Method for Generating Discrete Random Variables with General
      Distributions, 1977, https://doi.org/10.1145/355744.355749
    """
    counts = check_counts("unigram_noise", counts)
    power = check_number("unigram_noise: power", power)
    weights = np.where(counts > 0, counts, 1.0) ** power * (counts > 0)
    left = weights / weights.mean()  # of 1 per index; the excess of a word fills other indices
    other = np.arange(len(left), dtype=np.int32)
    kept = np.ones(len(left), np.float32)
    poor, rich = list(np.flatnonzero(left < 1)), list(np.flatnonzero(left >= 1))
    while poor and rich:
        place, giver = poor.pop(), rich[-1]
        kept[place], other[place] = left[place], giver
        left[giver] -= 1 - left[place]
        if left[giver] < 1:
            poor.append(rich.pop())
    return NoiseDistribution(kept, other)


def draw_noise(key: jax.Array, noise: NoiseDistribution, shape: tuple[int, ...]) -> jax.Array:
    """Samples negative words from a noise distribution.

    Args:
      key: a typed key.
      noise: from `unigram_noise`.
      shape: the shape of the samples.

    Returns:
      int32 of that shape.

    Raises:
      TypeError: if `key` is not a typed key, `noise` is not a `NoiseDistribution`, or `shape` is
        not a tuple.
      ValueError: if a size in `shape` is not a whole number of at least 0.

    Example:
      >>> import jax
      >>> from recur.classic import draw_noise, unigram_noise
      >>> draw_noise(jax.random.key(0), unigram_noise([0, 5, 0]), (4,)).tolist()
      [1, 1, 1, 1]
    """
    check_noise("draw_noise", noise)
    if not isinstance(shape, tuple | list):
        raise TypeError(f"draw_noise: expected shape as a tuple of whole numbers, got {shape!r}.")
    shape = tuple(check_whole("draw_noise: a size in shape", size, 0) for size in shape)
    place_key, keep_key = jax.random.split(check_key(key))
    kept, other = jnp.asarray(noise.kept), jnp.asarray(noise.other)
    place = jax.random.randint(place_key, shape, 0, len(kept), jnp.int32)
    keeps = jax.random.uniform(keep_key, shape, kept.dtype) < kept[place]
    return jnp.where(keeps, place, other[place])


def check_counts(caller: str, counts: Any) -> np.ndarray:
    """Checks word counts, and returns them as float64 `[V]`.

    Raises:
      TypeError: if they are not numbers.
      ValueError: if they are not a vector of numbers of at least 0, with one above 0.
    """
    array = as_reals(f"{caller}: counts", counts).astype(np.float64)
    if array.ndim != 1 or not (np.isfinite(array) & (array >= 0)).all() or not array.sum() > 0:
        raise ValueError(
            f"{caller}: expected the count of each word, [V] numbers of at least 0 with one above "
            f"0, got {counts}."
        )
    return array


def check_noise(caller: str, noise: Any) -> None:
    """Raises a TypeError unless `noise` is a NoiseDistribution."""
    if not isinstance(noise, NoiseDistribution):
        raise TypeError(
            f"{caller}: expected noise as a NoiseDistribution, as unigram_noise makes it, got "
            f"{type(noise).__name__}."
        )
