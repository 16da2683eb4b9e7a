"""Inference of the hidden states of a Markov chain: filtering, smoothing and the likelihood.

Each function takes a chain and `log_scores` of `[T, S]`, the log p(x_t | s_t) of each observation
under each state. `hidden_markov.observe` computes them for symbols; a density or a neural network
may compute others. A row of zeros is a missing observation. Chain and scores need not be
normalized: then the probability of a path is in proportion to its weight, as in a linear-chain
conditional random field, and the log likelihood is the logarithm of the sum of all weights.
"""

from __future__ import annotations

from functools import partial
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp

from recur.call_repr import call_repr
from recur.cells.custom import cell
from recur.checks import check_flag
from recur.classic.log_space import normalised
from recur.classic.markov import MarkovChain
from recur.classic.recursion import Filtered, prepare, product, recursion, run
from recur.lift.scan import scan
from recur.log_sums import log_sum
from recur.masks import zero_invalid
from recur.types import Cell, Mask


class Smoothed(NamedTuple):
    """The posterior of the states given all observations, the E-step of Baum-Welch.

    Attributes:
      states: p(s_t = i | x_{1..T}), `[T, S]`, zero in the padding.
      transitions: Σ_{t>1} p(s_{t-1} = i, s_t = j | x_{1..T}), `[S, S]`.
      log_likelihood: log p(x_{1..T}), a scalar.
    """

    states: jax.Array
    transitions: jax.Array
    log_likelihood: jax.Array


@call_repr
def filtering() -> Cell:
    """Makes a cell for filtering in a hidden Markov model (forward recursion).

        α_t(j) = p(x_t | s_t = j) Σ_i α_{t-1}(i) p(s_t = j | s_{t-1} = i)

    The params are the logits of a `MarkovChain`, which can be trained; `bind` normalizes them. x is
    the log scores `[S]` of a step, and the carry is the prediction log p(s_t | x_{1..t-1}). Use
    `recur.scan` to filter a stream in windows, `recur.checkpoint` to save memory for its gradient,
    and `recur.chain` to filter the outputs of a neural network.

    Returns:
      A `Cell`, whose outputs are `Filtered`.

    Example:
      >>> import jax, jax.numpy as jnp, recur
      >>> from recur.classic import filtering
      >>> layer = recur.scan(filtering())
      >>> log_scores = jnp.zeros((5, 3))
      >>> logits = layer.init(jax.random.key(0), log_scores)
      >>> layer(logits, log_scores).log_filtered.shape
      (5, 3)

    References:
      Rabiner 1989, A Tutorial on Hidden Markov Models and Selected Applications in Speech
      Recognition, https://doi.org/10.1109/5.18626
    """
    return recursion(log_sum)


def forward(
    chain: MarkovChain, log_scores: jax.Array, length: Any = None, *, parallel: bool = False
) -> tuple[Filtered, jax.Array]:
    """Computes the filtered state probabilities and the log likelihood (forward algorithm).

        α_t(j) = p(x_t | s_t = j) Σ_i α_{t-1}(i) p(s_t = j | s_{t-1} = i)
        p(s_t | x_{1..t}) = α_t / Σ_i α_t(i),    p(x_{1..T}) = Σ_i α_T(i)

    If the observations have probability zero, the log likelihood is -inf and its gradient is zero.

    Args:
      chain: a `MarkovChain` of S states.
      log_scores: float `[T, S]`, log p(x_t | s_t); those in the padding never matter.
      length: integer, how many steps count; all by default.
      parallel: whether to multiply matrices in O(log T) rounds instead of step by step. This is S
        times the work, but faster on an accelerator. Values and gradients are the same.

    Returns:
      `(filtered, log_likelihood)`: a `Filtered` with `log_filtered` `[T, S]` and `log_evidence`
      `[T]`, zero in the padding; and the sum of the latter, log p(x_{1..T}), in nats.

    Raises:
      TypeError: if `chain` is not a chain, the scores are not floats, or parallel is not a bool.
      ValueError: if the shapes do not fit.

    Example:
      >>> import jax.numpy as jnp
      >>> from recur.classic import markov
      >>> from recur.classic import forward
      >>> coins = markov.from_probabilities([0.5, 0.5], [[0.5, 0.5], [0.5, 0.5]])
      >>> log_scores = jnp.log(jnp.array([[0.2, 0.6], [0.6, 0.2]]))
      >>> filtered, log_likelihood = forward(coins, log_scores)
      >>> jnp.exp(filtered.log_filtered[0]).round(2).tolist()
      [0.25, 0.75]

    References:
      Rabiner 1989, A Tutorial on Hidden Markov Models and Selected Applications in Speech
      Recognition, https://doi.org/10.1109/5.18626
      Hassan, Särkkä & García-Fernández 2021, Temporal Parallelization of Inference in Hidden Markov
      Models, https://arxiv.org/abs/2102.05743
    """
    parallel = check_flag("forward: parallel", parallel)
    return _forward(*prepare("forward", chain, log_scores, length), parallel=parallel)


