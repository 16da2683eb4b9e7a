"""Searching for the likeliest sequences: all of them, or by a beam, with lists and sorting.

The length penalty: Y. Wu et al., "Google's Neural Machine Translation System: Bridging the Gap
between Human and Machine Translation", 2016, section 7 (equation 14, without coverage).

`logits_after(tokens)` gives the logits [V] of the token behind a tuple of tokens. A hypothesis is
(score, log p, tokens), its tokens without the one that stopped it; the best come first.
"""

import numpy as np


def log_softmax(logits):
    """Return log p; -inf for all where all logits are."""
    largest = logits.max()
    if largest == -np.inf:
        return logits
    return logits - largest - np.log(np.exp(logits - largest).sum())


def penalized(log_p, n, alpha):
    """Return s(Y, X) = log P(Y|X) / lp(Y), with lp(Y) = (5 + |Y|)^α / (5 + 1)^α."""
    return log_p / ((5 + n) ** alpha / (5 + 1) ** alpha)


def extensions(logits_after, tokens, stop, forbidden, least):
    """Return (token, log p) of what may follow, in the order of the tokens."""
    log_p = log_softmax(np.asarray(logits_after(tokens), np.float64))
    barred = set(forbidden) | ({stop} if len(tokens) < least else set())
    return [(v, gain) for v, gain in enumerate(log_p) if v not in barred and gain > -np.inf]


def exhaustive(logits_after, steps, stop=None, alpha=0.0, forbidden=(), least=0):
    """Return all hypotheses there are."""
    found = []

    def go_on(tokens, log_p):
        if len(tokens) == steps:
            found.append((penalized(log_p, steps, alpha), log_p, tokens))
            return
        for token, gain in extensions(logits_after, tokens, stop, forbidden, least):
            if token == stop:
                score = penalized(log_p + gain, len(tokens) + 1, alpha)
                found.append((score, log_p + gain, tokens))
            else:
                go_on((*tokens, token), log_p + gain)

    go_on((), 0.0)
    return sorted(found, key=lambda hypothesis: -hypothesis[0])


def beam_search(logits_after, width, steps, stop=None, alpha=0.0, forbidden=(), least=0):
    """Return the best `width` hypotheses that a beam finds; it is followed to its end.

    Of all extensions of the live ones the `width` likeliest are looked at for those that stop, and
    the `width` likeliest that do not stop live on.
    """
    live, finished = [(0.0, ())], []
    for n in range(1, steps + 1):
        extended = [
            (log_p + gain, tokens, token)
            for log_p, tokens in live
            for token, gain in extensions(logits_after, tokens, stop, forbidden, least)
        ]
        extended.sort(key=lambda candidate: -candidate[0])
        finished += [
            (penalized(log_p, n, alpha), log_p, tokens)
            for log_p, tokens, token in extended[:width]
            if token == stop
        ]
        going = [candidate for candidate in extended if candidate[2] != stop]
        live = [(log_p, (*tokens, token)) for log_p, tokens, token in going[:width]]
    finished += [(penalized(log_p, steps, alpha), log_p, tokens) for log_p, tokens in live]
    return sorted(finished, key=lambda hypothesis: -hypothesis[0])[:width]
