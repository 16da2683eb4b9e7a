"""Modules: functions of one step, with or without weights, that keep no state over time.

The one file below `interop` that knows other libraries. A module of Flax or Equinox, a function and
the name of an activation all become the same pair of pure functions, so that
`chain`, `readout` and the cells take any of them. Nothing with weights is taken for a function.
"""

from __future__ import annotations

import contextlib
import inspect
import sys
from collections.abc import Callable, Iterable, Iterator
from typing import TYPE_CHECKING, Any, NamedTuple

import jax
import jax.numpy as jnp

from recur.keys import is_key

if TYPE_CHECKING:  # importing Linen takes longer than all of recur
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
    """`y = apply(params, *xs, key=None)` for one step, with `params = init(key, *xs)`.

    Attributes:
      init: draws params.
      apply: applies them.
      is_of_entries: whether it acts on each entry alone, so that it may see all steps at once.
    """

    init: Callable[..., Any]
    apply: Callable[..., Any]
    is_of_entries: bool = False


def as_module(thing: Any) -> Module:
    """Makes a `Module` of a module of Flax or Equinox, a function or an activation's name.

    Modules of Linen are initialised with a key. Those of NNX and Equinox hold their weights, so
    `init` returns those.

    Raises:
      TypeError: for anything else.
      ValueError: for an unknown name, or a module that keeps more than weights.
    """
    if isinstance(thing, type):
        raise TypeError(f"expected a module, got the class {thing.__name__}: call it first.")
    if _is_instance(thing, "flax.linen"):
        from flax import linen as nn

        _check_one_step(thing, (nn.RNNCellBase, nn.RNN, nn.Bidirectional), "from_linen")
        return of_linen(thing)
    if _is_instance(thing, "flax.nnx"):
        return _of_nnx(thing)
    if _is_instance(thing, "equinox"):
        return _of_equinox(thing)
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
    if _is_instance(name, "flax.linen") or _holds_arrays(name):
        raise TypeError(
            f"expected a function without weights, got {type(name).__name__}, whose arrays would "
            "not be trained."
        )
    if callable(name):
        return name
    came = type(name).__name__
    raise TypeError(f"expected a module, a function or an activation's name, got {came}.")


def of_linen(module: nn.Module) -> Module:
    """A module of Flax Linen, whose weights `init` draws."""
    from flax import linen as nn

    def init(key, *xs):
        _check_one_array(module, xs)
        shapes = jax.tree.map(lambda leaf: jax.ShapeDtypeStruct(leaf.shape, leaf.dtype), xs)
        options = _options_filled_in(deterministic=True, use_running_average=True)
        with _explained(module, xs), nn.intercept_methods(options):
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
        _check_one_array(module, xs)
        # Linen falls back to the stream "params" for every other one: one key serves them all.
        rngs = None if key is None else {"params": key}
        # A Dropout need not derive a key of this one, which is for it alone: less to compile.
        given: Any = {"rng": key} if isinstance(module, nn.Dropout) else {}
        options = _options_filled_in(deterministic=key is None)
        with _explained(module, xs), nn.intercept_methods(options):
            return module.apply({"params": params}, *xs, rngs=rngs, **given)

    return Module(init, apply, isinstance(module, nn.Dropout) and not module.broadcast_dims)


@contextlib.contextmanager
def _explained(module: nn.Module, xs: Any) -> Iterator[None]:
    """Turns errors of Linen about the shapes of inputs into ones that say what to do."""
    import flax.errors

    try:
        yield
    except flax.errors.ScopeParamShapeError as error:
        raise ValueError(
            f"{type(module).__name__} was initialised for inputs of another width than "
            f"{_shapes(xs)}: {error}"
        ) from error
    except IndexError as error:
        if all(leaf.ndim for leaf in jax.tree.leaves(xs)):
            raise
        raise ValueError(
            f"{type(module).__name__} reads one step of one sequence, got the shape {_shapes(xs)}. "
            "An axis is missing: xs are [T, I], and [B, T, I] if the layer is batched."
        ) from error


def _check_one_step(module: Any, recurrent: tuple[type, ...], door: str) -> None:
    """Raises a TypeError for recurrent cells and layers, which stand in a chain as layers."""
    if isinstance(module, recurrent):
        raise TypeError(
            f"expected a module of one step, got {type(module).__name__}, which keeps a state over "
            f"time. Lift its cell: recur.scan(recur.interop.{door}(...))."
        )


