"""Skip-gram and CBOW with negative sampling, one pair of words at a time, and their gradients.

T. Mikolov, I. Sutskever, K. Chen, G. Corrado & J. Dean, "Distributed representations of words and
phrases and their compositionality", 2013, equation 4; the gradients as in X. Rong, "word2vec
parameter learning explained", 2014, equations 56-61.

`v` [V, D] are the vectors of words that predict, `u` [V, D] of those that are predicted. `windows`
is a list of (center, contexts): a word, and the words around it.
"""

import numpy as np

from recur_tests.oracles.nonlinear import sigmoid


def pair(h, u, center, negatives):
    """Return -log σ(u_o · h) - Σ_k log σ(-u_k · h), its gradient in h, and those in u by word.

    ∂/∂(u_j · h) = σ(u_j · h) - t_j,  t_o = 1 and t_k = 0; a negative that is o itself is left out.
    """
    loss, dh, du = 0.0, np.zeros_like(h), []
    for word, true in [(center, 1.0), *((k, 0.0) for k in negatives if k != center)]:
        likely = sigmoid(u[word] @ h)
        loss -= np.log(likely if true else 1 - likely)
        error = likely - true
        dh = dh + error * u[word]
        du.append((word, error * h))
    return loss, dh, du


def skip_gram(v, u, windows, negatives, weights):
    """Return the loss of each pair, in a list for each window, and gradients of Σ weight · loss.

    Each context predicts the center by itself: h = v_c. `weights` are as the losses.
    """
    losses, dv, du = [], np.zeros_like(v), np.zeros_like(u)
    for (center, contexts), drawn, row in zip(windows, negatives, weights, strict=True):
        losses.append([])
        for c, weight in zip(contexts, row, strict=True):
            loss, dh, moved = pair(v[c], u, center, drawn)
            losses[-1].append(loss)
            dv[c] += weight * dh
            for word, change in moved:
                du[word] += weight * change
    return losses, dv, du


def cbow(v, u, windows, negatives, weights):
    """Return the loss of each window, 0 of one without contexts, and gradients of Σ weight · loss.

    All contexts predict the center together: h = 1/C Σ_c v_c.
    """
    losses, dv, du = [], np.zeros_like(v), np.zeros_like(u)
    for (center, contexts), drawn, weight in zip(windows, negatives, weights, strict=True):
        if not contexts:
            losses.append(0.0)
            continue
        loss, dh, moved = pair(np.mean([v[c] for c in contexts], axis=0), u, center, drawn)
        losses.append(loss)
        for c in contexts:
            dv[c] += weight * dh / len(contexts)
        for word, change in moved:
            du[word] += weight * change
    return losses, dv, du
