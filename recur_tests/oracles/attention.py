"""Attention to the rows of a memory [S, D], around the step of a cell."""

import numpy as np

from recur_tests.oracles.combinators import Fed, hidden_of


def energy(params, q, m, score):
    """How well a query q fits a row m of the memory.

    w · tanh(q W_q + m W_m)         additive: D. Bahdanau et al., arXiv:1409.0473, appendix A
    q · (m W_m)                     multiplicative: M.-T. Luong et al., arXiv:1508.04025, "general"
    (q W_q) · (m W_m) / sqrt(A)     dot: A. Vaswani et al., arXiv:1706.03762, equation 1
    """
    key = m @ params.memory_kernel
    if score == "multiplicative":
        return q @ key
    if score == "additive":
        return params.vector @ np.tanh(q @ params.query_kernel + key)
    return (q @ params.query_kernel) @ key / np.sqrt(len(key))


def look(params, q, memory, valid, score):
    """α_j = exp(e_j) / Σ_k exp(e_k) over the valid rows, 0 elsewhere; and c = Σ_j α_j m_j."""
    weights, context = np.zeros(len(memory)), np.zeros(memory.shape[1])
    rows = [j for j in range(len(memory)) if valid is None or valid[j]]
    scores = [np.exp(energy(params, q, memory[j], score)) for j in rows]
    for j, s in zip(rows, scores, strict=True):
        weights[j] = s / sum(scores)
        context = context + weights[j] * memory[j]
    return weights, context


def attend(step, memory, valid=None, *, score="additive", query="output", feed_input=False):
    """Return y_t = (output_t, weights_t [S], context_t [D]).

    query "output", Luong et al.: q = v_t, what the cell gives for x_t, or with `feed_input` for
    [x_t, output_{t-1}]; output_t = tanh([c_t, v_t] W_c)
    query "state", Bahdanau et al.: q = h_{t-1}, and the cell reads [x_t, c_t]; output_t = v_t
    """

    def of_output(params, carry, x):
        carry, v = step(params.cell, carry, x)
        weights, context = look(params, v, memory, valid, score)
        output = np.tanh(np.concatenate([context, v]) @ params.output_kernel)
        return carry, (output, weights, context)

    def fed(params, carry, x):
        inner, y = of_output(params, carry.cell, np.concatenate([x, carry.output]))
        return Fed(inner, y[0]), y

    def of_state(params, carry, x):
        weights, context = look(params, hidden_of(carry), memory, valid, score)
        carry, v = step(params.cell, carry, np.concatenate([x, context]))
        return carry, (v, weights, context)

    if query == "state":
        return of_state
    return fed if feed_input else of_output


def soft_window(step, memory, valid=None):
    """Return y_t = (v_t, φ_t [U], w_t [D]); the carry is (that of the cell, κ_t, w_t).

    A. Graves, arXiv:1308.0850, equations 46-52, for the first layer.
    """

    def next_step(params, carry, x):
        inner, position, window = carry
        inner, v = step(params.cell, inner, np.concatenate([x, window]))
        hat = [v @ kernel + bias for kernel, bias in zip(params.kernel, params.bias, strict=True)]
        a, b = np.exp(hat[0]), np.exp(hat[1])
        position = position + np.exp(hat[2])
        phi = np.zeros(len(memory))
        for u in range(len(memory)):
            if valid is None or valid[u]:
                for k in range(len(a)):
                    phi[u] += a[k] * np.exp(-b[k] * (position[k] - (u + 1)) ** 2)
        window = sum((phi[u] * memory[u] for u in range(len(memory)) if phi[u]), 0 * window)
        return (inner, position, window), (v, phi, window)

    return next_step
