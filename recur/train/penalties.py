"""L1 and L2 penalties, and the selection of weights by their path."""

from __future__ import annotations

import fnmatch
from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from recur.checks import check_leaves, describe, leaf_name
from recur.types import Params

Where = Any  # a pytree of bools like params, or a function `params -> pytree of bools`


def l1(params: Params, where: Where = None) -> jax.Array:
    """Computes the L1 penalty, the sum of the absolute values of weights.

        sum_i |w_i|

    Args:
      params: a pytree of weights.
      where: which weights count: a pytree of bools, or a function from params to one, such as
        `by_path` returns; all by default.

    Returns:
      A scalar.

    Raises:
      TypeError: if params are not arrays, or `where` selects by something other than bools.
      ValueError: if `where` has another structure than params.

    Example:
      >>> import jax.numpy as jnp
      >>> from recur.train import by_path, l1
      >>> params = {"kernel": jnp.array([1.0, -2.0]), "bias": jnp.array([5.0])}
      >>> l1(params, by_path("*kernel")).item()
      3.0
    """
    return _sum("l1", jnp.abs, params, where)


def l2(params: Params, where: Where = None) -> jax.Array:
    """Computes the L2 penalty, the sum of the squares of weights.

        sum_i w_i²

    With adaptive optimizers this differs from weight decay, for which Optax has
    `optax.add_decayed_weights`; `by_path` makes masks for it too.

    Args:
      params: a pytree of weights.
      where: which weights count, as for `l1`.

    Returns:
      A scalar.

    Raises:
      TypeError: if params are not arrays, or `where` selects by something other than bools.
      ValueError: if `where` has another structure than params.

    Example:
      >>> import jax.numpy as jnp
      >>> from recur.train import l2
      >>> l2({"kernel": jnp.array([3.0, -4.0])}).item()
      25.0
    """
    return _sum("l2", jnp.square, params, where)


def by_path(*patterns: str) -> Callable[[Params], Any]:
    """Selects weights by patterns of their paths in the params, such as `1/recurrent_kernel`.

    Args:
      *patterns: shell patterns, in which `*` matches any characters, including `/`. A pattern
        selects the weights that it matches and all weights below: `"*kernel"` selects the kernels
        and recurrent kernels of all gates, `"1"` all weights of the second part of a chain.

    Returns:
      `where(params)`, which returns a pytree of bools, for this package and as a mask for Optax.

    Raises:
      TypeError: if a pattern is not a string.
      ValueError: if there is no pattern; when called, if a pattern selects nothing. It lists the
        paths.

    Example:
      >>> import optax
      >>> from recur.train import by_path
      >>> decay = optax.add_decayed_weights(1e-4, mask=by_path("*kernel"))
    """
    for pattern in patterns:
        if not isinstance(pattern, str):
            raise TypeError(f"by_path: expected patterns as strings, got {pattern!r}.")
    if not patterns:
        raise ValueError('by_path: expected at least one pattern, such as "*kernel", got none.')

    def where(params):
        paths = [_names(path) for path, _ in jax.tree_util.tree_leaves_with_path(params)]
        for pattern in patterns:
            if not any(_selects(pattern, names) for names in paths):
                listed = ", ".join("/".join(names) for names in paths)
                raise ValueError(
                    f"by_path: expected a pattern that selects weights, got {pattern!r}. The paths "
                    f"are {listed}."
                )
        return jax.tree_util.tree_map_with_path(
            lambda path, _: any(_selects(pattern, _names(path)) for pattern in patterns), params
        )

    return where


def _names(path: tuple) -> list[str]:
    return leaf_name(path).split("/")


def _selects(pattern: str, names: list[str]) -> bool:
    """Whether the pattern matches a weight, or a part that the weight belongs to."""
    parts = ("/".join(names[:depth]) for depth in range(1, len(names) + 1))
    return any(fnmatch.fnmatchcase(part, pattern) for part in parts)


def selected_weights(caller: str, params: Params, where: Where) -> Any:
    """Returns a pytree of bools with the structure of params, True for the selected weights.

    Raises:
      TypeError: if a leaf of params is not an array, or one of `where` not a bool.
      ValueError: if `where` has another structure than params.
    """
    check_leaves(f"{caller}: params", params)
    selected = where(params) if callable(where) else True if where is None else where
    expected = (
        f"{caller}: expected where as a pytree of bools like params, or a function that returns "
        f'one, such as by_path("*kernel"), got {describe(selected)}.'
    )
    if not all(isinstance(leaf, (bool, np.bool_)) for leaf in jax.tree.leaves(selected)):
        raise TypeError(expected)
    try:
        return jax.tree.broadcast(selected, params)
    except ValueError as error:
        raise ValueError(f"{expected} The params are {describe(params)}.") from error


def _sum(caller: str, size: Callable, params: Params, where: Where) -> jax.Array:
    selected = selected_weights(caller, params, where)
    sums = jax.tree.map(lambda w, counts: size(w).sum() if counts else None, params, selected)
    return sum(jax.tree.leaves(sums), jnp.zeros(()))
