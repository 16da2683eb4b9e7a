"""LSTM variants: other gates, a projection, or layer normalization."""

from types import SimpleNamespace

import numpy as np

from recur_tests.oracles.lstm import NO_BIAS, State
from recur_tests.oracles.nonlinear import sigmoid

NO_COUPLED_BIAS = SimpleNamespace(forget=0.0, candidate=0.0, output=0.0)
NO_ORIGINAL_BIAS = SimpleNamespace(input=0.0, candidate=0.0, output=0.0)


def coupled_lstm(params, carry, xs, *, activation=np.tanh):
    """Return the last state and the outputs [T, H].

    K. Greff et al., "LSTM: a search space odyssey", 2017, the variant CIFG: i_t = 1 - f_t.

    f_t = σ(x_t W_f + h_{t-1} U_f + b_f)
    g_t = φ(x_t W_g + h_{t-1} U_g + b_g)
    c_t = f_t ⊙ c_{t-1} + (1 - f_t) ⊙ g_t
    o_t = σ(x_t W_o + h_{t-1} U_o + b_o)
    h_t = o_t ⊙ φ(c_t)
    y_t = h_t
    """
    W, U = params.kernel, params.recurrent_kernel
    b = NO_COUPLED_BIAS if params.bias is None else params.bias
    h, c, ys = carry.hidden, carry.cell, []
    for x in xs:
        f = sigmoid(x @ W.forget + h @ U.forget + b.forget)
        g = activation(x @ W.candidate + h @ U.candidate + b.candidate)
        c = f * c + (1.0 - f) * g
        o = sigmoid(x @ W.output + h @ U.output + b.output)
        h = o * activation(c)
        ys.append(h)
    return State(h, c), np.stack(ys)


def original_lstm(params, carry, xs, *, activation=np.tanh):
    """Return the last state and the outputs [T, H].

    S. Hochreiter & J. Schmidhuber, "Long short-term memory", 1997: what is kept is kept whole.

    i_t = σ(x_t W_i + h_{t-1} U_i + b_i)
    g_t = φ(x_t W_g + h_{t-1} U_g + b_g)
    c_t = c_{t-1} + i_t ⊙ g_t
    o_t = σ(x_t W_o + h_{t-1} U_o + b_o)
    h_t = o_t ⊙ φ(c_t)
    y_t = h_t
    """
    W, U = params.kernel, params.recurrent_kernel
    b = NO_ORIGINAL_BIAS if params.bias is None else params.bias
    h, c, ys = carry.hidden, carry.cell, []
    for x in xs:
        i = sigmoid(x @ W.input + h @ U.input + b.input)
        g = activation(x @ W.candidate + h @ U.candidate + b.candidate)
        c = c + i * g
        o = sigmoid(x @ W.output + h @ U.output + b.output)
        h = o * activation(c)
        ys.append(h)
    return State(h, c), np.stack(ys)


def projected_lstm(params, carry, xs, *, activation=np.tanh):
    """Return the last state, h_T [P] and c_T [H], and the outputs [T, P].

    H. Sak, A. Senior & F. Beaufays, arXiv:1402.1128, with r_t called h_t, without peepholes.

    i_t, f_t, o_t = σ(x_t W + h_{t-1} U + b), each with its own W [I, H], U [P, H] and b [H]
    g_t = φ(x_t W_g + h_{t-1} U_g + b_g)
    c_t = f_t ⊙ c_{t-1} + i_t ⊙ g_t
    h_t = (o_t ⊙ φ(c_t)) V
    y_t = h_t
    """
    W, U, V = params.kernel, params.recurrent_kernel, params.projection
    b = NO_BIAS if params.bias is None else params.bias
    h, c, ys = carry.hidden, carry.cell, []
    for x in xs:
        i = sigmoid(x @ W.input + h @ U.input + b.input)
        f = sigmoid(x @ W.forget + h @ U.forget + b.forget)
        g = activation(x @ W.candidate + h @ U.candidate + b.candidate)
        o = sigmoid(x @ W.output + h @ U.output + b.output)
        c = f * c + i * g
        h = (o * activation(c)) @ V
        ys.append(h)
    return State(h, c), np.stack(ys)


def layer_norm(a, epsilon):
    """(a - μ) / sqrt(σ² + ε), with μ = Σ_i a_i / H and σ² = Σ_i (a_i - μ)² / H."""
    mu = sum(a) / len(a)
    variance = sum((a - mu) ** 2) / len(a)
    return (a - mu) / np.sqrt(variance + epsilon)


def layer_norm_lstm(params, carry, xs, *, activation=np.tanh, epsilon=1e-5):
    """Return the last state and the outputs [T, H].

    J. L. Ba, J. R. Kiros & G. E. Hinton, arXiv:1607.06450, equations 20 to 22, each gate with
    statistics of its own; the shifts of the first two norms are part of b.

    a_t = LN(x_t W) ⊙ α + LN(h_{t-1} U) ⊙ β + b, for each of the gates
    i_t, f_t, o_t = σ(a_t) and g_t = φ(a_t)
    c_t = f_t ⊙ c_{t-1} + i_t ⊙ g_t
    h_t = o_t ⊙ φ(LN(c_t) ⊙ γ + δ)
    y_t = h_t
    """
    W, U, b = params.kernel, params.recurrent_kernel, params.bias
    alpha, beta = params.input_scale, params.recurrent_scale
    gamma, delta = params.cell_scale, params.cell_bias

    def pre_activation(gate, x, h):
        from_input = layer_norm(x @ getattr(W, gate), epsilon) * getattr(alpha, gate)
        from_state = layer_norm(h @ getattr(U, gate), epsilon) * getattr(beta, gate)
        return from_input + from_state + getattr(b, gate)

    h, c, ys = carry.hidden, carry.cell, []
    for x in xs:
        i = sigmoid(pre_activation("input", x, h))
        f = sigmoid(pre_activation("forget", x, h))
        g = activation(pre_activation("candidate", x, h))
        o = sigmoid(pre_activation("output", x, h))
        c = f * c + i * g
        h = o * activation(layer_norm(c, epsilon) * gamma + delta)
        ys.append(h)
    return State(h, c), np.stack(ys)
