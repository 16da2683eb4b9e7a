"""The linear recurrent unit: A. Orvieto et al., arXiv:2303.06349."""

import numpy as np


def lru(params, carry, xs):
    """Return the last state [N], complex, and the outputs [T, I].

    λ   = exp(-exp(ν) + i exp(θ))
    h_t = λ ⊙ h_{t-1} + exp(γ) ⊙ (x_t B)
    y_t = Re(h_t C) + d ⊙ x_t

    with B = Re B + i Im B [I, N], side by side in [I, 2N], and C [N, I], one above the other.
    """
    N = len(params.rate)
    eigenvalues = np.exp(-np.exp(params.rate) + 1j * np.exp(params.angle))
    B = params.kernel[:, :N] + 1j * params.kernel[:, N:]
    C = params.output_kernel[:N] + 1j * params.output_kernel[N:]
    h, ys = carry, []
    for x in xs:
        h = eigenvalues * h + np.exp(params.scale) * (x @ B)
        ys.append((h @ C).real + params.skip * x)
    return h, np.stack(ys)
