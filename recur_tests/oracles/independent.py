"""The independently recurrent network: S. Li et al., arXiv:1803.04831."""

import numpy as np

from recur_tests.oracles.nonlinear import relu


def indrnn(params, carry, xs, *, activation=relu):
    """Return the last state [H] and the outputs [T, H].

    h_t = φ(x_t W + u ⊙ h_{t-1} + b)
    y_t = h_t
    """
    W, u = params.kernel, params.recurrent
    b = 0.0 if params.bias is None else params.bias
    h, ys = carry, []
    for x in xs:
        h = activation(x @ W + u * h + b)
        ys.append(h)
    return h, np.stack(ys)