@partial(jax.jit, static_argnames="parallel")  # compiled once, also for calls outside of jit
def _forward(chain, log_scores, valid, *, parallel):
    filtered, log_likelihood = run(log_sum, chain, log_scores, valid, parallel)
    if parallel:
        log_likelihood = _derived_by_posterior(chain, log_scores, valid, log_likelihood)
    return filtered, log_likelihood


def backward(
    chain: MarkovChain, log_scores: jax.Array, length: Any = None, *, parallel: bool = False
) -> jax.Array:
    """Computes the likelihood of the later observations under each state (backward algorithm).

        β_t(i) = Σ_j p(s_{t+1} = j | s_t = i) p(x_{t+1} | s_{t+1} = j) β_{t+1}(j),    β_T = 1

    Each β_t is normalized over the states, so that no precision is lost over long sequences. It
    equals the posterior of s_t under a uniform prior.

    Args:
      chain: a `MarkovChain` of S states.
      log_scores: float `[T, S]`, log p(x_t | s_t); those in the padding never matter.
      length: integer, how many steps count; all by default.
      parallel: as for `forward`.

    Returns:
      `[T, S]`, normalized log β_t; zero in the padding, -inf for states that cannot continue.

    Raises:
      TypeError: if `chain` is not a chain, the scores are not floats, or parallel is not a bool.
      ValueError: if the shapes do not fit.

    Example:
      >>> import jax.numpy as jnp
      >>> from recur.classic import markov
      >>> from recur.classic import backward
      >>> stay = markov.from_probabilities([0.5, 0.5], [[1, 0], [0, 1]])
      >>> jnp.exp(backward(stay, jnp.log(jnp.array([[0.5, 0.5], [0.6, 0.2]])))).round(2).tolist()
      [[0.75, 0.25], [0.5, 0.5]]
    """
    parallel = check_flag("backward: parallel", parallel)
    return _backward(*prepare("backward", chain, log_scores, length), parallel=parallel)


@partial(jax.jit, static_argnames="parallel")
def _backward(chain, log_scores, valid, *, parallel):
    if parallel:
        return _backward_in_parallel(chain, log_scores, valid)
    carry = _BACKWARD.begin(chain, log_scores)
    _, log_beta = _BACKWARD.apply(chain, carry, log_scores, Mask(valid), None)
    return log_beta


