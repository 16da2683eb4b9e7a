"""The Jordan network: M. I. Jordan, "Serial order", ICS Report 8604, 1986."""

import numpy as np


def jordan(params, carry, xs, *, activation=np.tanh, output_activation=np.tanh):
    """Return the last output [O], which is the state, and the outputs [T, O].

    h_t = σ_h(x_t W + y_{t-1} U + b)
    y_t = σ_y(h_t V + c)
    """
    W, U, V = params.kernel, params.feedback_kernel, params.output_kernel
    b = 0.0 if params.bias is None else params.bias
    c = 0.0 if params.output_bias is None else params.output_bias
    xs, y = np.asarray(xs, np.float64), np.asarray(carry, np.float64)
    ys = np.empty((len(xs), y.size))
    for t, x in enumerate(xs):
        h = activation(x @ W + y @ U + b)
        y = output_activation(h @ V + c)
        ys[t] = y
    return y, ys
