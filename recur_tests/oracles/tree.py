"""Recursive networks by plain recursion, the effect of marks on trees, and exact derivatives.

The recursive net: R. Socher et al., "Recursive deep models for semantic compositionality over a
sentiment treebank", 2013, section 4.1, with a learned vector for an absent child.
The child-sum Tree-LSTM: K. S. Tai, R. Socher & C. D. Manning, "Improved semantic representations
from tree-structured long short-term memory networks", 2015, equations 2-8; the N-ary one:
equations 9-14.

`children[n]` is a list of the numbers of nodes, in any order, with None for an absent child. No
array has a fixed dtype, so that `complex_step` can follow a complex perturbation.
"""

import numpy as np

from recur_tests.oracles.nonlinear import sigmoid


def children_of(back, valid, reset):
    """Return the children of each node, from distances: lists of numbers, None where absent.

    A child is absent where the distance is 0, and where it would be before the first node
    or of a reset between it and its parent, or is invalid itself; an invalid node has none.
    """

    def child(n, distance):
        own = n - distance
        hidden = own < 0 or any(reset[own + 1 : n + 1]) or not (valid[own] and valid[n])
        return None if distance == 0 or hidden else own

    return [[child(n, int(distance)) for distance in row] for n, row in enumerate(back)]


def carries_of(h, came_in, fresh, valid, reset):
    """Return the carry after each node: its h, or where it is invalid what was there before."""
    carry, carries = came_in, []
    for n in range(len(h)):
        carry = fresh if reset[n] else carry
        carry = h[n] if valid[n] else carry
        carries.append(carry)
    return np.stack(carries)


def recursive_net(params, xs, children, absent=None):
    """Return h_n of all nodes, [N, H].

    h_n = tanh([h_left, h_right] W + x_n V + b),  h of an absent child of n = absent_n, or a
    """
    absent = [params["a"]] * len(xs) if absent is None else absent

    def h(n):
        left, right = (absent[n] if child is None else h(child) for child in children[n])
        return np.tanh(
            np.concatenate([left, right]) @ params["W"] + xs[n] @ params["V"] + params["b"]
        )

    return np.stack([h(n) for n in range(len(xs))])


def child_sum_lstm(params, xs, children, absent=None):
    """Return h_n and c_n of all nodes, [N, H] each.

    h~  = Σ_k h_k
    i   = σ(x_n W_i + h~ U_i + b_i)
    f_k = σ(x_n W_f + h_k U_f + b_f)        one for each child k
    o   = σ(x_n W_o + h~ U_o + b_o)
    u   = tanh(x_n W_u + h~ U_u + b_u)
    c_n = i ⊙ u + Σ_k f_k ⊙ c_k
    h_n = o ⊙ tanh(c_n)
    """
    del absent  # the sums are over the children there are
    W, U, b = params["W"], params["U"], params["b"]

    def state(n):
        below = [state(child) for child in children[n] if child is not None]
        x, total = xs[n], sum((h for h, _ in below), np.zeros(len(b["i"])))
        i, o = (sigmoid(x @ W[g] + total @ U[g] + b[g]) for g in "io")
        u = np.tanh(x @ W["u"] + total @ U["u"] + b["u"])
        c = i * u
        for h_k, c_k in below:
            c = c + sigmoid(x @ W["f"] + h_k @ U["f"] + b["f"]) * c_k
        return o * np.tanh(c), c

    hs, cs = zip(*(state(n) for n in range(len(xs))), strict=True)
    return np.stack(hs), np.stack(cs)


def nary_lstm(params, xs, children, absent=None):
    """Return h_n and c_n of all nodes, [N, H] each.

    i   = σ(x_n W_i + Σ_j h_j U_i^j + b_i)          one U_i^j for each place j, also of o and u
    f_k = σ(x_n W_f + Σ_j h_j U_f^kj + b_f)         one U_f^kj for each pair of places
    c_n = i ⊙ u + Σ_k f_k ⊙ c_k
    h_n = o ⊙ tanh(c_n)
    """
    del absent  # an absent child is zero
    W, U, b = params["W"], params["U"], params["b"]

    def state(n):
        below = {j: state(child) for j, child in enumerate(children[n]) if child is not None}

        def pre(gate, kernels):
            summed = sum((h @ kernels[j] for j, (h, _) in below.items()), np.zeros(len(b["i"])))
            return xs[n] @ W[gate] + summed + b[gate]

        i, o = (sigmoid(pre(g, U[g])) for g in "io")
        c = i * np.tanh(pre("u", U["u"]))
        for k, (_, c_k) in below.items():
            c = c + sigmoid(pre("f", U["f"][k])) * c_k
        return o * np.tanh(c), c

    hs, cs = zip(*(state(n) for n in range(len(xs))), strict=True)
    return np.stack(hs), np.stack(cs)


def complex_step(function, array):
    """Return the gradient of `function(array)`, a real number, exact to rounding.

    ∂f/∂a_j = Im f(a + i ε e_j) / ε: nothing is subtracted, so ε can be as small as one likes.
    """
    gradient = np.empty(array.shape)
    for at in np.ndindex(array.shape):
        moved = array.astype(complex)
        moved[at] += 1e-30j
        gradient[at] = function(moved).imag / 1e-30
    return gradient