def smooth(
    chain: MarkovChain, log_scores: jax.Array, length: Any = None, *, parallel: bool = False
) -> Smoothed:
    """Computes smoothed state and transition probabilities (forward-backward algorithm).

        p(s_t = i | x) ∝ α_t(i) β_t(i)
        p(s_{t-1} = i, s_t = j | x) ∝ α_{t-1}(i) p(s_t = j | s_{t-1} = i) p(x_t | s_t = j) β_t(j)

    These posteriors given all observations are the gradients of the log likelihood with respect to
    the log scores and the log transitions. If the observations have probability zero, all are zero.

    Args:
      chain: a `MarkovChain` of S states.
      log_scores: float `[T, S]`, log p(x_t | s_t); those in the padding never matter.
      length: integer, how many steps count; all by default.
      parallel: as for `forward`.

    Returns:
      A `Smoothed`.

    Raises:
      TypeError: if `chain` is not a chain, the scores are not floats, or parallel is not a bool.
      ValueError: if the shapes do not fit.

    Example:
      >>> import jax, numpy as np
      >>> from recur.classic import markov
      >>> from recur.classic import smooth
      >>> stay = markov.from_probabilities([0.5, 0.5], [[1, 0], [0, 1]])
      >>> found = jax.jit(smooth)(stay, np.log([[0.5, 0.5], [0.6, 0.2]]))
      >>> np.round(found.transitions, 2).tolist()
      [[0.75, 0.0], [0.0, 0.25]]

    References:
      Rabiner 1989, A Tutorial on Hidden Markov Models and Selected Applications in Speech
      Recognition, https://doi.org/10.1109/5.18626
      Eisner 2016, Inside-Outside and Forward-Backward Algorithms Are Just Backprop,
      https://aclanthology.org/W16-5901/
    """
    parallel = check_flag("smooth: parallel", parallel)
    return _smooth(*prepare("smooth", chain, log_scores, length), parallel=parallel)


@partial(jax.jit, static_argnames="parallel")
def _smooth(chain, log_scores, valid, *, parallel):
    (alpha, _), log_likelihood = run(log_sum, chain, log_scores, valid, parallel)
    beta = _backward(chain, log_scores, valid, parallel=parallel)
    states = jnp.exp(normalised(alpha + beta, axis=1))
    onward = (log_scores + beta)[1:, None, :]
    pairs = jnp.exp(normalised(alpha[:-1, :, None] + chain.log_transition[None] + onward, (1, 2)))
    pairs = zero_invalid(None if valid is None else valid[1:], pairs)
    return Smoothed(zero_invalid(valid, states), pairs.sum(0), log_likelihood)


@jax.custom_jvp
def _derived_by_posterior(chain, log_scores, valid, log_likelihood):
    """The log likelihood, differentiated by the posterior and not through the parallel rounds.

    Differentiating those would store each sum of each matrix product, S times the memory, and add
    terms that cancel: with float32 and 10,000 steps two digits are lost.
    """
    return log_likelihood


@_derived_by_posterior.defjvp
def _along(primals, tangents):
    """`Σ_t p(s_t | x) · d log b_t + p(s_1 | x) · d log π + Σ_t p(s_{t-1}, s_t | x) · d log A`."""
    chain, log_scores, valid, log_likelihood = primals
    change, change_of_scores, *_ = tangents
    states, transitions, _ = _smooth(chain, log_scores, valid, parallel=True)
    of_scores = (states * change_of_scores).sum()
    of_initial = (states[:1] * change.log_initial[None]).sum()
    of_transition = (transitions * change.log_transition).sum()
    return log_likelihood, of_scores + of_initial + of_transition


def _backward_cell() -> Cell:
    def init_carry(chain, x):
        return _uniform(chain)

    def step(chain, log_beta, log_scores):
        onward = chain.log_transition + (log_scores + log_beta)[None]
        return normalised(log_sum(onward, axis=1), axis=0), log_beta

    return cell(recursion(log_sum).init, init_carry, step)


_BACKWARD = scan(_backward_cell(), reverse=True)


def _backward_in_parallel(chain: MarkovChain, log_scores: jax.Array, valid: Any) -> jax.Array:
    maps = chain.log_transition[None] + log_scores[:, None, :]
    if valid is not None:
        identity = jnp.where(jnp.eye(maps.shape[1], dtype=bool), 0, -jnp.inf).astype(maps.dtype)
        maps = jnp.where(valid[:, None, None], maps, identity)
    products = jax.lax.associative_scan(
        lambda later, earlier: product(log_sum, earlier, later), maps, reverse=True
    )
    after = normalised(log_sum(products, axis=2), axis=1)
    return zero_invalid(valid, jnp.concatenate([after, _uniform(chain)[None]])[1:])


def _uniform(chain: MarkovChain) -> jax.Array:
    return jax.nn.log_softmax(jnp.zeros_like(chain.log_initial))
