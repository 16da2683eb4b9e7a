"""Hidden Markov models of symbols: a hidden Markov chain and the symbols that it emits.

`observe` computes the log likelihood of each symbol under each state. `forward`, `backward`,
`smooth` and `viterbi` take the chain and those scores, from any emission model.
"""

from __future__ import annotations

from typing import Any, NamedTuple, TypeVar

import jax
import jax.numpy as jnp

from recur.checks import check_array, check_whole
from recur.classic import markov
from recur.classic.forward_backward import backward, filtering, forward, smooth
from recur.classic.log_space import as_ids, check_sequence, common_dtype, log_probabilities
from recur.classic.markov import MarkovChain, check_chain
from recur.classic.viterbi import viterbi
from recur.ids import is_inside
from recur.keys import check_key
from recur.masks import make_mask, zero_invalid

__all__ = [
    "HiddenMarkov",
    "backward",
    "filtering",
    "forward",
    "from_probabilities",
    "init",
    "log_likelihood",
    "normalise",
    "observe",
    "sample",
    "smooth",
    "viterbi",
]

Logits = TypeVar("Logits")


class HiddenMarkov(NamedTuple):
    """A hidden Markov model of S states and V symbols, with log probabilities or logits.

        p(x, s) = p(s_1) p(x_1 | s_1) Π_{t>1} p(s_t | s_{t-1}) p(x_t | s_t)

    Attributes:
      chain: the `MarkovChain` of the states.
      log_emission: log p(x_t = v | s_t = i) at [i, v], `[S, V]`; -inf for probability zero.

    Example:
      >>> import jax.numpy as jnp
      >>> from recur.classic import HiddenMarkov, MarkovChain
      >>> one_state = MarkovChain(jnp.zeros(1), jnp.zeros((1, 1)))
      >>> HiddenMarkov(one_state, jnp.log(jnp.full((1, 4), 0.25))).log_emission.shape
      (1, 4)
    """

    chain: MarkovChain
    log_emission: jax.Array


def init(key: jax.Array, states: int, symbols: int) -> HiddenMarkov:
    """Draws logits of a hidden Markov model, which `normalise` converts to log probabilities.

    Args:
      key: a typed key.
      states: S.
      symbols: V.

    Returns:
      A `HiddenMarkov` of standard normal logits.

    Raises:
      TypeError: if `key` is not a typed key.
      ValueError: if states or symbols is not a whole number of at least 1.

    Example:
      >>> import jax
      >>> from recur.classic import hidden_markov
      >>> hidden_markov.init(jax.random.key(0), states=3, symbols=5).log_emission.shape
      (3, 5)
    """
    states = check_whole("init: states", states, 1)
    symbols = check_whole("init: symbols", symbols, 1)
    chain_key, emission_key = jax.random.split(check_key(key))
    emission = jax.random.normal(emission_key, (states, symbols))
    return HiddenMarkov(filtering().init(chain_key, emission[:, 0]), emission)


def normalise(logits: Logits) -> Logits:
    """Normalizes the logits of a model to log probabilities.

        log p_i = logit_i - log Σ_j exp(logit_j),    along the last axis of each array

    Args:
      logits: a `HiddenMarkov` or a `MarkovChain`; each row has at least one that is not -inf. A
        logit of -inf has gradient zero, so that its probability stays zero in training.

    Returns:
      The same type, with log probabilities.

    Raises:
      TypeError: if `logits` are neither.
      ValueError: if the shapes do not fit.

    Example:
      >>> import jax, jax.numpy as jnp
      >>> from recur.classic import hidden_markov
      >>> model = hidden_markov.normalise(hidden_markov.init(jax.random.key(0), 3, 5))
      >>> jnp.exp(model.log_emission).sum(1).round(3).tolist()
      [1.0, 1.0, 1.0]
    """
    if isinstance(logits, HiddenMarkov):
        check_model("normalise", logits)
    else:
        check_chain("normalise", logits)
    return jax.tree.map(jax.nn.log_softmax, logits)


def from_probabilities(initial: Any, transition: Any, emission: Any) -> HiddenMarkov:
    """Makes a hidden Markov model from probabilities.

    Args:
      initial: `[S]`, p(s_1 = i).
      transition: `[S, S]`, p(s_t = j | s_{t-1} = i) at [i, j].
      emission: `[S, V]`, p(x_t = v | s_t = i) at [i, v].

    Returns:
      A `HiddenMarkov`.

    Raises:
      TypeError: if they are not numbers.
      ValueError: if the shapes do not fit, a number is negative or not finite, or a distribution
        does not sum to one.

    Example:
      >>> import jax.numpy as jnp
      >>> from recur.classic import hidden_markov
      >>> bull_and_bear = hidden_markov.from_probabilities(
      ...     [0.5, 0.5], [[0.9, 0.1], [0.2, 0.8]], [[0.7, 0.3], [0.4, 0.6]])
      >>> bull_and_bear.chain.log_transition.shape
      (2, 2)
    """
    chain = markov.from_probabilities(initial, transition)
    model = HiddenMarkov(chain, log_probabilities("emission", emission, 2))
    return check_model("from_probabilities", model)


