"""Long short-term memory: S. Hochreiter & J. Schmidhuber, "Long short-term memory", 1997.

The forget gate: F. A. Gers, J. Schmidhuber & F. Cummins, "Learning to forget", 2000.
Peepholes: F. A. Gers & J. Schmidhuber, "Recurrent nets that time and count", 2000.
"""

from types import SimpleNamespace
from typing import NamedTuple

import numpy as np

from recur_tests.oracles.nonlinear import sigmoid

NO_BIAS = SimpleNamespace(input=0.0, forget=0.0, candidate=0.0, output=0.0)
NO_PEEPHOLE = SimpleNamespace(input=0.0, forget=0.0, output=0.0)

PEEK = {
    None: lambda c, p: 0.0,
    "diagonal": lambda c, p: c * p,
    "full": lambda c, p: c @ p,
}


class State(NamedTuple):
    """h_t [H] and c_t [H]."""

    hidden: np.ndarray
    cell: np.ndarray


def lstm(params, carry, xs, *, peepholes=None):
    """Return the last state and the outputs [T, H].

    i_t = σ(x_t W_i + h_{t-1} U_i + b_i + peek(c_{t-1}, P_i))
    f_t = σ(x_t W_f + h_{t-1} U_f + b_f + peek(c_{t-1}, P_f))
    g_t = tanh(x_t W_g + h_{t-1} U_g + b_g)
    c_t = f_t ⊙ c_{t-1} + i_t ⊙ g_t
    o_t = σ(x_t W_o + h_{t-1} U_o + b_o + peek(c_t, P_o))
    h_t = o_t ⊙ tanh(c_t)
    y_t = h_t

    where peek(c, P) is 0 without peepholes, c ⊙ P when "diagonal" (P [H], the published form),
    and c P when "full" (P [H, H], the gates reading the concatenation [c, h, x]).
    """
    W, U = params.kernel, params.recurrent_kernel
    b = NO_BIAS if params.bias is None else params.bias
    P = NO_PEEPHOLE if peepholes is None else params.peephole
    peek = PEEK[peepholes]
    xs = np.asarray(xs, np.float64)
    h, c = np.asarray(carry.hidden, np.float64), np.asarray(carry.cell, np.float64)
    ys = np.empty((len(xs), h.size))
    for t, x in enumerate(xs):
        i = sigmoid(x @ W.input + h @ U.input + b.input + peek(c, P.input))
        f = sigmoid(x @ W.forget + h @ U.forget + b.forget + peek(c, P.forget))
        g = np.tanh(x @ W.candidate + h @ U.candidate + b.candidate)
        c = f * c + i * g
        o = sigmoid(x @ W.output + h @ U.output + b.output + peek(c, P.output))
        h = o * np.tanh(c)
        ys[t] = h
    return State(h, c), ys
