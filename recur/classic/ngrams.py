"""N-gram models with additive smoothing, Katz back-off, or Kneser-Ney smoothing.

They are implemented here on arrays because no maintained library has all of them: NLTK lacks Katz
and takes minutes instead of seconds; KenLM, in C++, has only modified Kneser-Ney, on text files.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np

from recur.checks import check_whole, is_number
from recur.classic.ngram_counts import Grams, count_grams
from recur.classic.ngram_model import Level, NGrams

_DEFAULT_DISCOUNT = 0.75  # where counts are too few to estimate one


def additive(documents: Sequence[np.ndarray], order: int, size: int, alpha: float = 1.0) -> NGrams:
    """Fits an n-gram model with additive smoothing, by the distribution of shorter n-grams.

        p(w | h) = (c(h w) + alpha p(w | h')) / (c(h) + alpha),    p(w | the empty h') = 1 / V

    c(h w) is the count of h w, c(h) is the sum of c(h v) over v, and h' is h without its first
    token. With order 1 and alpha = V it is Laplace smoothing, which adds one to each count.

    Args:
      documents: integer arrays of at least 2 tokens each, ids from 0 to size - 1. As for
        `recur.sequences.Streams`, the first token of a document is not predicted.
      order: n, the length of the longest n-grams; the context is the last n - 1 tokens.
      size: V, the size of the vocabulary.
      alpha: above 0.

    Returns:
      An `NGrams`.

    Raises:
      TypeError: if a document does not hold integers.
      ValueError: if order, size or alpha is out of range, there is no document or one shorter
        than 2, or an id is outside the vocabulary.

    Example:
      >>> import numpy as np
      >>> from recur.classic import additive
      >>> additive([np.array([0, 1, 2, 1, 1])], order=1, size=4, alpha=4).probabilities([]) * 8
      array([1., 4., 2., 1.])

    References:
      MacKay & Peto 1995, A hierarchical Dirichlet language model,
      https://doi.org/10.1017/S1351324900000218
    """
    if not is_number(alpha) or not 0 < alpha < np.inf:
        raise ValueError(f"additive: expected alpha above 0, got {alpha!r}.")

    def split(grams, contexts, n):
        return grams.counts, np.full(n, float(alpha))

    return _interpolated(_counted(documents, order, size, "additive"), size, split)


def kneser_ney(
    documents: Sequence[np.ndarray],
    order: int,
    size: int,
    *,
    discounts: str | float = "modified",
) -> NGrams:
    """Fits an n-gram model with interpolated Kneser-Ney smoothing, by default the modified one.

        p_k(w | h) = (c_k(h w) - D_k(h w)) / c_k(h) + g_k(h) p_{k-1}(w | h'),    p_0 = 1 / V
        g_k(h)     = sum over v of D_k(h v) / c_k(h)

    p(w | h) is p_k with k = order, or less if the context is shorter; h' is h without its first
    token. For the longest n-grams, c_k(h w) is the count. For shorter ones it is the number of
    distinct tokens that precede h w, since p_{k-1} is used only where the longer n-gram is rare;
    each start of a document counts as a distinct token. c_k(h) is the sum of c_k(h v) over v. If
    c_k(h) = 0, p_k = p_{k-1}.

    Let n_r be the number of k-grams with count r, and Y = n_1 / (n_1 + 2 n_2). The discounts of the
    counts 1, 2 and 3 or more are

        modified:  D_1 = 1 - 2 Y n_2 / n_1,   D_2 = 2 - 3 Y n_3 / n_2,   D_3 = 3 - 4 Y n_4 / n_3
        one:       D_1 = D_2 = D_3 = Y

    In small corpora these may be undefined. Unless all n_r are above 0 and each D_r is between 0
    and r, "modified" falls back to the one discount; if n_1 or n_2 is 0, the discount is 0.75.

    Args:
      documents: as for `additive`.
      order: as for `additive`.
      size: V, the size of the vocabulary.
      discounts: "modified", "one", or a number in (0, 1] for all lengths and counts.

    Returns:
      An `NGrams`.

    Raises:
      TypeError: if a document does not hold integers.
      ValueError: if order, size or discounts are out of range, there is no document or one
        shorter than 2, or an id is outside the vocabulary.

    Example:
      "Francisco" (3) is as frequent as the others, but occurs only after "San" (2):

      >>> import numpy as np
      >>> from recur.classic import kneser_ney
      >>> model = kneser_ney([np.array([0, 2, 3, 1, 2, 3, 0, 1, 0])], 2, 4, discounts=0.5)
      >>> model.probabilities([2]).round(2).tolist()
      [0.07, 0.07, 0.07, 0.79]
      >>> model.probabilities([]).round(2).tolist()
      [0.29, 0.29, 0.29, 0.14]

    References:
      Kneser & Ney 1995, Improved backing-off for m-gram language modeling,
      https://doi.org/10.1109/ICASSP.1995.479394; Chen & Goodman 1999, An empirical study of
      smoothing techniques for language modeling, https://doi.org/10.1006/csla.1999.0128
    """
    if isinstance(discounts, str):
        is_known = discounts in ("modified", "one")
    else:
        is_known = is_number(discounts) and 0 < discounts <= 1
    if not is_known:
        raise ValueError(
            'kneser_ney: expected discounts "modified", "one", or a number above 0 and at most 1, '
            f"got {discounts!r}."
        )

    def split(grams, contexts, n):
        of_count = _discounts(grams.lefts, discounts)
        taken = of_count[np.minimum(grams.lefts, 3)]
        return grams.lefts - taken, np.bincount(contexts, taken, n)

    return _interpolated(_counted(documents, order, size, "kneser_ney"), size, split)


def katz(
    documents: Sequence[np.ndarray], order: int, size: int, *, largest: int = 5, least: int = 1
) -> NGrams:
    """Fits an n-gram model with Katz back-off: unseen n-grams back off to shorter ones.

        p(w | h) = d_{c(h w)} c(h w) / c(h)    where c(h w) > 0, else a(h) p(w | h')
        a(h)     = (1 - sum of p(v | h)) / (1 - sum of p(v | h')),    both over v with c(h v) > 0

    c(h w) is the count of h w, c(h) is the sum of c(h v) over v, and h' is h without its first
    token; unigrams back off to the uniform distribution. Let n_r be the number of k-grams with
    count r. Counts up to K = `largest` are discounted by Good-Turing, larger ones are not:

        d_r = (r* / r - s) / (1 - s),    r* = (r + 1) n_{r+1} / n_r,    s = (K + 1) n_{K+1} / n_1

    In small corpora the discounts may be invalid. Then K, for the k-grams of that length, is the
    largest for which all d_r are between 0 and 1; if there is none, d_r = 1. If no count after h is
    discounted, one count is reserved: p(w | h) = c(h w) / (c(h) + 1). If all V tokens were seen
    after h, no count is discounted.

    Args:
      documents: as for `additive`.
      order: as for `additive`.
      size: V, the size of the vocabulary.
      largest: K, at least 2: with K = 1, d_1 would be 0.
      least: n-grams of 3 tokens or more with a lower count are treated as unseen. With 2, long
        n-grams predict better if most of them were seen once.

    Returns:
      An `NGrams`.

    Raises:
      TypeError: if a document does not hold integers.
      ValueError: if order, size, largest or least is out of range, there is no document or one
        shorter than 2, or an id is outside the vocabulary.

    Example:
      After 1, one of 3 + 1 counts is reserved for the unseen tokens 0 and 1, which share it 1 to 3
      by their unigrams:

      >>> import numpy as np
      >>> from recur.classic import katz
      >>> model = katz([np.array([0, 1, 2, 1, 2, 1, 3])], order=2, size=4)
      >>> model.probabilities([1]).round(3).tolist()
      [0.062, 0.188, 0.5, 0.25]

    References:
      Katz 1987, Estimation of probabilities from sparse data for the language model component of a
      speech recognizer, https://doi.org/10.1109/TASSP.1987.1165125
    """
    largest = check_whole("katz: largest", largest, 2)
    least = check_whole("katz: least", least, 1)
    counted = _counted(documents, order, size, "katz")
    levels: list[Level] = []
    below = np.array([1 / size])
    for length, grams in enumerate(counted, start=1):
        contexts, n = grams.keys // size, len(below)
        seen = grams.counts >= (least if length > 2 else 1)
        full = np.bincount(contexts, seen, n) == size
        ratios = _good_turing(grams.counts, largest)[np.minimum(grams.counts, largest + 1)]
        kept = seen * grams.counts * np.where(full[contexts], 1.0, ratios)
        reserve = np.bincount(contexts, grams.counts - kept, n)
        reserve[(reserve == 0) & ~full] = 1
        total = np.bincount(contexts, kept, n) + reserve
        room = 1 - np.bincount(contexts, seen * below[grams.suffixes], n)
        weights = reserve / (total * np.where(full, 1.0, room))
        backed_off = weights[contexts] * below[grams.suffixes]
        below = np.where(seen, kept / total[contexts], backed_off)
        levels.append(Level(grams.keys, below, np.append(weights, 1.0)))
    return NGrams(size, tuple(levels))


def _counted(documents: Sequence[np.ndarray], order: int, size: int, caller: str) -> list[Grams]:
    order = check_whole(f"{caller}: order", order, 1)
    return count_grams(documents, order, check_whole(f"{caller}: size", size, 1))


def _interpolated(counted: list[Grams], size: int, split: Callable) -> NGrams:
    """Interpolates n-grams of each length with the shorter ones.

    `split(grams, contexts, n)` returns the count that each n-gram keeps, and the count that each of
    the n contexts reserves for shorter n-grams.
    """
    levels: list[Level] = []
    below = np.array([1 / size])
    for grams in counted:
        contexts, n = grams.keys // size, len(below)
        kept, reserve = split(grams, contexts, n)
        total = np.bincount(contexts, kept, n) + reserve
        weights = np.divide(reserve, total, out=np.ones(n), where=total > 0)
        below = kept / total[contexts] + weights[contexts] * below[grams.suffixes]
        levels.append(Level(grams.keys, below, np.append(weights, 1.0)))
    return NGrams(size, tuple(levels))


def _counts_of_counts(counts: np.ndarray, most: int) -> list[int]:
    """n_0 ... n_most, as Python integers, so that comparisons with 0 are exact."""
    return np.bincount(np.minimum(counts, most + 1), minlength=most + 2)[: most + 1].tolist()


def _discounts(counts: np.ndarray, kind: str | float) -> np.ndarray:
    """The discounts D_r of the counts r = 0, 1, 2 and of greater ones."""
    n = _counts_of_counts(counts, 4)
    if not isinstance(kind, str):
        return np.array([0, *[kind] * 3])
    if not (n[1] and n[2]):
        return np.array([0, *[_DEFAULT_DISCOUNT] * 3])
    both = n[1] + 2 * n[2]
    if kind == "modified" and n[3]:
        modified = [
            (r * n[r] * both - (r + 1) * n[1] * n[r + 1]) / (both * n[r]) for r in (1, 2, 3)
        ]
        if all(0 < discount < r for r, discount in enumerate(modified, start=1)):
            return np.array([0, *modified])
    return np.array([0, *[n[1] / both] * 3])


def _good_turing(counts: np.ndarray, largest: int) -> np.ndarray:
    """The Good-Turing ratios d_r for r = 0 ... largest, and 1 for greater counts."""
    n = _counts_of_counts(counts, largest + 1)
    ratios = np.ones(largest + 2)
    for most in range(largest, 1, -1):
        above = (most + 1) * n[most + 1]  # s n_1
        if all(n[1 : most + 1]) and above < n[1]:
            found = [
                ((r + 1) * n[r + 1] * n[1] - r * n[r] * above) / (r * n[r] * (n[1] - above))
                for r in range(1, most + 1)
            ]
            if all(0 < ratio < 1 for ratio in found):
                ratios[1 : most + 1] = found
                break
    return ratios
