"""Caches compiled programs, so that calls outside of `jax.jit` are compiled once."""

from __future__ import annotations

import weakref
from collections.abc import Callable, MutableMapping
from functools import partial
from typing import Any

import jax
from jax.core import Tracer

_PROGRAMS: MutableMapping[Any, Callable] = weakref.WeakKeyDictionary()


def call_compiled(function: Callable[..., Any], model: Any, *args: Any, **options: Any) -> Any:
    """Calls `function(model, *args, **options)`, compiled once for each model and shape.

    Arrays and numbers in `args` are traced. Callables in them, such as choosers, and the options
    are static: the program is looked up by their hashes, and `top_k(5)` equals every `top_k(5)`. If
    an argument is being traced already, the function is called without compilation.

    Args:
      function: a pure function that lives as long as the model, such as one of a Python module.
      model: a layer or a function, compared by identity; its programs are freed when it is.
      *args: pytrees of arrays, numbers and callables.
      **options: hashable values.

    Returns:
      The result of the function.
    """
    leaves, structure = jax.tree.flatten(args)
    if any(isinstance(leaf, Tracer) for leaf in leaves):
        return function(model, *args, **options)
    callables = tuple(leaf if callable(leaf) else None for leaf in leaves)
    arrays = [None if callable(leaf) else leaf for leaf in leaves]
    try:
        if model not in _PROGRAMS:
            _PROGRAMS[model] = _make_program(weakref.ref(model))
    except TypeError:  # a callable without a hash or weak references
        return function(model, *args, **options)
    return _PROGRAMS[model](function, structure, callables, tuple(options.items()), arrays)


def _make_program(model_of: Callable[[], Any]) -> Callable:
    """Makes a compiled function with a weak reference to the model, so it can be freed."""

    @partial(jax.jit, static_argnums=(0, 1, 2, 3))
    def program(function, structure, callables, options, arrays):
        pairs = zip(callables, arrays, strict=True)
        args = jax.tree.unflatten(structure, [c if a is None else a for c, a in pairs])
        return function(model_of(), *args, **dict(options))

    return program
