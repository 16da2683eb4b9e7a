"""Calls outside of `jax.jit`, compiled once and not at every call."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import Any

import jax


def call_compiled(function: Callable[..., Any], *args: Any, **options: Any) -> Any:
    """Calls `function(*args, **options)`, compiled once for its callables, options and shapes.

    Arrays and numbers in `args` are traced. Callables in them (layers, choosers, step functions)
    and the options are constants of the program, which is found again by their hashes: a layer is
    equal to itself alone, `top_k(5)` to every `top_k(5)`. If an argument is being traced already,
    the function is called as it is.

    Args:
      function: a pure function that lives as long as the program, such as one of a module.
      *args: pytrees of arrays, numbers and callables.
      **options: hashable values.

    Returns:
      What the function returns.
    """
    leaves, structure = jax.tree.flatten(args)
    if any(isinstance(leaf, jax.core.Tracer) for leaf in leaves):
        return function(*args, **options)
    callables = tuple(leaf if callable(leaf) else None for leaf in leaves)
    arrays = [None if callable(leaf) else leaf for leaf in leaves]
    return _call(function, structure, callables, tuple(options.items()), arrays)


@partial(jax.jit, static_argnums=(0, 1, 2, 3))
def _call(function, structure, callables, options, arrays):
    pairs = zip(callables, arrays, strict=True)
    args = jax.tree.unflatten(structure, [c if a is None else a for c, a in pairs])
    return function(*args, **dict(options))