def _check_one_array(module: Any, xs: Any) -> None:
    """Raises a TypeError for several arrays given to a layer of one, such as a Dense."""
    if not type(module).__module__.startswith(("flax.", "equinox.")):
        return  # modules of users may read what they like
    for x in xs:
        if hasattr(x, "_fields"):
            raise TypeError(
                f"{type(module).__name__} reads one array, got {type(x).__name__} with the fields "
                f"{', '.join(x._fields)}. Choose one with a function before it, such as "
                f"lambda y: y.{x._fields[0]}: in a chain, or with recur.readout."
            )
        if isinstance(x, (list, dict)):
            raise TypeError(
                f"{type(module).__name__} reads one array, got a {type(x).__name__} of {len(x)}. "
                "Make one of it with a function before it; jnp.stack makes one of a list of steps."
            )


def _of_nnx(module: Any) -> Module:
    from flax import nnx

    _check_one_step(module, (nnx.RNNCellBase, nnx.RNN, nnx.Bidirectional), "from_nnx")
    graph, weights, streams, others = split_nnx(module)
    if jax.tree.leaves(others):
        raise ValueError(
            f"{type(module).__name__} keeps variables that are neither parameters nor random "
            f"streams: {sorted(map(str, nnx.to_pure_dict(others)))}. A recurrence is pure: use "
            "LayerNorm or RMSNorm instead of BatchNorm."
        )

    def apply(params, *xs, key=None):
        _check_one_array(module, xs)
        return merge_nnx(graph, weights, params, streams, others, key)(*xs)

    return Module(lambda key, *xs: nnx.to_pure_dict(weights), apply)


def split_nnx(module: Any) -> tuple[Any, Any, Any, Any]:
    """The graph of a module of NNX, its weights, its random streams, and other variables."""
    from flax import nnx

    parts: Any = nnx.split(module, nnx.Param, (nnx.RngKey, nnx.RngCount), ...)
    return parts


def merge_nnx(
    graph: Any, like: Any, params: Any, streams: Any, others: Any, key: jax.Array | None
) -> Any:
    """A module of NNX with these weights; in training mode, and reseeded, where a key is given."""
    from flax import nnx

    weights = jax.tree.map(lambda leaf: leaf, like)  # a copy
    nnx.replace_by_pure_dict(weights, params)
    module = nnx.merge(graph, weights, _reseeded(streams, key), others)
    (module.eval if key is None else module.train)()
    return module


def _reseeded(streams: Any, key: jax.Array | None) -> Any:
    """All random streams seeded from one key, or as they are without one."""
    if key is None:
        return streams
    leaves, structure = jax.tree.flatten(streams)
    reseeded = [
        jax.random.fold_in(key, number) if is_key(leaf) else jnp.zeros_like(leaf)
        for number, leaf in enumerate(leaves)
    ]
    return jax.tree.unflatten(structure, reseeded)


def _of_equinox(module: Any) -> Module:
    import equinox as eqx

    _check_one_step(module, (eqx.nn.GRUCell, eqx.nn.LSTMCell), "from_equinox")
    weights, rest = eqx.partition(module, eqx.is_inexact_array)
    nodes = jax.tree.leaves(rest, is_leaf=lambda node: isinstance(node, eqx.nn.StateIndex))
    if any(isinstance(node, eqx.nn.StateIndex) for node in nodes):
        raise ValueError(
            f"{type(module).__name__} keeps state (eqx.nn.State), and a recurrence is pure: use "
            "LayerNorm or RMSNorm instead of BatchNorm."
        )
    takes_key = "key" in inspect.signature(type(module).__call__).parameters

    def apply(params, *xs, key=None):
        _check_one_array(module, xs)
        whole = eqx.nn.inference_mode(eqx.combine(params, rest), value=key is None)
        return whole(*xs, key=key) if takes_key else whole(*xs)

    return Module(lambda key, *xs: weights, apply)


def _is_instance(thing: Any, library: str) -> bool:
    """Whether `thing` is a `Module` of a library, which need not be installed."""
    loaded = sys.modules.get(library)
    return loaded is not None and isinstance(thing, loaded.Module)


def _holds_arrays(thing: Any) -> bool:
    leaves = jax.tree.leaves(thing)
    return any(hasattr(leaf, "dtype") for leaf in leaves)


def _options_filled_in(**options: bool) -> Callable:
    """An interceptor that gives nested modules the options that they take and that are not set."""

    def fill_in(next_method, args, kwargs, context):
        if context.method_name == "__call__":
            unset = _unset(options, context, args, kwargs)
            kwargs = {**kwargs, **{name: options[name] for name in unset}}
        return next_method(*args, **kwargs)

    return fill_in


def _unset(names: Iterable[str], context: Any, args: tuple, kwargs: dict) -> list[str]:
    """Those options that the call takes and neither the module nor the caller sets."""
    signature = inspect.signature(context.orig_method)
    given = signature.bind_partial(*args, **kwargs).arguments
    not_given = [name for name in names if name in signature.parameters and name not in given]
    return [name for name in not_given if getattr(context.module, name, None) is None]


def _shapes(xs: Any) -> str:
    return ", ".join(str(leaf.shape) for leaf in jax.tree.leaves(xs))
