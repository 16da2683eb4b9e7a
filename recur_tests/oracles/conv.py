"""Convolutional recurrences, in as many dimensions of space as the kernels have.

The LSTM: X. Shi et al., arXiv:1506.04214, equation 3. The GRU: N. Ballas et al., arXiv:1511.06432,
equations 5 to 8, in which z replaces the state; here it keeps it, as in Cho et al.
"""

import numpy as np

from recur_tests.oracles import gru as plain_gru
from recur_tests.oracles import lstm as plain_lstm
from recur_tests.oracles.nonlinear import sigmoid


def convolve(x, K):
    """K * x, [*space, F] of x [*space, C] and K [*size, C, F], zeros standing around x.

    y[p] = Σ_q x[p + q - r] K[q], with the middle r = (size - 1) / 2, rounded down.
    """
    space, size = x.shape[:-1], K.shape[:-2]
    y = np.zeros((*space, K.shape[-1]))
    for p in np.ndindex(space):
        for q in np.ndindex(size):
            at = tuple(i + j - (k - 1) // 2 for i, j, k in zip(p, q, size, strict=True))
            if all(0 <= i < n for i, n in zip(at, space, strict=True)):
                y[p] += x[at] @ K[q]
    return y


def conv_lstm(params, carry, xs, *, activation=np.tanh):
    """Return the last state, [*space, F] each, and the outputs [T, *space, F].

    i_t = σ(W_i * x_t + U_i * h_{t-1} + p_i ⊙ c_{t-1} + b_i)
    f_t = σ(W_f * x_t + U_f * h_{t-1} + p_f ⊙ c_{t-1} + b_f)
    c_t = f_t ⊙ c_{t-1} + i_t ⊙ φ(W_g * x_t + U_g * h_{t-1} + b_g)
    o_t = σ(W_o * x_t + U_o * h_{t-1} + p_o ⊙ c_t + b_o)
    h_t = o_t ⊙ φ(c_t)
    y_t = h_t
    """
    W, U = params.kernel, params.recurrent_kernel
    b = plain_lstm.NO_BIAS if params.bias is None else params.bias
    p = plain_lstm.NO_PEEPHOLE if params.peephole is None else params.peephole
    h, c, ys = carry.hidden, carry.cell, []
    for x in xs:
        i = sigmoid(convolve(x, W.input) + convolve(h, U.input) + p.input * c + b.input)
        f = sigmoid(convolve(x, W.forget) + convolve(h, U.forget) + p.forget * c + b.forget)
        g = activation(convolve(x, W.candidate) + convolve(h, U.candidate) + b.candidate)
        c = f * c + i * g
        o = sigmoid(convolve(x, W.output) + convolve(h, U.output) + p.output * c + b.output)
        h = o * activation(c)
        ys.append(h)
    return plain_lstm.State(h, c), np.stack(ys)


def conv_gru(params, carry, xs, *, activation=np.tanh):
    """Return the last state [*space, F] and the outputs [T, *space, F].

    r_t = σ(W_r * x_t + U_r * h_{t-1} + b_r)
    z_t = σ(W_z * x_t + U_z * h_{t-1} + b_z)
    n_t = φ(W_n * x_t + U_n * (r_t ⊙ h_{t-1}) + b_n)
    h_t = z_t ⊙ h_{t-1} + (1 - z_t) ⊙ n_t
    y_t = h_t
    """
    W, U = params.kernel, params.recurrent_kernel
    b = plain_gru.NO_BIAS if params.bias is None else params.bias
    h, ys = carry, []
    for x in xs:
        r = sigmoid(convolve(x, W.reset) + convolve(h, U.reset) + b.reset)
        z = sigmoid(convolve(x, W.update) + convolve(h, U.update) + b.update)
        n = activation(convolve(x, W.candidate) + convolve(r * h, U.candidate) + b.candidate)
        h = z * h + (1.0 - z) * n
        ys.append(h)
    return h, np.stack(ys)
