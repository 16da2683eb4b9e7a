"""The recurrent highway network: J. G. Zilly et al., arXiv:1607.03474."""

from types import SimpleNamespace

import numpy as np

from recur_tests.oracles.nonlinear import sigmoid

NO_BIAS = SimpleNamespace(candidate=0.0, transform=0.0)


def recurrent_highway(params, carry, xs, *, activation=np.tanh):
    """Return the last state [H] and the outputs [T, H].

    Equations 6 to 9, with the carry gate 1 - t:

    s^0 = h_{t-1}
    p^l = φ([l = 1] x_t W_p + s^{l-1} U_p^l + b_p^l)
    t^l = σ([l = 1] x_t W_t + s^{l-1} U_t^l + b_t^l)
    s^l = p^l ⊙ t^l + s^{l-1} ⊙ (1 - t^l),   l = 1 ... L
    h_t = y_t = s^L
    """
    W, U = params.kernel, params.recurrent_kernel
    b = [NO_BIAS] * len(U) if params.bias is None else params.bias
    s, ys = carry, []
    for x in xs:
        for level in range(len(U)):
            seen = 1.0 if level == 0 else 0.0
            p = seen * (x @ W.candidate) + s @ U[level].candidate + b[level].candidate
            t = seen * (x @ W.transform) + s @ U[level].transform + b[level].transform
            s = activation(p) * sigmoid(t) + s * (1.0 - sigmoid(t))
        ys.append(s)
    return s, np.stack(ys)
