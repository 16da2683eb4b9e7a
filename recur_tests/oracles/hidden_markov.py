"""Hidden Markov models by enumeration of all paths; re-estimation after L. E. Baum et al., 1970.

Notation of L. R. Rabiner, "A Tutorial on Hidden Markov Models", 1989, in plain probabilities:
initial π_i, transition a_ij, and b[t, i] = p(x_t | s_t = i).
"""

from typing import NamedTuple

import numpy as np


class Enumerated(NamedTuple):
    likelihood: float  # Σ over paths
    alpha: np.ndarray  # [T, S], p(x_1 ... x_t, s_t = i)
    beta: np.ndarray  # [T, S], p(x_{t+1} ... x_T | s_t = i)
    gamma: np.ndarray  # [T, S], p(s_t = i | x), zeros when x is impossible
    xi: np.ndarray  # [T - 1, S, S], p(s_t = i, s_{t+1} = j | x), zeros when x is impossible
    best: np.ndarray  # [T], the likeliest path
    best_probability: float  # p(x, best)


def all_paths(states, steps):
    """[S^T, T], every sequence of states."""
    return np.indices((states,) * steps).reshape(steps, -1).T


def weights(start, transition, b, paths):
    """Π_t b[t, s_t] Π_t a[s_t, s_{t+1}] start[s_1] of each path."""
    seen = b[np.arange(len(b)), paths].prod(1)
    return start[paths[:, 0]] * transition[paths[:, :-1], paths[:, 1:]].prod(1) * seen


def enumerate_paths(initial, transition, b):
    """Everything about T ≥ 1 observations."""
    T, S = b.shape
    alpha, beta, gamma, xi = (np.zeros(s) for s in [(T, S), (T, S), (T, S), (T - 1, S, S)])
    for t in range(T):
        begun = all_paths(S, t + 1)
        np.add.at(alpha[t], begun[:, -1], weights(initial, transition, b[: t + 1], begun))
        rest = np.vstack([np.ones(S), b[t + 1 :]])  # from s_t on, x_t not counted
        ended = all_paths(S, T - t)
        np.add.at(beta[t], ended[:, 0], weights(np.ones(S), transition, rest, ended))
    paths = all_paths(S, T)
    joint = weights(initial, transition, b, paths)
    likelihood = joint.sum()
    if likelihood > 0:
        for t in range(T):
            np.add.at(gamma[t], paths[:, t], joint / likelihood)
        for t in range(T - 1):
            np.add.at(xi[t], (paths[:, t], paths[:, t + 1]), joint / likelihood)
    best = joint.argmax()
    return Enumerated(likelihood, alpha, beta, gamma, xi, paths[best], joint[best])


def scaled_forward(initial, transition, b):
    """[T, S], p(s_t = i | x_1 ... x_t), and log p(x), step by step with the scaling of Rabiner.

    α_t(j) = b[t, j] Σ_i α̂_{t-1}(i) a_ij,  α̂_t = α_t / Σ_i α_t(i),  log p(x) = Σ_t log Σ_i α_t(i)
    """
    expected, filtered, log_likelihood = initial, [], 0.0
    for seen in b:
        alpha = expected * seen
        log_likelihood += np.log(alpha.sum())
        filtered.append(alpha / alpha.sum())
        expected = filtered[-1] @ transition
    return np.array(filtered), log_likelihood


def reestimate(initial, transition, emission, sequences):
    """One round of Baum and Welch over sequences of symbols; rows without counts stay as they are.

    π_i = expected count of i at t = 1,  a_ij ∝ of i followed by j,  b_i(v) ∝ of v seen in i
    """
    counts = [np.zeros_like(old) for old in (initial, transition, emission)]
    for xs in sequences:
        found = enumerate_paths(initial, transition, emission[:, xs].T)
        counts[0] += found.gamma[0]
        counts[1] += found.xi.sum(0)
        for t, x in enumerate(xs):
            counts[2][:, x] += found.gamma[t]

    def shares(count, old):
        total = count.sum(-1, keepdims=True)
        return np.where(total > 0, count / np.where(total > 0, total, 1), old)

    return [shares(c, old) for c, old in zip(counts, (initial, transition, emission), strict=True)]
