"""Search for the most likely sequences, exhaustive or by a beam, with lists and sorting.

The length penalty: Y. Wu et al., "Google's Neural Machine Translation System: Bridging the Gap
between Human and Machine Translation", 2016, section 7 (equation 14, without coverage).

`logits_after(tokens)` gives the logits [V] of the token after a tuple of tokens. A hypothesis is
(score, log p, tokens), without the token that ended it; the best come first.
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


def extensions(logits_after, tokens, eos, forbidden, min_tokens):
    """Return (token, log p) of what may follow, in the order of the tokens."""
    log_p = log_softmax(np.asarray(logits_after(tokens), np.float64))
    barred = set(forbidden) | ({eos} if len(tokens) < min_tokens else set())
    return [(v, gain) for v, gain in enumerate(log_p) if v not in barred and gain > -np.inf]


def exhaustive(logits_after, max_tokens, eos=None, alpha=0.0, forbidden=(), min_tokens=0):
    """Return all hypotheses there are."""
    found = []

    def go_on(tokens, log_p):
        if len(tokens) == max_tokens:
            found.append((penalized(log_p, max_tokens, alpha), log_p, tokens))
            return
        for token, gain in extensions(logits_after, tokens, eos, forbidden, min_tokens):
            if token == eos:
                score = penalized(log_p + gain, len(tokens) + 1, alpha)
                found.append((score, log_p + gain, tokens))
            else:
                go_on((*tokens, token), log_p + gain)

    go_on((), 0.0)
    return sorted(found, key=lambda hypothesis: -hypothesis[0])


def beam_search(
    logits_after, num_beams, max_tokens, eos=None, alpha=0.0, forbidden=(), min_tokens=0
):
    """Return the best `num_beams` hypotheses that a beam finds; it is followed to its end.

    Of all extensions of the live ones the `num_beams` most likely are searched for those that end,
    and the `num_beams` most likely that do not end stay live.
    """
    live, finished = [(0.0, ())], []
    for n in range(1, max_tokens + 1):
        extended = [
            (log_p + gain, tokens, token)
            for log_p, tokens in live
            for token, gain in extensions(logits_after, tokens, eos, forbidden, min_tokens)
        ]
        extended.sort(key=lambda candidate: -candidate[0])
        finished += [
            (penalized(log_p, n, alpha), log_p, tokens)
            for log_p, tokens, token in extended[:num_beams]
            if token == eos
        ]
        going = [candidate for candidate in extended if candidate[2] != eos]
        live = [(log_p, (*tokens, token)) for log_p, tokens, token in going[:num_beams]]
    finished += [(penalized(log_p, max_tokens, alpha), log_p, tokens) for log_p, tokens in live]
    return sorted(finished, key=lambda hypothesis: -hypothesis[0])[:num_beams]
