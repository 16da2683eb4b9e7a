"""The scalar LSTM with exponential gates: M. Beck et al., xLSTM, arXiv:2405.04517."""

from types import SimpleNamespace
from typing import NamedTuple

import numpy as np

from recur_tests.oracles.lstm import NO_BIAS
from recur_tests.oracles.nonlinear import sigmoid

FORGET = {"exponential": np.exp, "sigmoid": sigmoid}


class State(NamedTuple):
    """h_t, c_t, n_t and m_t, [H] each; c_t and n_t are those of the text times exp(-m_t)."""

    hidden: np.ndarray
    cell: np.ndarray
    normalizer: np.ndarray
    stabilizer: np.ndarray


def by_head(h, R):
    """Return h R for a block-diagonal R, [heads, d, d]: each head reads its own d units."""
    d = R.shape[1]
    return np.concatenate([h[k * d : (k + 1) * d] @ R[k] for k in range(len(R))])


def slstm(params, carry, xs, *, forget_gate="exponential", activation=np.tanh):
    """Return the last state and the outputs [T, H].

    Equations 8 to 14, in which nothing is stabilised:

    z_t = φ(x_t W_z + h_{t-1} R_z + b_z)
    i_t = exp(ĩ_t),  ĩ_t = x_t W_i + h_{t-1} R_i + b_i
    f_t = exp(f̃_t) or σ(f̃_t),  f̃_t = x_t W_f + h_{t-1} R_f + b_f
    o_t = σ(x_t W_o + h_{t-1} R_o + b_o)
    c_t = f_t ⊙ c_{t-1} + i_t ⊙ z_t
    n_t = f_t ⊙ n_{t-1} + i_t
    h_t = o_t ⊙ c_t / n_t
    y_t = h_t

    With equations 15 to 17 what is stored is c_t exp(-m_t) and n_t exp(-m_t), where

    m_t = max(log f_t + m_{t-1}, ĩ_t), and ĩ_t where n_{t-1} = 0
    """
    W, R = params.kernel, params.recurrent_kernel
    b = NO_BIAS if params.bias is None else params.bias

    def pre_activations(x, h):
        gates = ("input", "forget", "candidate", "output")
        sums = (
            x @ getattr(W, g) + by_head(h, getattr(R, g)) + np.asarray(getattr(b, g)) for g in gates
        )
        return SimpleNamespace(**dict(zip(gates, sums, strict=True)))

    h, m = carry.hidden, carry.stabilizer
    c, n, ys = carry.cell * np.exp(m), carry.normalizer * np.exp(m), []
    for x in xs:
        a = pre_activations(x, h)
        z, i, f = activation(a.candidate), np.exp(a.input), FORGET[forget_gate](a.forget)
        m = np.where(n == 0, a.input, np.maximum(np.log(f) + m, a.input))
        c = f * c + i * z
        n = f * n + i
        h = sigmoid(a.output) * c / n
        ys.append(h)
    return State(h, c * np.exp(-m), n * np.exp(-m), m), np.stack(ys)
