"""n-grams with additive smoothing, Katz's back-off, or Kneser & Ney's smoothing.

They are written here, on arrays, since no well-kept library has them: NLTK has no Katz, and needs
minutes where seconds do; KenLM, in C++, has the modified Kneser-Ney alone, on files of text.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np

from recur.checks import check_whole, is_number
from recur.classic.ngram_counts import Grams, count_grams
from recur.classic.ngram_model import Level, NGrams

_WHERE_COUNTS_ARE_FEW = 0.75


def additive(documents: Sequence[np.ndarray], order: int, size: int, alpha: float = 1.0) -> NGrams:
    """n-grams with `alpha` counts added to each context, spread as the shorter n-grams say.

        p(w | h) = (c(h w) + alpha p(w | h')) / (c(h) + alpha),    p(w | the empty h') = 1 / V

    c counts, c(h) is the sum of c(h v) over v, and h' is h without its first token. With order 1
    and alpha = V it is Laplace's rule, one more for each token.

    Args:
      documents: integer arrays of at least 2 tokens each, ids from 0 to size - 1: as of
        `recur.sequences.Streams`, the first token of a document is only read, never predicted.
      order: n, the length of the longest n-grams: the last n - 1 tokens are the context.
      size: V, the size of the vocabulary.
      alpha: above 0.

    Returns:
      An `NGrams`.

    Raises:
      TypeError: when a document does not hold integers.
      ValueError: when order, size or alpha is out of range, there is no document or one shorter
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
    """n-grams with interpolated Kneser-Ney smoothing, the modified one by default.

        p_k(w | h) = (c_k(h w) - D_k(h w)) / c_k(h) + g_k(h) p_{k-1}(w | h'),    p_0 = 1 / V
        g_k(h)     = sum over v of D_k(h v) / c_k(h)

    p(w | h) is p_k with k = order, or fewer where there is less to look back at; h' is h without
    its first token. The longest n-grams are counted as they are. Of a shorter one c_k(h w) is how
    many different tokens stand in front of it, since it is asked only where the longer one was
    rare; the start of a document counts as a token of its own each time. c_k(h) is the sum of
    c_k(h v) over v, and where it is 0, p_k = p_{k-1}.

    With n_r the number of k-grams whose count is r and Y = n_1 / (n_1 + 2 n_2), the discounts of
    the counts 1, 2 and 3 or more are

        modified:  D_1 = 1 - 2 Y n_2 / n_1,   D_2 = 2 - 3 Y n_3 / n_2,   D_3 = 3 - 4 Y n_4 / n_3
        one:       D_1 = D_2 = D_3 = Y

    In small corpora they may not be found: where not each n_r is above 0 and each D_r between 0
    and r, "modified" takes the one discount, and where n_1 or n_2 is 0, 0.75.

    Args:
      documents: as of `additive`.
      order: as of `additive`.
      size: V, the size of the vocabulary.
      discounts: "modified", "one", or a number above 0, and at most 1, for all lengths and counts.

    Returns:
      An `NGrams`.

    Raises:
      TypeError: when a document does not hold integers.
      ValueError: when order, size or discounts are out of range, there is no document or one
        shorter than 2, or an id is outside the vocabulary.

    Example:
      "Francisco" (3) is as frequent as the others, but only ever behind "San" (2):

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
    """n-grams that back off to shorter ones where they were never seen: Katz's model.

        p(w | h) = d_{c(h w)} c(h w) / c(h)    where c(h w) > 0, else a(h) p(w | h')
        a(h)     = (1 - sum of p(v | h)) / (1 - sum of p(v | h')),    both over v with c(h v) > 0

    c counts, c(h) is the sum of c(h v) over v, and h' is h without its first token; below the
    unigrams all tokens are alike. With n_r the number of k-grams whose count is r, counts up to
    K = `largest` are discounted as Good and Turing say, and those above are believed:

        d_r = (r* / r - s) / (1 - s),    r* = (r + 1) n_{r+1} / n_r,    s = (K + 1) n_{K+1} / n_1

    In small corpora this may give no discounts: then K, of the k-grams of that length, is the
    largest for which all d_r are between 0 and 1, and d_r = 1 when there is no such K. Where
    nothing was taken from the counts behind h, one more is set aside: p(w | h) = c(h w) /
    (c(h) + 1). Where all V tokens were seen behind h, nothing is taken.

    Args:
      documents: as of `additive`.
      order: as of `additive`.
      size: V, the size of the vocabulary.
      largest: K, at least 2: with K = 1, d_1 would be 0.
      least: n-grams of 3 tokens or more that were seen less often are taken for unseen. With 2,
        long n-grams predict better where most of them were seen once.

    Returns:
      An `NGrams`.

    Raises:
      TypeError: when a document does not hold integers.
      ValueError: when order, size, largest or least is out of range, there is no document or one
        shorter than 2, or an id is outside the vocabulary.

    Example:
      Behind 1, of 3 + 1 counts 1 is left for the unseen 0 and 1, and unigrams share it, 1 to 3:

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


def _counted(documents: Sequence[np.ndarray], order: int, size: int, asker: str) -> list[Grams]:
    order = check_whole(f"{asker}: order", order, 1)
    return count_grams(documents, order, check_whole(f"{asker}: size", size, 1))


def _interpolated(counted: list[Grams], size: int, split: Callable) -> NGrams:
    """Mixes each n-gram with the shorter ones.

    `split(grams, contexts, n)` says what each n-gram keeps, and what is set aside of each of the n
    contexts for the shorter ones.
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
    """n_0 ... n_most: whole numbers, so that no discount is 0 or not by rounding."""
    return np.bincount(np.minimum(counts, most + 1), minlength=most + 2)[: most + 1].tolist()


def _discounts(counts: np.ndarray, kind: str | float) -> np.ndarray:
    """What is taken from the counts 0, 1, 2 and from greater ones."""
    n = _counts_of_counts(counts, 4)
    if not isinstance(kind, str):
        return np.array([0, *[kind] * 3])
    if not (n[1] and n[2]):
        return np.array([0, *[_WHERE_COUNTS_ARE_FEW] * 3])
    both = n[1] + 2 * n[2]
    if kind == "modified" and n[3]:
        modified = [
            (r * n[r] * both - (r + 1) * n[1] * n[r + 1]) / (both * n[r]) for r in (1, 2, 3)
        ]
        if all(0 < discount < r for r, discount in enumerate(modified, start=1)):
            return np.array([0, *modified])
    return np.array([0, *[n[1] / both] * 3])


def _good_turing(counts: np.ndarray, largest: int) -> np.ndarray:
    """d_r for r = 0 ... largest, and 1 for all greater ones."""
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
