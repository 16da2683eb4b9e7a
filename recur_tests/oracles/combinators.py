"""Combinators: each converts the step of a cell, (params, carry, x) -> (carry, y), to another."""

from types import SimpleNamespace
from typing import NamedTuple

import numpy as np

from recur_tests.oracles import lstm
from recur_tests.oracles.nonlinear import sigmoid


def step_of(oracle, **options):
    """The step of a cell, from its oracle for whole sequences."""

    def step(params, carry, x):
        carry, ys = oracle(params, carry, x[None], **options)
        return carry, ys[0]

    return step


def over_time(step):
    """The oracle for whole sequences, (params, carry, xs) -> (last carry, ys), from a step."""

    def run(params, carry, xs):
        ys = []
        for x in xs:
            carry, y = step(params, carry, x)
            ys.append(y)
        if isinstance(ys[0], tuple):
            return carry, tuple(np.stack(part) for part in zip(*ys, strict=True))
        return carry, np.stack(ys)

    return run


def for_each(function, *trees):
    """`function` of the leaves of trees that are an array each, or a NamedTuple of arrays each."""
    if isinstance(trees[0], tuple):
        return type(trees[0])(*(function(*leaves) for leaves in zip(*trees, strict=True)))
    return function(*trees)


def hidden_of(carry):
    """h, which is the carry, or the part of the carry with this name."""
    return carry.hidden if hasattr(carry, "hidden") else carry


def with_hidden(carry, h):
    """The carry with another h."""
    return carry._replace(hidden=h) if hasattr(carry, "hidden") else h


class Fed(NamedTuple):
    """The carry of the cell, and the output that the next step sees."""

    cell: np.ndarray
    output: np.ndarray


class Entering(NamedTuple):
    """The carry of the cell, and what enters at the next step."""

    cell: np.ndarray
    entering: np.ndarray


def readin(step, psi):
    """Deep input to hidden: R. Pascanu et al., arXiv:1312.6026, section 3.

    x'_t = ψ(x_t)
    """

    def stepped(params, carry, x):
        return step(params.cell, carry, psi(params.input, x))

    return stepped


def feedback(step, join=lambda x, y: np.concatenate([x, y])):
    """The output fed back: M. I. Jordan, "Serial order", ICS Report 8604, 1986.

    x'_t = join(x_t, y_{t-1})
    """

    def stepped(params, carry, x):
        inner, y = step(params, carry.cell, join(x, carry.output))
        return Fed(inner, y), y

    return stepped


def stack_with_skips(*steps):
    """Skips from the input to all layers, from all to the output: A. Graves, arXiv:1308.0850.

    x^1_t = x_t,  x^l_t = [x_t, y^{l-1}_t] for l > 1
    y_t   = [y^1_t, ..., y^L_t]
    """

    def stepped(params, carry, x):
        carries, ys = [], []
        for level, step in enumerate(steps):
            seen = x if level == 0 else np.concatenate([x, ys[-1]])
            inner, y = step(params[level], carry[level], seen)
            carries.append(inner)
            ys.append(y)
        return tuple(carries), np.concatenate(ys)

    return stepped


def highway(step):
    """The highway layer: R. K. Srivastava, K. Greff & J. Schmidhuber, arXiv:1505.00387, eq. 3.

    t_t = σ(x_t W + b)
    y_t = v_t ⊙ t_t + x_t ⊙ (1 - t_t)
    """

    def stepped(params, carry, x):
        carry, v = step(params.cell, carry, x)
        t = sigmoid(x @ params.kernel + params.bias)
        return carry, v * t + x * (1.0 - t)

    return stepped


def deep_transition(step, psi, *, shortcut=False):
    """Deep hidden to hidden, DT-RNN and DT(S)-RNN: R. Pascanu et al., arXiv:1312.6026, section 3.

    h'_t = the h of what the cell makes of carry_{t-1} and x_t
    h_t  = ψ(h'_t), or with the shortcut ψ([h'_t, h_{t-1}])
    y_t  = h_t
    """

    def stepped(params, carry, x):
        new, _ = step(params.cell, carry, x)
        h = hidden_of(new)
        h = psi(params.transition, np.concatenate([h, hidden_of(carry)]) if shortcut else h)
        return with_hidden(new, h), h

    return stepped


def entering(params, v):
    """Return v K for each gate, or v if it is concatenated to x."""
    return v if params.kernel is None else for_each(lambda K: v @ K, params.kernel)


