"""The Viterbi algorithm: the most likely path through the hidden states."""

from __future__ import annotations

from functools import partial
from typing import Any

import jax
import jax.numpy as jnp

from recur.checks import check_flag
from recur.classic.markov import MarkovChain
from recur.classic.recursion import max_of, prepare, run
from recur.masks import zero_invalid


def viterbi(
    chain: MarkovChain, log_scores: jax.Array, length: Any = None, *, parallel: bool = False
) -> tuple[jax.Array, jax.Array]:
    """Finds the most likely sequence of states, given all observations (Viterbi algorithm).

        δ_t(j) = p(x_t | s_t = j) max_i δ_{t-1}(i) p(s_t = j | s_{t-1} = i)
        s_T = argmax_i δ_T(i),    s_t = argmax_i δ_t(i) p(s_{t+1} | s_t = i)

    Ties are broken in favor of the first state. If the observations have probability zero, the log
    probability is -inf.

    Args:
      chain: a `MarkovChain` of S states.
      log_scores: float `[T, S]`, log p(x_t | s_t), as `hidden_markov.observe` computes them; those
        in the padding never matter.
      length: integer, how many steps count; all by default.
      parallel: as for `forward`.

    Returns:
      `(states, log_probability)`: int32 `[T]`, 0 in the padding; and log p(x, s), in nats.

    Raises:
      TypeError: if `chain` is not a chain, the scores are not floats, or parallel is not a bool.
      ValueError: if the shapes do not fit.

    Example:
      >>> import jax.numpy as jnp
      >>> from recur.classic import markov
      >>> from recur.classic import viterbi
      >>> sticky = markov.from_probabilities([0.5, 0.5], [[0.9, 0.1], [0.1, 0.9]])
      >>> log_scores = jnp.log(jnp.array([[0.8, 0.2], [0.4, 0.6], [0.8, 0.2]]))
      >>> viterbi(sticky, log_scores)[0].tolist()
      [0, 0, 0]

    References:
      Viterbi 1967, Error Bounds for Convolutional Codes and an Asymptotically Optimum Decoding
      Algorithm, https://doi.org/10.1109/TIT.1967.1054010
      Hassan, Särkkä & García-Fernández 2021, Temporal Parallelization of Inference in Hidden Markov
      Models, https://arxiv.org/abs/2102.05743
    """
    parallel = check_flag("viterbi: parallel", parallel)
    return _viterbi(*prepare("viterbi", chain, log_scores, length), parallel=parallel)


@partial(jax.jit, static_argnames="parallel")  # compiled once, also for calls outside of jit
def _viterbi(chain, log_scores, valid, *, parallel):
    best, log_probability = run(max_of, chain, log_scores, valid, parallel)
    count = len(log_scores)
    is_last = jnp.arange(count) == (count if valid is None else valid.sum()) - 1
    # From each state of step t + 1 the best state of step t; from all states after the last step
    # the best last state, so that the path may begin in any.
    onward = jnp.where(is_last[:, None, None], 0, chain.log_transition[None])
    back = jnp.argmax(best.log_filtered[:, :, None] + onward, axis=1).astype(jnp.int32)
    if parallel:
        path = jax.lax.associative_scan(_compose, back, reverse=True)[:, 0]
    else:
        path = jax.lax.scan(_follow, jnp.zeros((), jnp.int32), back, reverse=True)[1]
    return zero_invalid(valid, path), log_probability


def _compose(later: jax.Array, earlier: jax.Array) -> jax.Array:
    """The composition of two maps of states, `earlier[later]`."""
    return jnp.take_along_axis(earlier, later, axis=-1)


def _follow(state: jax.Array, back: jax.Array) -> tuple[jax.Array, jax.Array]:
    return back[state], back[state]
