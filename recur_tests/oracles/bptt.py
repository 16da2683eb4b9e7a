"""Hand-written backpropagation through time: P. J. Werbos, "Backpropagation through time", 1990.

Truncated: R. J. Williams & J. Peng, "An efficient gradient-based algorithm for on-line training
of recurrent network trajectories", 1990.
"""

import numpy as np


def softmax(a):
    """exp(a_i) / Σ_j exp(a_j)."""
    e = np.exp(a - a.max())
    return e / e.sum()


def bptt(U, V, W, xs, targets, s0, steps_back=None):
    """Return the summed cross-entropy E and (dU, dV, dW), each error followed `steps_back` steps.

    s_t = tanh(U x_t + W s_{t-1})
    o_t = softmax(V s_t)
    E   = Σ_t E_t = -Σ_t log o_t[target_t]

    ∂E_t/∂V = (o_t - e_t) s_tᵀ,  e_t the one-hot target
    δ_{t,t} = Vᵀ (o_t - e_t) ⊙ (1 - s_t²)
    δ_{t,k} = Wᵀ δ_{t,k+1} ⊙ (1 - s_k²)
    ∂E_t/∂W = Σ_k δ_{t,k} s_{k-1}ᵀ,  ∂E_t/∂U = Σ_k δ_{t,k} x_kᵀ,  k = t, t-1, …, t - steps_back
    """
    T, xs = len(xs), np.asarray(xs, np.float64)
    steps_back = T if steps_back is None else steps_back
    states, outputs = [np.asarray(s0, np.float64)], []  # states[t + 1] is s_t
    for x in xs:
        states.append(np.tanh(U @ x + W @ states[-1]))
        outputs.append(softmax(V @ states[-1]))
    loss = -sum(np.log(o[target]) for o, target in zip(outputs, targets, strict=True))

    dU, dV, dW = (np.zeros(np.shape(M)) for M in (U, V, W))
    for t in range(T):
        error = outputs[t] - np.eye(len(V))[targets[t]]
        dV += np.outer(error, states[t + 1])
        delta = V.T @ error * (1.0 - states[t + 1] ** 2)
        for k in range(t, max(t - steps_back, 0) - 1, -1):
            dW += np.outer(delta, states[k])
            dU += np.outer(delta, xs[k])
            delta = W.T @ delta * (1.0 - states[k] ** 2)
    return loss, (dU, dV, dW)