def with_more(step, params, carry, x, more):
    """The step of a cell with `more` added to its gates, or concatenated to its input."""
    if params.kernel is None:
        return step(params.cell, carry, np.concatenate([x, more]))
    bias = for_each(lambda b, m: b + m, params.cell.bias, more)
    return step(params.cell._replace(bias=bias), carry, x)


def condition_every_step(step, v):
    """h_t = φ(x_t W + h_{t-1} U + b + v K), of any gate; or x'_t = [x_t, v] where K is None."""

    def stepped(params, carry, x):
        return with_more(step, params, carry, x, entering(params, v))

    return stepped


def condition_first_step(step):
    """The same, with zeros in place of v K after one step: Karpathy & Fei-Fei, arXiv:1412.2306."""

    def stepped(params, carry, x):
        inner, y = with_more(step, params, carry.cell, x, carry.entering)
        return Entering(inner, for_each(np.zeros_like, carry.entering)), y

    return stepped


def condition_start(start, K, v):
    """carry_0 = start + v K, for each leaf; K is [D, ...] for a leaf [...]."""
    return for_each(lambda c, k: c + np.tensordot(v, k, 1), start, K)


def film(step, v):
    """Features scaled and shifted: E. Perez et al., arXiv:1709.07871, γ = 1 + v G and β = v B.

    y'_t = γ ⊙ y_t + β
    """

    def stepped(params, carry, x):
        carry, y = step(params.cell, carry, x)
        return carry, (1.0 + v @ params.scale_kernel) * y + v @ params.shift_kernel

    return stepped


def zoneout(step, rate):
    """In expectation: D. Krueger et al., arXiv:1606.01305.

    carry_t = rate ⊙ carry_{t-1} + (1 - rate) ⊙ what the cell makes of it
    y_t     = h_t, as zoned out
    """

    def stepped(params, carry, x):
        new, _ = step(params, carry, x)
        rates = rate if isinstance(rate, tuple) or not isinstance(carry, tuple) else None
        rates = type(carry)(*[rate] * len(carry)) if rates is None else rates
        new = for_each(lambda old, new, r: r * old + (1.0 - r) * new, carry, new, rates)
        return new, hidden_of(new)

    return stepped


def variational_dropout(step, d_x, d_h, d_y):
    """One mask for all steps: Y. Gal & Z. Ghahramani, arXiv:1512.05287, masks scaled by 1/(1-p).

    The cell reads x_t ⊙ d_x, and (h_{t-1} ⊙ d_h) U = h_{t-1} (diag(d_h) U); y'_t = y_t ⊙ d_y.
    """

    def stepped(params, carry, x):
        kernels = for_each(lambda U: np.diag(d_h) @ U, params.recurrent_kernel)
        carry, y = step(params._replace(recurrent_kernel=kernels), carry, x * d_x)
        return carry, y * d_y

    return stepped


def lstm_recurrent_dropout(d):
    """Dropout without memory loss: S. Semeniuta et al., arXiv:1603.05118, one mask for all steps.

    c_t = f_t ⊙ c_{t-1} + i_t ⊙ (g_t ⊙ d)
    """

    def stepped(params, carry, x):
        W, U, b = params.kernel, params.recurrent_kernel, params.bias
        h, c = carry.hidden, carry.cell
        i = sigmoid(x @ W.input + h @ U.input + b.input)
        f = sigmoid(x @ W.forget + h @ U.forget + b.forget)
        g = np.tanh(x @ W.candidate + h @ U.candidate + b.candidate)
        o = sigmoid(x @ W.output + h @ U.output + b.output)
        c = f * c + i * (g * d)
        h = o * np.tanh(c)
        return lstm.State(h, c), h

    return stepped


def gru_recurrent_dropout(d):
    """The same of the GRU that resets after, in which z is what is kept.

    h_t = z_t ⊙ h_{t-1} + (1 - z_t) ⊙ (n_t ⊙ d)
    """

    def stepped(params, h, x):
        W, U, b = params.kernel, params.recurrent_kernel, params.bias
        a = SimpleNamespace(**{g: x @ getattr(W, g) + getattr(b, g) for g in W._fields})
        r = sigmoid(a.reset + h @ U.reset)
        z = sigmoid(a.update + h @ U.update)
        n = np.tanh(a.candidate + r * (h @ U.candidate + params.recurrent_bias))
        h = z * h + (1.0 - z) * (n * d)
        return h, h

    return stepped
