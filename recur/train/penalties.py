"""Penalties on the size of weights, and the choice of weights by their path."""

from __future__ import annotations

import fnmatch
from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp

from recur.types import Params

Mask = Any  # a pytree of bools with the structure of params, or a function that makes it of params


def l1(params: Params, mask: Mask = None) -> jax.Array:
    """The sum of the absolute values of weights, to add to a loss: it drives weights to zero.

        sum_i |w_i|

    Args:
      params: a pytree of weights.
      mask: which of them count, as Optax takes it: a pytree of bools, or a function from params to
        one, such as `by_path` makes. All when not given.

    Returns:
      A scalar.

    Example:
      >>> import jax.numpy as jnp
      >>> from recur.train import by_path, l1
      >>> params = {"kernel": jnp.array([1.0, -2.0]), "bias": jnp.array([5.0])}
      >>> l1(params, by_path("*kernel")).item()
      3.0
    """
    return _sum(jnp.abs, params, mask)


def l2(params: Params, mask: Mask = None) -> jax.Array:
    """The sum of the squares of weights, to add to a loss.

        sum_i w_i²

    With adaptive optimizers this differs from weight decay, which is `optax.add_decayed_weights`;
    `by_path` makes masks for that as well.

    Args:
      params: a pytree of weights.
      mask: which of them count, as of `l1`.

    Returns:
      A scalar.

    Example:
      >>> import jax.numpy as jnp
      >>> from recur.train import l2
      >>> l2({"kernel": jnp.array([3.0, -4.0])}).item()
      25.0
    """
    return _sum(jnp.square, params, mask)


def by_path(*patterns: str) -> Callable[[Params], Any]:
    """Chooses weights by the path of their names, such as `1/recurrent_kernel`.

    Args:
      *patterns: as of the shell: `*` stands for any characters, `/` included. A pattern chooses
        what it names and all below it: `"*kernel"` the kernels and recurrent kernels of all gates,
        `"1"` all weights of a chain's second part.

    Returns:
      `mask(params) -> ` a pytree of bools: a mask for penalties and for Optax.

    Raises:
      ValueError: by the mask, when a pattern chooses nothing; it lists the paths there are.

    Example:
      >>> import optax
      >>> from recur.train import by_path
      >>> decay = optax.add_decayed_weights(1e-4, mask=by_path("*kernel"))
    """

    def mask(params):
        paths = [_names(path) for path, _ in jax.tree_util.tree_leaves_with_path(params)]
        for pattern in patterns:
            if not any(_chooses(pattern, names) for names in paths):
                listed = ", ".join("/".join(names) for names in paths)
                raise ValueError(
                    f"by_path: {pattern!r} chooses none of the weights, which are {listed}."
                )
        return jax.tree_util.tree_map_with_path(
            lambda path, _: any(_chooses(pattern, _names(path)) for pattern in patterns), params
        )

    return mask


def _names(path: tuple) -> list[str]:
    return jax.tree_util.keystr(path, simple=True, separator="/").split("/")


def _chooses(pattern: str, names: list[str]) -> bool:
    """Whether the pattern names a weight, or a part that the weight belongs to."""
    parts = ("/".join(names[:depth]) for depth in range(1, len(names) + 1))
    return any(fnmatch.fnmatchcase(part, pattern) for part in parts)


def _sum(size: Callable, params: Params, mask: Mask) -> jax.Array:
    chosen = mask(params) if callable(mask) else mask
    if chosen is None:
        chosen = jax.tree.map(lambda _: True, params)
    sums = jax.tree.map(lambda w, counts: size(w).sum() if counts else None, params, chosen)
    return sum(jax.tree.leaves(sums), jnp.zeros(()))
