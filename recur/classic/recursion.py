"""The forward recursion over hidden states, in two semirings, sequential or in parallel.

The recursion computes the sum over all paths through the states, weighted by a chain A and by the
likelihood b_t of each observation under each state:

    α_t(j) = b_t(j) Σ_i α_{t-1}(i) A(i, j)

In log space the product is +, and the sum is `log_sum`; with `max_of` as the sum, the same
recursion finds the best path. Each step is a product with the matrix b_t(i) A(i, j), and products
of matrices are associative in both semirings, so all T prefixes are computed in O(log T) rounds.

Each step subtracts the total from log α_t, the carry, and returns it as an output. So the carry
does not grow with T, and float32 is as exact at step 10,000 as at the first. The products in
parallel are normalized too, which loses their scale; one more step from each, all at once, recovers
it.
"""

from __future__ import annotations

import functools
from collections.abc import Callable
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp

from recur.arrays import as_array
from recur.cells.custom import cell
from recur.checks import check_params
from recur.classic.log_space import common_dtype, sum_of_logs
from recur.classic.markov import MarkovChain, check_chain
from recur.keys import check_key
from recur.layer import Layer
from recur.lift.scan import scan
from recur.log_sums import safe_subtract
from recur.masks import make_mask, zero_invalid
from recur.types import Cell, Mask

Total = Callable[..., jax.Array]  # (values, axis) -> their sum in a semiring


class Filtered(NamedTuple):
    """The posterior of the state at step t given the observations up to t.

    Attributes:
      log_filtered: log p(s_t | x_{1..t}), `[S]`, or `[T, S]` for a sequence.
      log_evidence: log p(x_t | x_{1..t-1}), a scalar, or `[T]` for a sequence.
    """

    log_filtered: jax.Array
    log_evidence: jax.Array


def prepare(
    caller: str, chain: Any, log_scores: Any, length: Any
) -> tuple[MarkovChain, jax.Array, jax.Array | None]:
    """Checks the arguments of `caller`.

    Returns:
      The chain and the scores in one dtype, at least float32, the scores zero in the padding, and
      the mask, bool `[T]`, or None if all steps count.
    """
    chain, log_scores = check_chain(caller, chain), as_array(f"{caller}: log_scores", log_scores)
    count = len(chain.log_initial)
    if not jnp.issubdtype(log_scores.dtype, jnp.floating):
        raise TypeError(
            f"{caller}: expected log scores as floats, got {log_scores.dtype}. Those of symbols "
            "are hidden_markov.observe(model, xs)."
        )
    if log_scores.ndim != 2 or log_scores.shape[1] != count:
        raise ValueError(
            f"{caller}: expected log scores of [T, {count}], one for each state of the chain, got "
            f"{list(log_scores.shape)}. Use jax.vmap for rows."
        )
    chain, log_scores = common_dtype((chain, log_scores))
    valid = make_mask(log_scores, length=length).valid
    return chain, zero_invalid(valid, log_scores), valid


def max_of(values: jax.Array, axis: int) -> jax.Array:
    """The sum of the (max, +) semiring, which finds the best path."""
    return values.max(axis)


def recursion(total: Total) -> Cell:
    """The recursion as a cell; its params are the logits of a chain, its x the log scores."""

    def init(key, x):
        _check_scores(x)
        states = len(x)
        first, onward = jax.random.split(check_key(key))
        return MarkovChain(
            log_initial=jax.random.normal(first, (states,)),
            log_transition=jax.random.normal(onward, (states, states)),
        )

    def bind(logits, x):
        check_params("filtering", logits, MarkovChain)
        _check_scores(x, len(logits.log_initial))
        return jax.tree.map(jax.nn.log_softmax, logits)

    def init_carry(chain, x):
        return chain.log_initial

    def step(chain, log_predicted, log_scores):
        joint = log_predicted + log_scores
        log_evidence = total(joint, axis=0)
        log_filtered = safe_subtract(joint, log_evidence)
        log_predicted = total(log_filtered[:, None] + chain.log_transition, axis=0)
        return log_predicted, Filtered(log_filtered, log_evidence)

    return cell(init, init_carry, step, bind)


def _check_scores(x: jax.Array, states: int | None = None) -> None:
    """Raises an error unless x holds the log scores of a step."""
    if not jnp.issubdtype(x.dtype, jnp.floating):
        raise TypeError(f"filtering: expected log scores as floats, got {x.dtype}.")
    if x.ndim != 1 or len(x) != (len(x) if states is None else states):
        raise ValueError(
            f"filtering: expected log scores of [{'S' if states is None else states}] at a step, "
            f"one for each state, got {list(x.shape)}."
        )


@functools.cache
def _layer(total: Total) -> Layer:
    return scan(recursion(total))


def run(
    total: Total, chain: MarkovChain, log_scores: jax.Array, valid: Any, parallel: bool
) -> tuple[Filtered, jax.Array]:
    """Runs the recursion over one sequence; also returns the sum over all paths.

    Outputs are zero at the steps where `valid`, bool `[T]` or None, is False.
    """
    if parallel:
        filtered = _in_parallel(total, chain, log_scores, valid)
    else:
        layer = _layer(total)
        carry = layer.begin(chain, log_scores)
        _, filtered = layer.apply(chain, carry, log_scores, Mask(valid), None)
    return filtered, sum_of_logs(filtered.log_evidence)


def _in_parallel(total: Total, chain: MarkovChain, log_scores: jax.Array, valid: Any) -> Filtered:
    maps = log_scores[:, :, None] + chain.log_transition[None]
    products = jax.lax.associative_scan(functools.partial(product, total), maps)
    steps = jax.vmap(recursion(total).step, in_axes=(None, 0, 0))

    def before(after):
        return jnp.concatenate([chain.log_initial[None], after])[:-1]

    without_scale = total(chain.log_initial[None, :, None] + products, axis=1)
    predicted, _ = steps(chain, before(without_scale), log_scores)
    _, filtered = steps(chain, before(predicted), log_scores)
    return zero_invalid(valid, filtered)


def product(total: Total, first: jax.Array, second: jax.Array) -> jax.Array:
    """The matrix product `first @ second`, `[..., S, S]`, in a semiring, up to a factor."""
    joint = total(first[..., :, :, None] + second[..., None, :, :], axis=-2)
    scale = jax.lax.stop_gradient(joint.max((-2, -1), keepdims=True))
    return safe_subtract(joint, scale)