def observe(model: HiddenMarkov, xs: Any, length: Any = None) -> jax.Array:
    """Computes the log likelihood of each observed symbol under each state.

        b_t(i) = log p(x_t | s_t = i)

    Args:
      model: a `HiddenMarkov`.
      xs: integer `[T]`, each from 0 to V - 1; those in the padding never matter. Inside a
        transformation, an unknown symbol outside this range is a missing observation.
      length: integer, how many steps count; all by default.

    Returns:
      `[T, S]`, zero in the padding.

    Raises:
      TypeError: if `model` is not a `HiddenMarkov`, or xs are not integers.
      ValueError: if the shapes do not fit, or a symbol is known to be outside 0 ... V - 1.

    Example:
      >>> import jax.numpy as jnp
      >>> from recur.classic import hidden_markov
      >>> model = hidden_markov.from_probabilities([1], [[1]], [[0.25, 0.75]])
      >>> jnp.exp(hidden_markov.observe(model, jnp.array([0, 1, 0]))).tolist()
      [[0.25], [0.75], [0.25]]
    """
    model = check_model("observe", model)
    xs = as_ids("observe: xs", xs)
    symbols = model.log_emission.shape[1]
    check_sequence("observe", "symbols", xs, symbols, length)
    seen = is_inside(xs, symbols)
    valid = make_mask(xs, length=length).valid
    log_scores = model.log_emission.T[zero_invalid(seen, xs)]
    return zero_invalid(seen if valid is None else seen & valid, log_scores)


def log_likelihood(
    model: HiddenMarkov, xs: Any, length: Any = None, *, parallel: bool = False
) -> jax.Array:
    """Computes the log likelihood of a sequence of symbols (forward algorithm).

        log p(x_1 ... x_T) = log Σ_s p(x, s)

    Args:
      model: a `HiddenMarkov`.
      xs: integer `[T]`, each from 0 to V - 1; those in the padding never matter. Inside a
        transformation, an unknown symbol outside this range is a missing observation.
      length: integer, how many steps count; all by default.
      parallel: as for `forward`.

    Returns:
      A scalar, nats; -inf, with a gradient of zero, if the symbols have probability zero.

    Raises:
      TypeError: if `model` is not a `HiddenMarkov`, or xs are not integers.
      ValueError: if the shapes do not fit, or a symbol is known to be outside 0 ... V - 1.

    Example:
      One step of gradient ascent in the logits increases the likelihood:

      >>> import jax, jax.numpy as jnp
      >>> from recur.classic import hidden_markov
      >>> logits, xs = hidden_markov.init(jax.random.key(0), 2, 3), jnp.array([0, 2, 2, 0, 2])
      >>> @jax.jit
      ... @jax.value_and_grad
      ... def likelihood(logits):
      ...     return hidden_markov.log_likelihood(hidden_markov.normalise(logits), xs)
      >>> before, gradient = likelihood(logits)
      >>> after, _ = likelihood(jax.tree.map(lambda l, g: l + 0.1 * g, logits, gradient))
      >>> (after > before).item()
      True
    """
    log_scores = observe(model, xs, length)
    return forward(model.chain, log_scores, length, parallel=parallel)[1]


def sample(model: HiddenMarkov, key: jax.Array, steps: int) -> tuple[jax.Array, jax.Array]:
    """Samples a sequence of states and the symbols that they emit.

        s_t ~ p(s_t | s_{t-1}),    x_t ~ p(x_t | s_t)

    Args:
      model: a `HiddenMarkov`.
      key: a typed key.
      steps: T.

    Returns:
      `(states, xs)`, int32 `[T]` each.

    Raises:
      TypeError: if `model` is not a `HiddenMarkov`, or `key` not a typed key.
      ValueError: if the model's shapes do not fit, or steps is not a whole number.

    Example:
      >>> import jax
      >>> from recur.classic import hidden_markov
      >>> turn = hidden_markov.from_probabilities([1, 0], [[0, 1], [1, 0]], [[0, 0, 1], [1, 0, 0]])
      >>> [drawn.tolist() for drawn in hidden_markov.sample(turn, jax.random.key(0), 4)]
      [[0, 1, 0, 1], [2, 0, 2, 0]]
    """
    model = check_model("sample", model)
    state_key, symbol_key = jax.random.split(check_key(key))
    states = markov.sample(model.chain, state_key, steps)
    xs = jax.random.categorical(symbol_key, model.log_emission[states])
    return states, xs.astype(jnp.int32)


def check_model(caller: str, model: Any) -> HiddenMarkov:
    """Checks a model and returns it with arrays of one dtype, at least float32."""
    if not isinstance(model, HiddenMarkov):
        raise TypeError(f"{caller}: expected a HiddenMarkov, got {type(model).__name__}.")
    chain = check_chain(caller, model.chain)
    check_array(f"{caller}: log_emission", model.log_emission)
    states, shape = len(chain.log_initial), jnp.shape(model.log_emission)
    if len(shape) != 2 or shape[0] != states:
        raise ValueError(
            f"{caller}: expected log_emission of [{states}, V], a row for each state, got "
            f"{list(shape)}."
        )
    return common_dtype(HiddenMarkov(chain, model.log_emission))
