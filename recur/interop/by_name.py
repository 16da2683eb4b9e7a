"""A layer, or one step of it, as a function of arrays by name, to export."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
from jax import export

from recur.checks import check_context, check_flag, leaf_name
from recur.interop.foreign import check_layer_and_params, named
from recur.interop.tensors import check_finite
from recur.layer import Layer
from recur.masks import expand_like, leading_shape
from recur.types import Context, Mask, Params, Shaped


class ByName(NamedTuple):
    """A function of arrays by name.

    Attributes:
      run: `run(**inputs) -> (carry, ys)`, where the carry is a dict of arrays by path.
      inputs: the shape of each argument, or a dict of the shapes of its arrays by path.
    """

    run: Callable[..., tuple[dict[str, Any], Any]]
    inputs: dict[str, Any]


class _Like(NamedTuple):
    """Pytrees of shapes, from which the arguments get their structure."""

    params: Params
    xs: Shaped
    context: Context


def by_names(
    caller: str,
    layer: Layer,
    params: Params,
    xs: Shaped,
    *,
    context: Context,
    step: bool,
    symbolic: bool,
    separate_params: bool = False,
) -> ByName:
    """Returns a layer, or one step of it, as a function of arrays by name.

    The arguments are those of `export_program`, the public function `caller`.
    """
    check_layer_and_params(caller, layer, params)
    flags = {"step": step, "symbolic": symbolic, "separate_params": separate_params}
    for name, flag in flags.items():
        check_flag(f"{caller}: {name}", flag)
    check_context(context)
    check_finite(caller, params)
    if step:
        _check_has_steps(caller, layer)
    xs, context = _shapes(f"{caller}: xs", xs), _shapes(f"{caller}: context", context)
    xs, context = _with_axes(caller, xs, context, layer.batch_axes, symbolic)
    like = _Like(_shapes(f"{caller}: params", params), xs, context)
    inputs = {"context": names_of(context)}
    if separate_params:
        inputs["params"] = names_of(like.params)

    def read(given):
        """Returns the params and the context of a call."""
        read_params = (
            from_names(like.params, given.get("params", {})) if separate_params else params
        )
        return read_params, from_names(context, given.get("context", {}))

    run, of_steps = (_one_step if step else _whole)(layer, like, read)
    inputs = {name: value for name, value in (inputs | of_steps).items() if value != {}}
    return ByName(run, inputs)


def _whole(layer: Layer, like: _Like, read: Callable) -> ByName:
    """A layer over whole sequences: `(xs, length) -> (carry, ys)`."""
    rows = leading_shape(like.xs, layer.batch_axes)[:-1]
    inputs = {"xs": array_or_names(like.xs), "length": jax.ShapeDtypeStruct(rows, jnp.int32)}

    def run(**given):
        params, context = read(given)
        xs = from_names(like.xs, given["xs"])
        carry, ys = layer.run(params, xs, context=context, length=given["length"])
        return names_of(carry), array_or_names(ys)

    return ByName(run, inputs)


def _one_step(layer: Layer, like: _Like, read: Callable) -> ByName:
    """One step of a layer: `(carry, x, mask, reset) -> (carry, y)`."""
    axis = layer.batch_axes
    rows = leading_shape(like.xs, axis)[:-1]

    def replace_time(*length):
        """Returns the shapes of xs with another time axis, or without one."""
        return jax.tree.map(
            lambda s: jax.ShapeDtypeStruct((*rows, *length, *s.shape[axis + 1 :]), s.dtype), like.xs
        )

    def init_carry(params, context):
        return layer.init_carry(params, replace_time(1), context=context)

    initial = jax.eval_shape(init_carry, like.params, like.context)
    flags = jax.ShapeDtypeStruct(rows, jnp.bool_)
    inputs = {"x": array_or_names(replace_time()), "carry": names_of(initial)}
    inputs |= {"mask": flags, "reset": flags}

    def run(**given):
        params, context = read(given)
        x = from_names(like.xs, given["x"])
        xs = jax.tree.map(lambda leaf: jnp.expand_dims(leaf, axis), x)
        bound = layer.bind(params, xs, context=context)
        # The reset of the layer would do the same, but an encoder-decoder refuses it.
        carry = jax.tree.map(
            lambda new, old: jnp.where(expand_like(given["reset"], old), new, old),
            layer.begin(bound, xs),
            from_names(initial, given.get("carry", {})),
        )
        mask = Mask(jnp.expand_dims(given["mask"], axis))
        carry, ys = layer.apply(bound, carry, xs, mask, None)
        return names_of(carry), array_or_names(jax.tree.map(lambda y: jnp.squeeze(y, axis), ys))

    return ByName(run, inputs)


def names_of(tree: Any) -> dict[str, Any]:
    """Returns the leaves of a pytree by their paths, such as `0/hidden`; a single one is `value`.

    Raises:
      ValueError: if two leaves have the same path.
    """
    leaves = jax.tree_util.tree_leaves_with_path(tree)
    names = {leaf_name(path) or "value": leaf for path, leaf in leaves}
    if len(names) < len(leaves):
        raise ValueError(
            f"expected a name of its own for each array, got {', '.join(sorted(names))} for "
            f"{len(leaves)} arrays. Rename entries whose names contain a slash."
        )
    return names


def array_or_names(tree: Any) -> Any:
    """Returns a single array as it is, and other pytrees as a dict of arrays by path."""
    return tree if jax.tree_util.all_leaves([tree]) else names_of(tree)


def from_names(like: Any, given: Any) -> Any:
    """Returns a pytree like another one: the inverse of `names_of` and `array_or_names`."""
    names = list(names_of(like))
    leaves = [given[name] for name in names] if isinstance(given, dict) else [given]
    return jax.tree.unflatten(jax.tree.structure(like), leaves)


def _shapes(name: str, tree: Any) -> Any:
    """Returns the shapes of arrays, with the dtypes that they have in JAX."""

    def shape_of(leaf):
        if not hasattr(leaf, "shape") or not hasattr(leaf, "dtype"):
            raise TypeError(f"{name}: expected arrays or their shapes, got {named(leaf)}.")
        return jax.ShapeDtypeStruct(leaf.shape, jax.dtypes.canonicalize_dtype(leaf.dtype))

    return jax.tree.map(shape_of, tree)


def _with_axes(
    caller: str, xs: Shaped, context: Any, batch_axes: int, symbolic: bool
) -> tuple[Shaped, Any]:
    """Returns the shapes with symbolic axes for rows and steps, except those that are already."""
    old = leading_shape(xs, batch_axes)
    leaves = jax.tree.leaves((xs, context))
    for leaf in jax.tree.leaves(context):
        if leaf.shape[:batch_axes] != old[:-1]:
            raise ValueError(
                f"{caller}: expected one entry of the context for each row of xs, "
                f"{list(old[:-1])}, got the shape {list(leaf.shape)}."
            )
    if not symbolic:
        return xs, context
    scopes = [size.scope for leaf in leaves for size in leaf.shape if export.is_symbolic_dim(size)]
    scope = scopes[0] if scopes else export.SymbolicScope()
    rows = ["b"] if batch_axes == 1 else [f"b{axis}" for axis in range(batch_axes)]
    new = export.symbolic_shape(", ".join([*rows, "t"]), scope=scope)
    leading = [
        size if export.is_symbolic_dim(size) else name for size, name in zip(old, new, strict=True)
    ]

    def replace(count):
        def axes_of(s):
            return jax.ShapeDtypeStruct((*leading[:count], *s.shape[count:]), s.dtype)

        return axes_of

    return (
        jax.tree.map(replace(batch_axes + 1), xs),
        jax.tree.map(replace(batch_axes), context),
    )


def _check_has_steps(caller: str, layer: Layer) -> None:
    """Raises a ValueError unless a layer can run step by step."""
    if not layer.is_causal or layer.is_pooled:
        raise ValueError(
            f"{caller}: step=True: expected a layer that reads forward, with an output for each "
            f"step, got {layer}, which needs whole sequences. Export it with step=False."
        )
