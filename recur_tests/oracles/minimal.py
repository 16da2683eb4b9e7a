"""minGRU and minLSTM: L. Feng et al., "Were RNNs all we needed?", arXiv:2410.01201."""

from types import SimpleNamespace

import numpy as np

from recur_tests.oracles.nonlinear import sigmoid

NO_GRU_BIAS = SimpleNamespace(update=0.0, candidate=0.0)
NO_LSTM_BIAS = SimpleNamespace(forget=0.0, input=0.0, candidate=0.0)


def identity(a):
    """The candidate as it is."""
    return a


def positive(a):
    """g(a) = a + 1/2 where a ≥ 0, σ(a) elsewhere: the candidate of the log-space form."""
    return np.where(a >= 0, a + 0.5, sigmoid(a))


def min_gru(params, carry, xs, *, activation=identity):
    """Return the last state [H] and the outputs [T, H].

    z_t = σ(x_t W_z + b_z)
    h̃_t = φ(x_t W_h + b_h)
    h_t = (1 - z_t) ⊙ h_{t-1} + z_t ⊙ h̃_t
    y_t = h_t
    """
    W, b = params.kernel, NO_GRU_BIAS if params.bias is None else params.bias
    h, ys = carry, []
    for x in xs:
        z = sigmoid(x @ W.update + b.update)
        new = activation(x @ W.candidate + b.candidate)
        h = (1.0 - z) * h + z * new
        ys.append(h)
    return h, np.stack(ys)


def min_lstm(params, carry, xs, *, activation=identity):
    """Return the last state [H] and the outputs [T, H].

    f_t = σ(x_t W_f + b_f)
    i_t = σ(x_t W_i + b_i)
    f'_t = f_t / (f_t + i_t),  i'_t = i_t / (f_t + i_t)
    h̃_t = φ(x_t W_h + b_h)
    h_t = f'_t ⊙ h_{t-1} + i'_t ⊙ h̃_t
    y_t = h_t
    """
    W, b = params.kernel, NO_LSTM_BIAS if params.bias is None else params.bias
    h, ys = carry, []
    for x in xs:
        f = sigmoid(x @ W.forget + b.forget)
        i = sigmoid(x @ W.input + b.input)
        new = activation(x @ W.candidate + b.candidate)
        h = f / (f + i) * h + i / (f + i) * new
        ys.append(h)
    return h, np.stack(ys)
