"""The update gate RNN (UGRNN): J. Collins, J. Sohl-Dickstein & D. Sussillo, arXiv:1611.09913."""

from types import SimpleNamespace

import numpy as np

from recur_tests.oracles.nonlinear import relu, sigmoid

NO_BIAS = SimpleNamespace(update=0.0, candidate=0.0)


def ugrnn(params, carry, xs, *, activation=relu):
    """Return the last state [H] and the outputs [T, H].

    z_t  = σ(x_t W_z + h_{t-1} U_z + b_z)
    h̄_t  = φ(x_t W_h + h_{t-1} U_h + b_h)
    h_t  = z_t ⊙ h_{t-1} + (1 - z_t) ⊙ h̄_t
    y_t  = h_t
    """
    W, U = params.kernel, params.recurrent_kernel
    b = NO_BIAS if params.bias is None else params.bias
    xs, h = np.asarray(xs, np.float64), np.asarray(carry, np.float64)
    ys = np.empty((len(xs), h.size))
    for t, x in enumerate(xs):
        z = sigmoid(x @ W.update + h @ U.update + b.update)
        candidate = activation(x @ W.candidate + h @ U.candidate + b.candidate)
        h = z * h + (1.0 - z) * candidate
        ys[t] = h
    return h, ys
