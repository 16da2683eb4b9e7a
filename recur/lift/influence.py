"""The influence matrix d carry / d params of online learning, exact (RTRL) or sparse (SnAp-1).

Here the carry is one vector of n entries, as `flatten` returns it, and P is the number of weights.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jax.flatten_util import ravel_pytree

from recur.keys import is_key
from recur.types import Carry, Cell, Context, Params, Shaped

_DRAWS = 4  # the number of random trials; the first half has positive values


class Influence(NamedTuple):
    """A representation of M = d carry / d params.

    Attributes:
      start: `start(pull, carry_0) -> M_0`, given the vector-Jacobian product
        `pull(error of carry_0) -> (grads,)`.
      advance: `advance(pull, carry_t, M_{t-1}) -> M_t`, given that of one step,
        `pull(error of carry_t) -> (grads, error of carry_{t-1})`.
      gradient: `gradient(M, error of the carry) -> grads`.
    """

    start: Callable[..., Any]
    advance: Callable[..., Any]
    gradient: Callable[[Any, jax.Array], Params]


def flatten(carry: Carry) -> tuple[jax.Array, Callable[[jax.Array], Carry]]:
    """Returns the carry as one vector, and a function that unflattens it; dtypes may be mixed."""
    with jax.numpy_dtype_promotion("standard"):
        return ravel_pytree(carry)


def exact(cell: Cell) -> Callable[..., Influence]:
    """Keeps all of M, `[n, ...]` for each leaf of params: M_t = D_t M_{t-1} + I_t (RTRL)."""
    del cell

    def start(pull, carry):
        return jax.vmap(pull)(_basis(carry))[0]

    def advance(pull, carry, influence):
        immediate, dynamics = jax.vmap(pull)(_basis(carry))
        return jax.tree.map(lambda now, past: now + product(dynamics, past), immediate, influence)

    def gradient(influence, error):
        return jax.tree.map(lambda leaf: product(error, leaf), influence)

    def product(weights, leaf):
        return jnp.tensordot(weights.astype(leaf.dtype), leaf, 1)

    return lambda params, x, context: Influence(start, advance, gradient)


def one_step(cell: Cell) -> Callable[..., Influence]:
    """Keeps the entries of M that each weight affects in one step, `[K, ...]` per leaf (SnAp-1).

    The sparsity pattern depends on the cell and the shapes only, so it is found once for each.
    """
    known: dict[Any, Influence] = {}

    def influence(params, x, context):
        shapes = jax.eval_shape(lambda *trees: trees, params, x, context)
        leaves, structure = jax.tree.flatten(shapes)
        signature = (structure, *((leaf.shape, leaf.dtype) for leaf in leaves))
        if signature not in known:
            known[signature] = _sparse(_find_pattern(cell, *shapes))
        return known[signature]

    return influence


class _Pattern(NamedTuple):
    size: int  # n
    entries: Any  # like params, integers [K, ...]: the entries a weight affects, n for no entry
    colours: np.ndarray  # [n]: no weight affects two entries of one colour


def _sparse(pattern: _Pattern) -> Influence:
    colour_count = pattern.colours.max(initial=-1) + 1
    of_colours = np.arange(colour_count)[:, None] == pattern.colours[None, :]

    def start(pull, carry):
        """Computes all entries of a colour at once, since a weight affects only one of them."""
        rows = jax.vmap(lambda error: pull(error)[0])(jnp.asarray(of_colours, carry.dtype))
        return jax.tree.map(pick, rows, pattern.entries)

    def advance(pull, carry, influence):
        immediate = start(pull, carry)
        dynamics = jax.vmap(lambda error: pull(error)[1])(_basis(carry))
        dynamics = jnp.pad(dynamics, (0, 1))  # index n, for no entry, is zero

        def add(now, past, entries):
            among = dynamics[entries[:, None], entries[None, :]].astype(past.dtype)
            return now + (among * past[None]).sum(1)

        return jax.tree.map(add, immediate, influence, pattern.entries)

    def pick(rows, entries):
        picked = jnp.take_along_axis(rows, np.append(pattern.colours, 0)[entries], axis=0)
        return jnp.where(entries < pattern.size, picked, jnp.zeros_like(picked))

    def gradient(influence, error):
        error = jnp.pad(error, (0, 1))

        def weigh(leaf, entries):
            return (error[entries].astype(leaf.dtype) * leaf).sum(0)

        return jax.tree.map(weigh, influence, pattern.entries)

    return Influence(start, advance, gradient)


def _basis(carry: jax.Array) -> jax.Array:
    return jnp.eye(carry.size, dtype=carry.dtype)


def _find_pattern(cell: Cell, params: Shaped, x: Shaped, context: Context) -> _Pattern:
    found = _try_out(cell, params, x, context)
    leaves, structure = jax.tree.flatten(params)
    ends = np.cumsum([0, *(leaf.size for leaf in leaves)])
    table = _by_weight(found, ends[-1])
    entries = []
    for leaf, begin, end in zip(leaves, ends[:-1], ends[1:], strict=True):
        columns = table[:, begin:end]
        used = (columns < len(found)).any(1).sum()
        entries.append(columns[:used].reshape(used, *leaf.shape))
    return _Pattern(len(found), jax.tree.unflatten(structure, entries), _colour(found, ends[-1]))


def _try_out(cell: Cell, params: Shaped, x: Shaped, context: Context) -> list[np.ndarray]:
    """Finds the weights that affect each entry of the carry, by the step or the initial carry.

    These are the weights with a nonzero derivative at random values. Positive values activate all
    rectifiers, and small values avoid saturation. Each trial runs without and with noise, since a
    weight may be dropped by noise, or matter only with it.
    """

    def begin(params, key, context):
        bound = cell.bind(params, x, key=key, context=context)
        return bound, cell.init_carry(bound, x)

    def reached(entry, params, carry, x, context, key):
        def value(params):
            bound, initial = begin(params, key, context)
            after, _ = cell.step(bound, carry, x, key)
            return flatten(initial)[0][entry] + flatten(after)[0][entry]

        flags = [leaf.ravel() != 0 for leaf in jax.tree.leaves(jax.grad(value)(params))]
        return jnp.concatenate([jnp.zeros(0, bool), *flags])

    @jax.jit
    def reached_in_any(entry, drawn, keys):
        def try_once(drawn, key):
            params, carry, x, context = drawn
            return reached(entry, params, carry, x, context, key)

        trial = jax.vmap(try_once)
        return (trial(drawn, None) | trial(drawn, keys)).any(0)

    carry = jax.eval_shape(lambda *given: begin(*given)[1], params, None, context)
    with jax.ensure_compile_time_eval():
        drawn = _draw((params, carry, x, context))
        keys = jax.random.split(jax.random.key(0), _DRAWS)
        size = sum(leaf.size for leaf in jax.tree.leaves(carry))
        return [np.flatnonzero(reached_in_any(entry, drawn, keys)) for entry in range(size)]


def _draw(shapes: Any) -> Any:
    draws = np.random.default_rng(0)

    def draw(leaf):
        shape = (_DRAWS, *leaf.shape)
        if is_key(leaf):
            return jax.random.split(jax.random.key(0), shape)
        if leaf.dtype == jnp.bool_:
            return jnp.asarray(draws.integers(2, size=shape), bool)
        if not jnp.issubdtype(leaf.dtype, jnp.inexact):
            raise TypeError(
                "online: snap-1 expects no integers in x or the context, since it finds by trials "
                f"which weights affect the carry, got {leaf.dtype}{list(leaf.shape)}. Encode token "
                "ids with jax.nn.one_hot(ids, V), or use method='rtrl'."
            )
        values = draws.uniform(0.5, 1.0, shape) / np.sqrt(max(leaf.size, 1))
        values[_DRAWS // 2 :] *= draws.choice([-1.0, 1.0], values[_DRAWS // 2 :].shape)
        return jnp.asarray(values, leaf.dtype)

    return jax.tree.map(draw, shapes)


def _by_weight(found: list[np.ndarray], count: int) -> np.ndarray:
    """Returns `[K, P]`: the entries that each weight affects, padded with `len(found)`."""
    entry = np.repeat(np.arange(len(found)), [len(weights) for weights in found])
    weight = np.concatenate([np.zeros(0, int), *found])
    order = np.argsort(weight, kind="stable")
    entry, weight = entry[order], weight[order]
    place = np.arange(len(weight)) - np.searchsorted(weight, weight)
    table = np.full((place.max(initial=-1) + 1, count), len(found), np.int32)
    table[place, weight] = entry
    return table


def _colour(found: list[np.ndarray], count: int) -> np.ndarray:
    """Colours entries greedily so that no weight affects two entries of one colour."""
    colours = []
    met: list[np.ndarray] = []  # for each colour, the weights that affect an entry of it
    for weights in found:
        fits = [colour for colour, reached in enumerate(met) if not reached[weights].any()]
        if not fits:
            fits = [len(met)]
            met.append(np.zeros(count, bool))
        met[fits[0]][weights] = True
        colours.append(fits[0])
    return np.array(colours, int)
