"""Cells whose products are normalised, each by a norm of its own, as steps."""

import numpy as np

from recur_tests.oracles.nonlinear import sigmoid


def layer_norm(a, params, epsilon=1e-6):
    """LN(a) = (a - μ) / sqrt(σ² + ε) ⊙ scale + bias: J. L. Ba et al., arXiv:1607.06450."""
    return (a - a.mean()) / np.sqrt(a.var() + epsilon) * params["scale"] + params["bias"]


def bare_layer_norm(a, params, epsilon=1e-6):
    """LN(a) = (a - μ) / sqrt(σ² + ε)."""
    del params
    return (a - a.mean()) / np.sqrt(a.var() + epsilon)


def rms_norm(a, params, epsilon=1e-6):
    """RMS(a) = a / sqrt(Σ_i a_i² / n + ε) ⊙ scale: B. Zhang & R. Sennrich, arXiv:1910.07467."""
    return a / np.sqrt((a**2).mean() + epsilon) * params["scale"]


def normalized_elman(norm, activation=np.tanh):
    """h_t = φ(N(x_t W + b) + N'(h_{t-1} U))."""

    def stepped(params, h, x):
        cell = params.cell
        u = norm(x @ cell.kernel + cell.bias, params.input)
        h = activation(u + norm(h @ cell.recurrent_kernel, params.recurrent))
        return h, h

    return stepped


def normalized_gru(norm):
    """The GRU that resets after and keeps, each of its six products with a norm of its own.

    r_t = σ(N_r(x_t W_r + b_r) + N'_r(h_{t-1} U_r))
    z_t = σ(N_z(x_t W_z + b_z) + N'_z(h_{t-1} U_z))
    n_t = tanh(N_n(x_t W_n + b_n) + r_t ⊙ (N'_n(h_{t-1} U_n) + c))
    h_t = z_t ⊙ h_{t-1} + (1 - z_t) ⊙ n_t
    """

    def stepped(params, h, x):
        cell, of_u, of_m = params.cell, params.input, params.recurrent
        W, U, b = cell.kernel, cell.recurrent_kernel, cell.bias
        r = norm(x @ W.reset + b.reset, of_u.reset) + norm(h @ U.reset, of_m.reset)
        z = norm(x @ W.update + b.update, of_u.update) + norm(h @ U.update, of_m.update)
        u = norm(x @ W.candidate + b.candidate, of_u.candidate)
        m = norm(h @ U.candidate, of_m.candidate)
        n = np.tanh(u + sigmoid(r) * (m + cell.recurrent_bias))
        h = sigmoid(z) * h + (1.0 - sigmoid(z)) * n
        return h, h

    return stepped
