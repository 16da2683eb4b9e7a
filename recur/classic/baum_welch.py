"""Fitting of hidden Markov models by expectation-maximization (Baum-Welch)."""

from __future__ import annotations

from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from recur.arrays import check_one_number
from recur.checks import known_value
from recur.classic.forward_backward import smooth
from recur.classic.hidden_markov import HiddenMarkov, check_model, observe
from recur.classic.log_space import as_ids, check_symbols, log_shares
from recur.classic.markov import MarkovChain
from recur.ids import is_inside
from recur.masks import check_known_length, zero_invalid


def update(
    model: HiddenMarkov,
    xs: Any,
    length: Any = None,
    *,
    pseudo_count: float = 0.0,
    parallel: bool = False,
) -> tuple[HiddenMarkov, jax.Array]:
    """Runs one Baum-Welch (EM) update, which never lowers the likelihood of the data.

        p(s_1 = i) ∝ Σ_b p(s_1 = i | x^b)
        p(j | i)   ∝ Σ_b Σ_{t>1} p(s_{t-1} = i, s_t = j | x^b)
        p(v | i)   ∝ Σ_b Σ_t p(s_t = i | x^b) [x^b_t = v]

    Probabilities of zero stay zero. Without a pseudo_count, a state that no sequence visits keeps
    its distributions.

    Args:
      model: a `HiddenMarkov` whose states differ, since equal states stay equal; for example
        `hidden_markov.normalise(hidden_markov.init(...))`.
      xs: integer `[B, T]`, each from 0 to V - 1; those in the padding never matter. Inside a
        transformation, an unknown symbol outside this range is a missing observation.
      length: integer `[B]`, how many steps of each row count; all by default.
      pseudo_count: a number that is added to each expected count whose probability is not zero, so
        that none becomes zero. Then the update never lowers the likelihood times the Dirichlet
        prior to which such counts correspond.
      parallel: as for `forward`.

    Returns:
      `(model, mean)`: the updated model, of at least float32, and the log likelihood of a sequence
      under the given model, in nats, as the mean over rows.

    Raises:
      TypeError: if `model` is not a `HiddenMarkov`, xs are not integers, or pseudo_count is not a
        number.
      ValueError: if the shapes do not fit, or values that are known are invalid: the model's
        probabilities do not sum to one, a symbol is outside 0 ... V - 1, a length outside 0 ... T,
        or pseudo_count is negative or not finite.

    Example:
      >>> import jax, jax.numpy as jnp
      >>> from recur.classic import baum_welch, hidden_markov
      >>> xs, length = jnp.array([[0, 1, 0, 1, 0], [1, 0, 1, -1, -1]]), jnp.array([5, 3])
      >>> model = hidden_markov.from_probabilities(
      ...     [0.5, 0.5], [[0.4, 0.6], [0.6, 0.4]], [[0.6, 0.4], [0.4, 0.6]])
      >>> update = jax.jit(baum_welch.update)
      >>> for _ in range(30):
      ...     model, mean = update(model, xs, length)
      >>> f"{jnp.exp(mean):.2f}"
      '0.50'

    References:
      Baum, Petrie, Soules & Weiss 1970, A Maximization Technique Occurring in the Statistical
      Analysis of Probabilistic Functions of Markov Chains, https://doi.org/10.1214/aoms/1177697196
      Rabiner 1989, A Tutorial on Hidden Markov Models and Selected Applications in Speech
      Recognition, https://doi.org/10.1109/5.18626
    """
    model = check_model("update", model)
    _check_normalised(model)
    xs, length = _check_rows(xs, length, model.log_emission.shape[1])
    check_one_number("update: pseudo_count", pseudo_count)
    known = known_value(pseudo_count)
    if known is not None and not 0 <= known < np.inf:
        raise ValueError(f"update: expected pseudo_count of at least 0, got {pseudo_count}.")

    def expect(xs, length):
        return smooth(model.chain, observe(model, xs, length), length, parallel=parallel)

    expected = jax.vmap(expect)(xs, length)

    def maximise(counts, log_probabilities):
        possible = log_probabilities > -jnp.inf
        return log_shares(counts + jnp.where(possible, pseudo_count, 0), log_probabilities)

    nothing = jnp.zeros_like(model.log_emission.T, expected.states.dtype)
    seen = is_inside(xs, len(nothing))
    emitted = nothing.at[zero_invalid(seen, xs)].add(zero_invalid(seen, expected.states)).T
    chain = MarkovChain(
        log_initial=maximise(expected.states[:, :1].sum((0, 1)), model.chain.log_initial),
        log_transition=maximise(expected.transitions.sum(0), model.chain.log_transition),
    )
    model = HiddenMarkov(chain, maximise(emitted, model.log_emission))
    return model, expected.log_likelihood.mean()


def _check_normalised(model: HiddenMarkov) -> None:
    for leaf in jax.tree.leaves(model):
        known = known_value(leaf)
        if known is None:
            return
        sums = np.exp(known.astype(np.float64)).sum(-1)
        if not np.allclose(sums, 1, atol=1e-2):  # a tolerance for 16-bit floats
            raise ValueError(
                f"update: expected probabilities that sum to one, got {sums.flat[0]:.4g}. Convert "
                "logits by hidden_markov.normalise."
            )


def _check_rows(xs: Any, length: Any, symbols: int) -> tuple[jax.Array, jax.Array]:
    """Checks symbols and lengths, and returns them as arrays."""
    xs = as_ids("update: xs", xs)
    if xs.ndim != 2 or not len(xs):
        raise ValueError(
            f"update: expected xs of [B, T] with B >= 1, got {list(xs.shape)}. One row is xs[None]."
        )
    rows, steps = xs.shape
    length = np.full(rows, steps) if length is None else as_ids("update: length", length)
    if length.shape != (rows,):
        raise ValueError(
            f"update: expected lengths of [{rows}], one for each row of xs, got "
            f"{list(length.shape)}."
        )
    check_known_length(length, steps)
    check_symbols("update", "symbols", xs, symbols, length)
    return xs, length
