"""The best path through the states that are hidden."""

from __future__ import annotations

from typing import Any

import jax
import jax.numpy as jnp

from recur.classic.forward_backward import prepare
from recur.classic.markov import MarkovChain
from recur.classic.recursion import greatest, run
from recur.sequences.lengths import validity, zero_invalid


def viterbi(
    chain: MarkovChain, log_scores: jax.Array, length: Any = None, *, parallel: bool = False
) -> tuple[jax.Array, jax.Array]:
    """The likeliest sequence of states, given all observations.

        δ_t(j) = p(x_t | s_t = j) max_i δ_{t-1}(i) p(s_t = j | s_{t-1} = i)
        s_T = argmax_i δ_T(i),    s_t = argmax_i δ_t(i) p(s_{t+1} | s_t = i)

    Of equals the first is taken. Where the observations are impossible, no path is better than
    another, and its log probability is -inf.

    Args:
      chain: a `MarkovChain` of S states.
      log_scores: float `[T, S]`, log p(x_t | s_t), as `hidden_markov.observe` gives them; what
        stands in the padding never matters.
      length: integer, how many steps count; all of them when not given.
      parallel: as of `forward`.

    Returns:
      `(states, log_probability)`: int32 `[T]`, 0 in the padding; and log p(x, s), in nats.

    Raises:
      TypeError: when `chain` is not a chain, or the scores are not floats.
      ValueError: when the shapes do not fit.

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
    chain, log_scores = prepare("viterbi", chain, log_scores, length)
    best, log_probability = run(greatest, chain, log_scores, length, parallel)
    count = len(log_scores)
    steps = jnp.arange(count)
    is_last = steps == (count if length is None else jnp.asarray(length, steps.dtype)) - 1
    # Where the best path came from is a map of states; at the last step of all to the best one, so
    # that it does not matter what comes behind.
    onward = jnp.where(is_last[:, None, None], 0, chain.log_transition[None])
    back = jnp.argmax(best.log_filtered[:, :, None] + onward, axis=1).astype(jnp.int32)
    paths = jax.lax.associative_scan(_before, back, reverse=True)
    return zero_invalid(validity(count, length, None), paths[:, 0]), log_probability


def _before(later: jax.Array, earlier: jax.Array) -> jax.Array:
    """One map of states after the other, `earlier[later]`."""
    return jnp.take_along_axis(earlier, later, axis=-1)
