"""Linear recurrences, unit by unit."""

import numpy as np


def leaky_integrator(params, carry, xs):
    """Return the last state [I] and the outputs [T, I].

    a = 1 / (1 + e^-α)
    h_t = a h_{t-1} + (1 - a) x_t
    """
    a = 1 / (1 + np.exp(-params.decay))
    h, ys = np.asarray(carry), []
    for x in xs:
        h = a * h + (1 - a) * x
        ys.append(h)
    return h, np.stack(ys)


def diagonal(params, carry, xs):
    """Return the last state [H] and the outputs [T, H], or [T, 2H] where the state is complex.

    λ = e^(-e^ν + iθ)
    h_t = λ h_{t-1} + x_t W + b
    """
    is_complex = params.angle is not None
    eigenvalues = np.exp(-np.exp(params.rate) + 1j * (params.angle if is_complex else 0.0))
    b = 0.0 if params.bias is None else params.bias
    h, ys = np.asarray(carry), []
    for x in xs:
        u = x @ params.kernel + b
        half = len(u) // 2
        h = eigenvalues * h + (u[:half] + 1j * u[half:] if is_complex else u)
        h = h if is_complex else h.real
        ys.append(np.concatenate([h.real, h.imag]) if is_complex else h)
    return h, np.stack(ys)
