"""The named values of all steps of a layer: gates and candidates of the cells within."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import jax
from jax.extend.core import Jaxpr, JaxprEqn, Literal

from recur.layer import Layer, check_is_layer
from recur.structure.jaxprs import Atom, called_by, contains, evaluate, scan_counts
from recur.types import Carry, Context, Params

Named = list[tuple[str, Any]]


def named_over_time(
    layer: Layer,
    params: Params,
    xs: Any,
    *names: str,
    carry: Carry = None,
    context: Context = None,
    length: Any = None,
) -> dict[str, Any]:
    """Returns the gates of all cells in a layer over time, and other values named in their steps.

    The layer is run once, and values that steps name with `recur.name` are read from its trace. So
    it works for whole models; `named_values` does the same for one cell.

    Args:
      layer: any layer, also a batched one.
      params: its params.
      xs: inputs `[T, ...]`, or `[B, T, ...]` if the layer is batched.
      *names: the names of the values; all by default.
      carry: the carry to start from; the initial carry by default.
      context: as in `Layer.run`.
      length: the number of steps that count; values of later steps mean nothing.

    Returns:
      A dict from each name to its values, `[T, ...]`, or `[T, B, ...]` of a batched layer. A name
      that several cells give has a tuple of values, in the order of the computation. Of nested
      loops, such as those of `recur.checkpoint`, there is an axis for each.

    Raises:
      TypeError: if layer is not a layer, or a name is not a string.
      ValueError: if no value has a name that is given.

    Example:
      >>> import jax, jax.numpy as jnp, recur
      >>> from flax import linen as nn
      >>> from recur.diagnose import named_over_time
      >>> model = recur.chain(nn.Embed(10, 4), recur.scan(recur.lstm(8)), nn.Dense(10))
      >>> tokens = jnp.array([3, 1, 4, 1, 5])
      >>> gates = named_over_time(model, model.init(jax.random.key(0), tokens), tokens)
      >>> {name: value.shape for name, value in gates.items()}
      {'candidate': (5, 8), 'forget': (5, 8), 'input': (5, 8), 'output': (5, 8)}
    """
    check_is_layer(layer, "named_over_time", may_be_pooled=True)
    for name in names:
        if not isinstance(name, str):
            raise TypeError(f"named_over_time: expected names as strings, got {name!r}.")

    def run(params, xs, carry, context, length):
        def outputs(params, xs, carry, context, length):
            return layer(params, xs, carry=carry, context=context, length=length)

        given = (params, xs, carry, context, length)
        closed = jax.make_jaxpr(outputs)(*given)
        return _grouped(_collect(closed.jaxpr, closed.consts, jax.tree.leaves(given))[1])

    found = jax.jit(run)(params, xs, carry, context, length)
    for name in names:
        if name not in found:
            raise ValueError(
                f"named_over_time: expected one of the names {sorted(found)}, got {name!r}. A step "
                "names its values by recur.name."
            )
    chosen = names or sorted(name for name in found if not name.startswith("recur."))
    return {n: found[n][0] if len(found[n]) == 1 else tuple(found[n]) for n in chosen}


def numbered(named: dict[str, Any]) -> dict[str, Any]:
    """Values by name, with a number where several cells have a name: `forget/0`."""
    flat: dict[str, Any] = {}
    for name, values in named.items():
        if isinstance(values, tuple):
            flat |= {f"{name}/{number}": value for number, value in enumerate(values)}
        else:
            flat[name] = values
    return flat


def _grouped(named: Named) -> dict[str, list[Any]]:
    found: dict[str, list[Any]] = {}
    for name, value in named:
        found.setdefault(name, []).append(value)
    return found


def _collect(
    jaxpr: Jaxpr, constants: Sequence[Any], inputs: Sequence[Any]
) -> tuple[list[Any], Named]:
    """The outputs of a jaxpr, and its named values; those within a loop have an axis of steps."""
    values = dict(zip([*jaxpr.constvars, *jaxpr.invars], [*constants, *inputs], strict=True))
    named: Named = []

    def read(atom: Atom) -> Any:
        return atom.val if isinstance(atom, Literal) else values[atom]

    for equation in jaxpr.eqns:
        if contains([equation], _is_name):
            outputs, found = _run(equation, [*map(read, equation.invars)])
            values.update(zip(equation.outvars, outputs, strict=True))
            named += found
        else:
            evaluate([equation], values)
    return [*map(read, jaxpr.outvars)], named


def _run(equation: JaxprEqn, inputs: list[Any]) -> tuple[Sequence[Any], Named]:
    """Runs an equation that has a name, or calls a function with names."""
    if _is_name(equation):
        return inputs, [(equation.params["name"], inputs[0])]
    if equation.primitive.name == "scan":
        return _scan(equation, inputs)
    called = called_by(equation)
    if called:
        return _collect(*called, inputs)
    values = dict(zip(equation.invars, inputs, strict=True))
    read = evaluate([equation], {v: x for v, x in values.items() if not isinstance(v, Literal)})
    return [*map(read, equation.outvars)], []


def _scan(equation: JaxprEqn, inputs: list[Any]) -> tuple[Sequence[Any], Named]:
    params = equation.params
    body, (constants, carries) = params["jaxpr"], scan_counts(params)
    inside = constants + carries
    names: list[str] = []

    def step(carry, xs):
        given = [*inputs[:constants], *carry, *xs]
        outputs, named = _collect(body.jaxpr, body.consts, given)
        names[:] = [name for name, _ in named]
        ys = outputs[len(carry) :], [value for _, value in named]
        return outputs[: len(carry)], ys

    first, xs = inputs[constants:inside], inputs[inside:]
    last, (ys, found) = jax.lax.scan(step, first, xs, params["length"], params["reverse"])
    return [*last, *ys], list(zip(names, found, strict=True))


def _is_name(equation: JaxprEqn) -> bool:
    return equation.primitive.name == "name"
