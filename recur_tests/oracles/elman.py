"""The Elman (simple recurrent) network: J. L. Elman, "Finding structure in time", 1990."""

import numpy as np


def elman(params, carry, xs, *, activation=np.tanh):
    """Return the last state [H] and the outputs [T, H].

    h_t = σ(x_t W + h_{t-1} U + b)
    y_t = h_t
    """
    W, U = params.kernel, params.recurrent_kernel
    b = 0.0 if params.bias is None else params.bias
    xs, h = np.asarray(xs, np.float64), np.asarray(carry, np.float64)
    ys = np.empty((len(xs), h.size))
    for t, x in enumerate(xs):
        h = activation(x @ W + h @ U + b)
        ys[t] = h
    return h, ys
