"""The gated recurrent unit: K. Cho et al., arXiv:1406.1078.

With the update gate in the opposite sense: J. Chung et al., arXiv:1412.3555.
"""

from types import SimpleNamespace

import numpy as np

from recur_tests.oracles.nonlinear import sigmoid

NO_BIAS = SimpleNamespace(reset=0.0, update=0.0, candidate=0.0)

CANDIDATE = {
    "before": lambda xw, r, h, U, d: np.tanh(xw + (r * h) @ U),
    "after": lambda xw, r, h, U, d: np.tanh(xw + r * (h @ U + d)),
}

UPDATE = {
    "keep": lambda z, h, n: (1.0 - z) * n + z * h,
    "replace": lambda z, h, n: (1.0 - z) * h + z * n,
}


def gru(params, carry, xs, *, reset="before", update="keep"):
    """Return the last state [H] and the outputs [T, H].

    r_t = σ(x_t W_r + h_{t-1} U_r + b_r)
    z_t = σ(x_t W_z + h_{t-1} U_z + b_z)
    n_t = tanh(x_t W_n + b_n + (r_t ⊙ h_{t-1}) U_n)        reset "before" the product
    n_t = tanh(x_t W_n + b_n + r_t ⊙ (h_{t-1} U_n + d))    reset "after" it, as cuDNN
    h_t = (1 - z_t) ⊙ n_t + z_t ⊙ h_{t-1}                  z "keeps" the state (Cho)
    h_t = (1 - z_t) ⊙ h_{t-1} + z_t ⊙ n_t                  z "replaces" it (Chung)
    y_t = h_t
    """
    W, U = params.kernel, params.recurrent_kernel
    b = NO_BIAS if params.bias is None else params.bias
    d = 0.0 if params.recurrent_bias is None else params.recurrent_bias
    xs, h = np.asarray(xs, np.float64), np.asarray(carry, np.float64)
    ys = np.empty((len(xs), h.size))
    for t, x in enumerate(xs):
        r = sigmoid(x @ W.reset + h @ U.reset + b.reset)
        z = sigmoid(x @ W.update + h @ U.update + b.update)
        n = CANDIDATE[reset](x @ W.candidate + b.candidate, r, h, U.candidate, d)
        h = UPDATE[update](z, h, n)
        ys[t] = h
    return h, ys
