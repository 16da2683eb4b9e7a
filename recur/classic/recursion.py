"""One recursion over the states that are hidden, in two semirings, step by step or in parallel.

All paths through the states, weighed by a chain and by what each observation says of each state,
are summed up by going on step by step from every state to every other:

    α_t(j) = b_t(j) Σ_i α_{t-1}(i) A(i, j)

With logarithms the product is +, and the sum is `log_sum`; with `greatest` in its place, the same
recursion finds the best path. Each step is a product with the matrix b_t(i) A(i, j), and products
of matrices are associative in both semirings: so all T prefixes are found in O(log T) rounds.

What grows with T is kept out of the carry: each step hands on log α_t less its total, and gives the
total out. So a float32 is as exact at step 10,000 as at the first. The products throw their scale
away as they go; the steps taken once more, all at once, from where the products say, find it again.
"""

from __future__ import annotations

import functools
from collections.abc import Callable
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp

from recur.classic.log_space import less, sum_of_logs
from recur.classic.markov import MarkovChain
from recur.keys import check_key
from recur.lift.scan import scan
from recur.sequences.lengths import validity, zero_invalid
from recur.types import Cell, Layer, cell

Total = Callable[..., jax.Array]  # (values, axis) -> their sum in a semiring


class Filtered(NamedTuple):
    """What is known of the state at step t from the observations up to t."""

    log_filtered: jax.Array  # [S], or [T, S] over time: log p(s_t | x_{1..t})
    log_evidence: jax.Array  # [], or [T]: log p(x_t | x_{1..t-1})


def greatest(values: jax.Array, axis: int) -> jax.Array:
    """The sum of the semiring in which the best path is found."""
    return values.max(axis)


def recursion(total: Total) -> Cell:
    """The recursion as a cell: params are a chain's logits, bound the chain, x what is seen."""

    def init(key, x):
        states = x.shape[-1]
        first, onward = jax.random.split(check_key(key))
        return MarkovChain(
            log_initial=jax.random.normal(first, (states,)),
            log_transition=jax.random.normal(onward, (states, states)),
        )

    def bind(logits, x):
        return jax.tree.map(jax.nn.log_softmax, logits)

    def start(chain, x):
        return chain.log_initial

    def step(chain, log_predicted, log_scores):
        joint = log_predicted + log_scores
        log_evidence = total(joint, axis=0)
        log_filtered = less(joint, log_evidence)
        log_predicted = total(log_filtered[:, None] + chain.log_transition, axis=0)
        return log_predicted, Filtered(log_filtered, log_evidence)

    return cell(init, start, step, bind)


@functools.cache
def _layer(total: Total) -> Layer:
    return scan(recursion(total))


def run(
    total: Total, chain: MarkovChain, log_scores: jax.Array, length: Any, parallel: bool
) -> tuple[Filtered, jax.Array]:
    """Runs the recursion over one sequence, zero in the padding; gives all paths' total, too."""
    if parallel:
        filtered = _in_parallel(total, chain, log_scores, length)
    else:
        layer = _layer(total)
        start = layer.start(chain, log_scores)
        _, filtered = layer.apply(chain, start, log_scores, length=length)
    return filtered, sum_of_logs(filtered.log_evidence)


def _in_parallel(total: Total, chain: MarkovChain, log_scores: jax.Array, length: Any) -> Filtered:
    maps = log_scores[:, :, None] + chain.log_transition[None]
    products = jax.lax.associative_scan(functools.partial(then, total), maps)
    steps = jax.vmap(recursion(total).step, in_axes=(None, 0, 0))

    def before(after):
        return jnp.concatenate([chain.log_initial[None], after])[:-1]

    without_scale = total(chain.log_initial[None, :, None] + products, axis=1)
    predicted, _ = steps(chain, before(without_scale), log_scores)
    _, filtered = steps(chain, before(predicted), log_scores)
    return zero_invalid(validity(len(log_scores), length, None), filtered)


def then(total: Total, first: jax.Array, second: jax.Array) -> jax.Array:
    """The products of matrices `[..., S, S]` in a semiring, each up to a factor."""
    product = total(first[..., :, :, None] + second[..., None, :, :], axis=-2)
    scale = jax.lax.stop_gradient(product.max((-2, -1), keepdims=True))
    return less(product, scale)
