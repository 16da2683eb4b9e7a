"""N-gram models with dictionaries and plain recursion, and discounts as exact fractions.

Katz: S. M. Katz, "Estimation of probabilities from sparse data for the language model component of
a speech recognizer", 1987.
Kneser-Ney: R. Kneser & H. Ney, "Improved backing-off for m-gram language modeling", 1995; modified
and interpolated: S. F. Chen & J. Goodman, "An empirical study of smoothing techniques for language
modeling", 1999.
Additive, with a prior of shorter n-grams: D. J. C. MacKay & L. C. Bauman Peto, "A hierarchical
Dirichlet language model", 1995.

A model is a function p(w, h) of a token and a tuple of tokens, of any length.
"""

from collections import Counter, defaultdict
from fractions import Fraction
from functools import cache


def occurrences(documents, order):
    """Yield (k, n-gram, the token before it) for each n-gram that ends at d_1 ... d_n."""
    for number, document in enumerate(documents):
        tokens = [int(token) for token in document]
        for t in range(1, len(tokens)):
            for k in range(1, order + 1):
                begin = t - k + 1
                if begin >= 0:
                    front = tokens[begin - 1] if begin > 0 else f"the start of document {number}"
                    yield k, tuple(tokens[begin : t + 1]), front


def count(documents, order):
    """Return {k: {n-gram: how often}} and {k: {n-gram: how many different tokens in front}}."""
    counts, fronts = defaultdict(Counter), defaultdict(lambda: defaultdict(set))
    for k, gram, front in occurrences(documents, order):
        counts[k][gram] += 1
        fronts[k][gram].add(front)
    lefts = {k: {gram: len(f) for gram, f in of.items()} for k, of in fronts.items()}
    return counts, lefts


def after(counts, h):
    """Return {w: c(h w)} of the tokens that were seen after h."""
    return {gram[-1]: c for gram, c in counts.get(len(h) + 1, {}).items() if gram[:-1] == h}


def recursive(order, size, rule):
    """Return p(w, h) = rule(h, p)(w), where h is cut to n - 1 tokens and p_0 = 1 / V."""

    @cache
    def given(h):
        shorter = given(h[1:]) if h else (lambda w: 1 / size)
        return rule(h, shorter)

    def p(w, h):
        return given(tuple(h)[max(0, len(h) - order + 1) :])(w)

    return p


def additive(documents, order, size, alpha):
    """p(w | h) = (c(h w) + α p(w | h')) / (c(h) + α)."""
    counts, _ = count(documents, order)

    def rule(h, shorter):
        c = after(counts, h)
        return lambda w: (c.get(w, 0) + alpha * shorter(w)) / (sum(c.values()) + alpha)

    return recursive(order, size, rule)


def number_of(counts, r):
    """n_r: how many n-grams were counted r times."""
    return Fraction(sum(c == r for c in counts.values()))


def kneser_ney_discounts(counts, kind):
    """Return D(1), D(2), D(3+), and what they came from."""
    if not isinstance(kind, str):
        return (kind, kind, kind), "given"
    n = {r: number_of(counts, r) for r in (1, 2, 3, 4)}
    if n[1] == 0 or n[2] == 0:
        return (0.75, 0.75, 0.75), "fixed"
    y = n[1] / (n[1] + 2 * n[2])
    if kind == "modified" and n[3] and n[4]:
        modified = tuple(r - (r + 1) * y * n[r + 1] / n[r] for r in (1, 2, 3))
        if all(0 < d < r for r, d in enumerate(modified, start=1)):
            return tuple(float(d) for d in modified), "modified"
    return (float(y),) * 3, "one"


def kneser_ney(documents, order, size, kind):
    """p(w | h) = (c - D(c)) / c(h) + γ(h) p(w | h'), with c = N1+(· h w) below the top."""
    counts, lefts = count(documents, order)
    counted = {k: counts[k] if k == order else lefts.get(k, {}) for k in range(1, order + 1)}
    discounts = {k: kneser_ney_discounts(counted[k], kind)[0] for k in counted}

    def rule(h, shorter):
        c = after(counted, h)
        if not c:
            return shorter
        total = sum(c.values())
        d = {w: discounts[len(h) + 1][min(c[w], 3) - 1] for w in c}
        gamma = sum(d.values()) / total
        return lambda w: ((c[w] - d[w]) / total if w in c else 0) + gamma * shorter(w)

    return recursive(order, size, rule)


def good_turing(counts, largest):
    """Return {r: d_r} for r = 1 ... K, of the greatest K for which they are discounts; or {}."""
    for K in range(largest, 1, -1):
        n = {r: number_of(counts, r) for r in range(1, K + 2)}
        if all(n[r] for r in range(1, K + 1)):
            share = (K + 1) * n[K + 1] / n[1]
            if share < 1:
                star = {r: (r + 1) * n[r + 1] / n[r] for r in range(1, K + 1)}
                d = {r: (star[r] / r - share) / (1 - share) for r in star}
                if all(0 < value < 1 for value in d.values()):
                    return {r: float(value) for r, value in d.items()}
    return {}


def katz(documents, order, size, largest, least=1):
    """p(w | h) = d_c c / c(h) where h w was seen, else α(h) p(w | h')."""
    counts, _ = count(documents, order)
    discounts = {k: good_turing(counts[k], largest) for k in range(1, order + 1)}

    def rule(h, shorter):
        c = after(counts, h)
        k, total = len(h) + 1, sum(c.values())
        seen = {w for w in c if k < 3 or c[w] >= least}
        if not seen:
            return shorter
        if len(seen) == size:
            return lambda w: c[w] / total
        p = {w: discounts[k].get(c[w], 1) * c[w] / total for w in seen}
        if seen == set(c) and all(c[w] not in discounts[k] for w in seen):
            p = {w: c[w] / (total + 1) for w in seen}
        alpha = (1 - sum(p.values())) / (1 - sum(shorter(w) for w in seen))
        return lambda w: p[w] if w in seen else alpha * shorter(w)

    return recursive(order, size, rule)
