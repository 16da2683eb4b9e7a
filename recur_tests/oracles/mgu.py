"""The minimal gated unit: G.-B. Zhou et al., arXiv:1603.09420."""

from types import SimpleNamespace

import numpy as np

from recur_tests.oracles.nonlinear import sigmoid

NO_BIAS = SimpleNamespace(forget=0.0, candidate=0.0)

CANDIDATE = {
    "before": lambda xw, f, h, U: xw + (f * h) @ U,
    "after": lambda xw, f, h, U: xw + f * (h @ U),
}


def mgu(params, carry, xs, *, reset="before", activation=np.tanh):
    """Return the last state [H] and the outputs [T, H].

    f_t = σ(x_t W_f + h_{t-1} U_f + b_f)
    h̃_t = φ(x_t W_h + b_h + (f_t ⊙ h_{t-1}) U_h)      reset "before" the product, as published
    h̃_t = φ(x_t W_h + b_h + f_t ⊙ (h_{t-1} U_h))      reset "after" it
    h_t = (1 - f_t) ⊙ h_{t-1} + f_t ⊙ h̃_t
    y_t = h_t
    """
    W, U = params.kernel, params.recurrent_kernel
    b = NO_BIAS if params.bias is None else params.bias
    h, ys = carry, []
    for x in xs:
        f = sigmoid(x @ W.forget + h @ U.forget + b.forget)
        new = activation(CANDIDATE[reset](x @ W.candidate + b.candidate, f, h, U.candidate))
        h = (1.0 - f) * h + f * new
        ys.append(h)
    return h, np.stack(ys)
