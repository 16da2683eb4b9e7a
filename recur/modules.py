"""Modules: what is applied to one step and keeps no state over time.

The one file below `interop` that knows Flax Linen. A Linen module, a function and the name of an
activation all become the same pair of pure functions here, so that `chain`, `readout` and the cells
take any of them.
"""

from __future__ import annotations

import inspect
from collections.abc import Callable, Iterable
from typing import Any, NamedTuple

import flax.errors
import jax
from flax import linen as nn

ACTIVATIONS = (
    "celu",
    "elu",
    "gelu",
    "hard_sigmoid",
    "hard_tanh",
    "identity",
    "leaky_relu",
    "log_softmax",
    "mish",
    "relu",
    "selu",
    "sigmoid",
    "silu",
    "soft_sign",
    "softmax",
    "softplus",
    "tanh",
)


class Module(NamedTuple):
    """`y = apply(params, *xs, key=None)` for one step, with `params = init(key, *xs)`."""

    init: Callable[..., Any]
    apply: Callable[..., Any]


def as_module(thing: Any) -> Module:
    """Makes a `Module` of a Linen module, a function or the name of an activation.

    Raises:
      TypeError: for anything else.
      ValueError: for a name that is not an activation's.
    """
    if isinstance(thing, nn.Module):
        return _of_linen(thing)
    if isinstance(thing, type):
        raise TypeError(f"expected a module, got the class {thing.__name__}: call it first.")
    function = activation(thing)
    return Module(init=lambda key, *xs: (), apply=lambda params, *xs, key=None: function(*xs))


def activation(name: str | Callable) -> Callable:
    """Returns the function of `jax.nn` called `name`; a function is returned as it is.

    Raises:
      ValueError: when the name is unknown.
      TypeError: when `name` is neither a name nor a function without weights.
    """
    if isinstance(name, str):
        if name not in ACTIVATIONS:
            raise ValueError(
                f"unknown activation {name!r}. Known by name: {', '.join(ACTIVATIONS)}; any other "
                "is given as a function."
            )
        return getattr(jax.nn, name)
    if isinstance(name, nn.Module):
        raise TypeError(f"expected a function without weights, got the module {name!r}.")
    if callable(name):
        return name
    came = type(name).__name__
    raise TypeError(f"expected a module, a function or an activation's name, got {came}.")


def _of_linen(module: nn.Module) -> Module:
    def init(key, *xs):
        shapes = jax.tree.map(lambda leaf: jax.ShapeDtypeStruct(leaf.shape, leaf.dtype), xs)
        with nn.intercept_methods(_telling(deterministic=True, use_running_average=True)):
            variables = module.lazy_init(key, *shapes)
        mutable = sorted(set(variables) - {"params"})
        if mutable:
            raise ValueError(
                f"{type(module).__name__} keeps mutable collections ({', '.join(mutable)}), and a "
                "recurrence is pure: statistics over a batch or over time have no place in a step. "
                "Use LayerNorm or RMSNorm instead of BatchNorm."
            )
        return variables.get("params", {})

    def apply(params, *xs, key=None):
        # Linen falls back to the stream "params" for every other one: one key serves them all.
        rngs = None if key is None else {"params": key}
        try:
            with nn.intercept_methods(_telling(deterministic=key is None)):
                return module.apply({"params": params}, *xs, rngs=rngs)
        except flax.errors.ScopeParamShapeError as error:
            raise ValueError(
                f"{type(module).__name__} was initialised for inputs of another width than "
                f"{_shapes(xs)}: {error}"
            ) from error

    return Module(init, apply)


def _telling(**told: bool) -> Callable:
    """An interceptor that tells every nested module what it asks for and nobody has decided."""

    def tell(next_method, args, kwargs, context):
        if context.method_name == "__call__":
            undecided = _undecided(told, context, args, kwargs)
            kwargs = {**kwargs, **{name: told[name] for name in undecided}}
        return next_method(*args, **kwargs)

    return tell


def _undecided(names: Iterable[str], context: Any, args: tuple, kwargs: dict) -> list[str]:
    """Those options that the call takes and neither the module nor the caller gave."""
    signature = inspect.signature(context.orig_method)
    given = signature.bind_partial(*args, **kwargs).arguments
    return [
        name
        for name in names
        if name in signature.parameters
        and getattr(context.module, name, None) is None
        and name not in given
    ]


def _shapes(xs: Any) -> str:
    return ", ".join(str(leaf.shape) for leaf in jax.tree.leaves(xs))
