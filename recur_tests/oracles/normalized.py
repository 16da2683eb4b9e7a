"""Steps of cells with a separate normalization of each product."""

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
    """h_t = φ(N(x_t W) + N'(h_{t-1} U) + b): Ba et al., with the bias outside of the norms."""

    def stepped(params, h, x):
        cell, [of_u], [of_m] = params
        u, m = norm(x @ cell.kernel, of_u), norm(h @ cell.recurrent_kernel, of_m)
        h = activation(u + m + cell.bias)
        return h, h

    return stepped


def normalized_gru(norm):
    """The GRU that resets after and keeps, each of its six products with a norm of its own.

    r_t = σ(N_r(x_t W_r) + N'_r(h_{t-1} U_r) + b_r)
    z_t = σ(N_z(x_t W_z) + N'_z(h_{t-1} U_z) + b_z)
    n_t = tanh(N_n(x_t W_n) + b_n + r_t ⊙ (N'_n(h_{t-1} U_n) + c))
    h_t = z_t ⊙ h_{t-1} + (1 - z_t) ⊙ n_t
    """

    def stepped(params, h, x):
        cell, of_u, of_m = params
        W, U, b = cell.kernel, cell.recurrent_kernel, cell.bias
        r = norm(x @ W.reset, of_u[0]) + norm(h @ U.reset, of_m[0]) + b.reset
        z = norm(x @ W.update, of_u[1]) + norm(h @ U.update, of_m[1]) + b.update
        u = norm(x @ W.candidate, of_u[2]) + b.candidate
        m = norm(h @ U.candidate, of_m[2]) + cell.recurrent_bias
        n = np.tanh(u + sigmoid(r) * m)
        h = sigmoid(z) * h + (1.0 - sigmoid(z)) * n
        return h, h

    return stepped


def normalized_gru_before(norm):
    """The GRU that resets before: n_t = tanh(N_n(x_t W_n) + N'_n((r_t ⊙ h_{t-1}) U_n) + b_n)."""

    def stepped(params, h, x):
        cell, of_u, of_m = params
        W, U, b = cell.kernel, cell.recurrent_kernel, cell.bias
        r = sigmoid(norm(x @ W.reset, of_u[0]) + norm(h @ U.reset, of_m[0]) + b.reset)
        z = sigmoid(norm(x @ W.update, of_u[1]) + norm(h @ U.update, of_m[1]) + b.update)
        m = norm((r * h) @ U.candidate, of_m[2])
        h = z * h + (1.0 - z) * np.tanh(norm(x @ W.candidate, of_u[2]) + m + b.candidate)
        return h, h

    return stepped


def normalized_lstm(norm):
    """The LSTM of Ba et al., equations 20 to 22, with a norm for each gate and none of c_t.

    [i, f, g, o]_t = N(x_t W) + N'(h_{t-1} U) + b,    each with its own norms
    c_t = σ(f_t) ⊙ c_{t-1} + σ(i_t) ⊙ tanh(g_t),    h_t = σ(o_t) ⊙ tanh(c_t)
    """

    def stepped(params, carry, x):
        cell, of_u, of_m = params
        h, c = carry.hidden, carry.cell
        of_gates = zip(cell.kernel, cell.recurrent_kernel, cell.bias, of_u, of_m, strict=True)
        i, f, g, o = (norm(x @ W, p) + norm(h @ U, q) + b for W, U, b, p, q in of_gates)
        c = sigmoid(f) * c + sigmoid(i) * np.tanh(g)
        h = sigmoid(o) * np.tanh(c)
        return type(carry)(hidden=h, cell=c), h

    return stepped
