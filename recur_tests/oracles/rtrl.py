"""Hand-written real-time recurrent learning of an Elman network.

R. J. Williams & D. Zipser, "A Learning Algorithm for Continually Running Fully Recurrent Neural
Networks", 1989; its sparse form SnAp-1: J. Menick et al., "A Practical Sparse Approximation for
Real Time Recurrent Learning", 2021.
"""

import numpy as np


def rtrl(params, xs, targets, sparse=False):
    """Return of each step the loss, (dW, dU, db, dh0) and h_t; params[t] are (W, U, b, h0) there.

    z_t = (x_t, h_{t-1}, 1),  V = (W, U, b)
    h_t[k] = tanh(Σ_j z_t[j] V[j, k])
    E_t = ½ Σ_k (h_t[k] - target_t[k])²

    p_t[k, j, i] = ∂h_t[k]/∂V[j, i] = (1 - h_t[k]²) (Σ_l U[l, k] p_{t-1}[l, j, i] + [k = i] z_t[j])
    q_t[k, m]    = ∂h_t[k]/∂h0[m]   = (1 - h_t[k]²) Σ_l U[l, k] q_{t-1}[l, m],  q_0[k, m] = [k = m]
    ∂E_t/∂V[j, i] = Σ_k (h_t[k] - target_t[k]) p_t[k, j, i]

    Sparse: the next step gets p_t[k, j, i] where k = i and q_t[k, m] where k = m.
    """
    width, features = params[0][0].shape
    h = params[0][3]
    p, q = np.zeros((features, width + features + 1, features)), np.eye(features)
    steps = []
    for (W, U, b, _), x, target in zip(params, xs, targets, strict=True):
        z = np.concatenate([x, h, [1.0]])
        h = np.tanh(z @ np.concatenate([W, U, b[None]]))
        old_p, old_q = p, q
        p, q = np.zeros_like(p), np.zeros_like(q)
        for k in range(features):
            slope = 1.0 - h[k] ** 2
            for i in range(features):
                for j in range(len(z)):
                    past = sum(U[m, k] * old_p[m, j, i] for m in range(features))
                    p[k, j, i] = slope * (past + (z[j] if k == i else 0.0))
                q[k, i] = slope * sum(U[m, k] * old_q[m, i] for m in range(features))
        error = h - target
        dV = sum(error[k] * p[k] for k in range(features))
        grads = (dV[:width], dV[width:-1], dV[-1], error @ q)
        steps.append((0.5 * np.sum(error**2), grads, h))
        if sparse:
            for k in range(features):
                for i in range(features):
                    if k != i:
                        p[k, :, i] = q[k, i] = 0.0
    return steps
