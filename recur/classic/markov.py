"""First-order Markov chains: the next state depends only on the current state."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from recur.checks import check_array, check_whole, is_number, known_value
from recur.classic.log_space import as_ids, check_sequence, common_dtype, log_probabilities
from recur.ids import is_inside
from recur.keys import check_key, split_along
from recur.masks import make_mask, zero_invalid

__all__ = [
    "MarkovChain",
    "fit_chain",
    "from_probabilities",
    "log_likelihood",
    "sample",
    "stationary",
]


class MarkovChain(NamedTuple):
    """A first-order Markov chain of S states, with log probabilities or logits.

        p(s_1 ... s_T) = p(s_1) Π_{t>1} p(s_t | s_{t-1})

    Attributes:
      log_initial: log p(s_1 = i), `[S]`; -inf for probability zero.
      log_transition: log p(s_t = j | s_{t-1} = i) at [i, j], `[S, S]`.

    Example:
      >>> import jax.numpy as jnp
      >>> from recur.classic import MarkovChain
      >>> MarkovChain(jnp.zeros(1), jnp.zeros((1, 1))).log_transition.shape
      (1, 1)
    """

    log_initial: jax.Array
    log_transition: jax.Array


def from_probabilities(initial: Any, transition: Any) -> MarkovChain:
    """Makes a Markov chain from probabilities.

    Args:
      initial: `[S]`, p(s_1 = i).
      transition: `[S, S]`, p(s_t = j | s_{t-1} = i) at [i, j].

    Returns:
      A `MarkovChain`.

    Raises:
      TypeError: if they are not numbers.
      ValueError: if the shapes do not fit, a number is negative or not finite, or a distribution
        does not sum to one.

    Example:
      >>> from recur.classic import markov
      >>> chain = markov.from_probabilities([1, 0], [[0, 1], [1, 0]])
      >>> chain.log_initial.tolist()
      [0.0, -inf]
    """
    chain = MarkovChain(
        log_initial=log_probabilities("initial", initial, 1),
        log_transition=log_probabilities("transition", transition, 2),
    )
    return check_chain("from_probabilities", chain)


def fit_chain(sequences: Sequence[Any], states: int, smoothing: float = 0.0) -> MarkovChain:
    """Fits a Markov chain to sequences by maximum likelihood, that is by counting.

        p(j | i) = (count(i, j) + smoothing) / Σ_k (count(i, k) + smoothing)

    A state without a successor in the data gets equal transition probabilities.

    Args:
      sequences: integer arrays of states, of any lengths.
      states: S.
      smoothing: a number that is added to each count, so that no probability is zero.

    Returns:
      A `MarkovChain`.

    Raises:
      TypeError: if sequences are not a list, or one does not hold integers.
      ValueError: if a state is outside 0 ... S - 1, all sequences are empty, a sequence has more
        than one axis, or smoothing is negative.

    Example:
      >>> import jax.numpy as jnp
      >>> from recur.classic import markov
      >>> chain = markov.fit_chain([[0, 1, 0, 0], [0]], states=2)
      >>> jnp.exp(chain.log_transition).tolist()
      [[0.5, 0.5], [1.0, 0.0]]

    References:
      Markov 1913, An Example of Statistical Investigation of the Text Eugene Onegin Concerning the
      Connection of Samples in Chains, https://doi.org/10.1017/S0269889706001074
    """
    states = check_whole("fit_chain: states", states, 1)
    if not is_number(smoothing) or not 0 <= smoothing < np.inf:
        raise ValueError(f"fit_chain: expected smoothing of at least 0, got {smoothing!r}.")
    if not isinstance(sequences, Iterable):
        raise TypeError(
            f"fit_chain: expected a list of sequences, got {type(sequences).__name__}. Put a "
            "single one in a list."
        )
    sequences = list(sequences)
    initial, transition = np.zeros(states), np.zeros((states, states))
    for number, sequence in enumerate(sequences):
        ids = np.asarray(as_ids(f"fit_chain: sequence {number}", sequence))
        if not ids.size:
            continue
        check_sequence(f"fit_chain: sequence {number}", "states", ids, states)
        initial[ids[0]] += 1
        np.add.at(transition, (ids[:-1], ids[1:]), 1)
    if not initial.any():
        raise ValueError(
            "fit_chain: expected at least one sequence with a state in it, got "
            f"{len(sequences)} sequences without any."
        )
    return from_probabilities(_shares(initial + smoothing), _shares(transition + smoothing))


def log_likelihood(chain: MarkovChain, states: Any, length: Any = None) -> jax.Array:
    """Computes the log probability of a sequence of observed states.

        log p(s_1 ... s_T) = log p(s_1) + Σ_{t>1} log p(s_t | s_{t-1})

    Args:
      chain: a `MarkovChain`.
      states: integer `[T]`, each from 0 to S - 1; those in the padding never matter. Inside a
        transformation, an unknown state outside this range is skipped, with the transitions to it
        and from it.
      length: integer, how many steps count; all by default.

    Returns:
      A scalar, nats; 0 for an empty sequence.

    Raises:
      TypeError: if states are not integers.
      ValueError: if the shapes do not fit, or a state is known to be outside 0 ... S - 1.

    Example:
      >>> import jax.numpy as jnp
      >>> from recur.classic import markov
      >>> chain = markov.from_probabilities([0.5, 0.5], [[0.75, 0.25], [0.5, 0.5]])
      >>> jnp.exp(markov.log_likelihood(chain, jnp.array([0, 1, 1]))).round(4).item()
      0.0625
    """
    chain = check_chain("log_likelihood", chain)
    states = as_ids("log_likelihood: states", states)
    check_sequence("log_likelihood", "states", states, len(chain.log_initial), length)
    inside = is_inside(states, len(chain.log_initial))
    valid = make_mask(states, length=length).valid
    states = zero_invalid(inside, states)
    first, then = states[:1], (states[:-1], states[1:])
    steps = jnp.concatenate([chain.log_initial[first], chain.log_transition[then]])
    counts = inside & jnp.concatenate([inside[:1], inside[:-1]])
    return zero_invalid(counts if valid is None else counts & valid, steps).sum()


def sample(chain: MarkovChain, key: jax.Array, steps: int) -> jax.Array:
    """Samples a sequence of states.

        s_1 ~ p(s_1),    s_t ~ p(s_t | s_{t-1})

    Args:
      chain: a `MarkovChain`.
      key: a typed key.
      steps: T.

    Returns:
      int32 `[T]`.

    Raises:
      TypeError: if `key` is not a typed key.
      ValueError: if the chain's shapes do not fit, or steps is not a whole number.

    Example:
      >>> import jax
      >>> from recur.classic import markov
      >>> turn = markov.from_probabilities([1, 0], [[0, 1], [1, 0]])
      >>> markov.sample(turn, jax.random.key(0), 5).tolist()
      [0, 1, 0, 1, 0]
    """
    chain, key = check_chain("sample", chain), check_key(key)
    steps = check_whole("sample: steps", steps, 0)

    def draw(log_probabilities, key):
        state = jax.random.categorical(key, log_probabilities).astype(jnp.int32)
        return chain.log_transition[state], state

    return jax.lax.scan(draw, chain.log_initial, split_along(key, steps))[1]


def stationary(chain: MarkovChain) -> jax.Array:
    """Computes the stationary distribution of a Markov chain.

        π P = π,  Σ_i π_i = 1:    π = 1 (I - P + E)⁻¹,  where E is all ones

    Args:
      chain: a `MarkovChain` in which some state is reached from every state; otherwise the
        stationary distribution is not unique.

    Returns:
      `[S]`, probabilities.

    Raises:
      ValueError: if the shapes do not fit, or the distribution is known not to be unique.

    Example:
      >>> from recur.classic import markov
      >>> chain = markov.from_probabilities([1, 0], [[0.5, 0.5], [1, 0]])
      >>> [f"{share:.3f}" for share in markov.stationary(chain)]
      ['0.667', '0.333']
    """
    chain = check_chain("stationary", chain)
    _check_meets(chain.log_transition)
    transition = jnp.exp(chain.log_transition)
    identity = jnp.eye(len(transition), dtype=transition.dtype)
    return jnp.linalg.solve((identity - transition + 1).T, jnp.ones_like(transition[0]))


def check_chain(caller: str, chain: Any) -> MarkovChain:
    """Checks a chain and returns it with arrays of one dtype, at least float32."""
    if not isinstance(chain, MarkovChain):
        hint = " Give model.chain." if hasattr(chain, "chain") else ""
        raise TypeError(f"{caller}: expected a MarkovChain, got {type(chain).__name__}.{hint}")
    for name, part in chain._asdict().items():
        check_array(f"{caller}: {name}", part)
    initial, transition = jnp.shape(chain.log_initial), jnp.shape(chain.log_transition)
    if len(initial) != 1 or transition != initial * 2:
        raise ValueError(
            f"{caller}: expected a chain with log_initial of [S] and log_transition of [S, S], got "
            f"{list(initial)} and {list(transition)}."
        )
    return common_dtype(chain)


def _shares(counts: np.ndarray) -> np.ndarray:
    """The share of each count in its row; equal shares for rows of zeros."""
    totals = counts.sum(-1, keepdims=True)
    equal = np.full(counts.shape, 1 / counts.shape[-1])
    return np.divide(counts, totals, out=equal, where=totals > 0)


def _check_meets(log_transition: jax.Array) -> None:
    """Raises a ValueError unless some state is reached from every state; tracers pass."""
    known = known_value(log_transition)
    if known is None:
        return
    reached = np.isfinite(known) | np.eye(len(known), dtype=bool)
    for _ in range(len(reached).bit_length()):
        reached = reached.astype(np.float32) @ reached.astype(np.float32) > 0
    if not reached.all(0).any():
        raise ValueError(
            "stationary: expected a chain in which some state is reached from every state, got "
            "one with more than one stationary distribution."
        )
