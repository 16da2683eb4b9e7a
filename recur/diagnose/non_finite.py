"""The first operation whose result is not finite."""

from __future__ import annotations

import inspect
from collections.abc import Callable
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp

from recur.checks import check_function, check_leaves, leaf_name
from recur.diagnose.origin import Finder, first_bad, is_finite
from recur.train import TrainState
from recur.train.step import checked_loss


class NonFinite(NamedTuple):
    """Where values that are not finite began; `str` gives it as a sentence.

    Attributes:
      result: the path of the first result of the function that is not finite.
      operation: the primitive of JAX whose result is not finite though its inputs are, such as
        "exp"; "argument" if an argument is not finite, "constant" if a constant is not.
      value: the first value of its result that is not finite, a float.
      entry: the index of this value. Where an operation runs once for all steps, such as that of an
        output, its first number is the step t.
      shape: the shape of the result of the operation.
      steps: the positions in the loops around the operation: `(t,)` in a layer.
      source: the source line of the operation, with its function; "" for an argument.
      arguments: the paths of the arguments that the operation depends on most directly, such as
        `("params/recurrent_kernel",)`.
    """

    result: str
    operation: str
    value: float
    entry: tuple[int, ...]
    shape: tuple[int, ...]
    steps: tuple[int, ...]
    source: str
    arguments: tuple[str, ...]

    def __str__(self) -> str:
        named = ", ".join(self.arguments)
        entry = f", entry {list(self.entry)} of {list(self.shape)}" if self.entry else ""
        if self.operation == "argument":
            return f"{named} is {self.value} before the first operation{entry}."
        step = f" at step {', '.join(map(str, self.steps))}" if self.steps else ""
        line = f", line {self.source}" if self.source else ""
        nearest = f" The nearest arguments are {named}." if named else ""
        return f"The first is {self.value} in {self.operation}{step}{entry}{line}.{nearest}"


def find_non_finite(function: Callable[..., Any], *arguments: Any) -> NonFinite | None:
    """Finds the operation and the step where NaN or infinity begins: debugging of NaNs.

    The jaxpr of the function is evaluated, and a result that is not finite is followed backward,
    into loops over time, branches and compiled functions. Of a NaN that comes from an infinity the
    origin is the operation that overflowed; a constant infinity, such as that of a mask, is none.
    Infinities that do not reach the result do not count.

    Args:
      function: any function that JAX can trace, such as a layer, a loss, or the gradient of one.
      *arguments: its arguments, pytrees of arrays.

    Returns:
      A `NonFinite`; None if all results are finite.

    Raises:
      TypeError: if function is not one, or an argument has other leaves than arrays.

    Example:
      >>> import jax, jax.numpy as jnp, recur
      >>> from recur.diagnose import find_non_finite
      >>> cell = recur.cell(
      ...     init=lambda key, x: {"rate": jnp.asarray(1.0)},
      ...     init_carry=lambda params, x: jnp.ones(()),
      ...     step=lambda params, h, x: (jnp.exp(params["rate"] * h) + x, h),
      ... )
      >>> layer, xs = recur.scan(cell), jnp.zeros(6)
      >>> found = find_non_finite(layer, layer.init(jax.random.key(0), xs), xs)
      >>> found.operation, found.value, found.steps  # 1, e, e^e, ...
      ('exp', inf, (3,))
    """
    check_function("find_non_finite: function", function)
    check_leaves("find_non_finite: arguments", arguments)
    leaves, structure = jax.tree.flatten(arguments)
    named = jax.tree_util.tree_leaves_with_path(_named(function, arguments))
    names = [leaf_name(path) for path, _ in named]

    def flat(*leaves):
        return function(*jax.tree.unflatten(structure, leaves))

    closed, shapes = jax.make_jaxpr(flat, return_shape=True)(*leaves)
    finder, inputs = Finder(), [jnp.asarray(leaf) for leaf in leaves]
    results = finder.results(closed.jaxpr, closed.consts, inputs)
    paths = [path for path, _ in jax.tree_util.tree_leaves_with_path(shapes)]
    for place, (path, result) in enumerate(zip(paths, results, strict=True)):
        if not is_finite(result):
            found = finder.find(closed.jaxpr, closed.consts, inputs, place)
            result_name = leaf_name(path) or "the result"
            if found.input is not None:
                bad = first_bad(inputs[found.input])
                return NonFinite(result_name, "argument", *bad, (), "", (names[found.input],))
            return _described(result_name, found.origin, names, inputs)
    return None


def explain_non_finite(loss: Callable[..., Any]) -> Callable[[TrainState, Any], str]:
    """Makes the argument `explain` of `fit`: where a loss or gradient that is not finite began.

    The loss and its gradient are computed again, for the state before the update and its batch. The
    text names the operation, the step t, its source line and the parameters that it reads, or the
    first parameter whose gradient is not finite. For an ensemble the text is empty.

    Args:
      loss: the loss of `recur.train.make_step`.

    Returns:
      `explain(state, batch) -> text`.

    Raises:
      TypeError: if the loss is not a function of params, carry, batch and key.

    Example:
      >>> import itertools, jax, jax.numpy as jnp, optax
      >>> from recur.diagnose import explain_non_finite
      >>> from recur.train import fit, init_state, make_step
      >>> def loss(params, carry, batch, key):
      ...     return jnp.log(params["scale"]) * batch, (carry, {})
      >>> optimizer = optax.sgd(0.5)
      >>> state = init_state({"scale": jnp.asarray(1.0)}, optimizer, jax.random.key(0))
      >>> step, batches = jax.jit(make_step(loss, optimizer)), itertools.repeat(1.0)
      >>> try:
      ...     fit(step, state, batches, steps=9, explain=explain_non_finite(loss))
      ... except FloatingPointError as error:
      ...     print(str(error).split(", line")[0])
      update 3: the loss is nan. The first is nan in log
    """
    loss = checked_loss(loss)

    def explain(state: TrainState, batch: Any) -> str:
        if jnp.ndim(state.step):  # an ensemble, whose loss is under vmap
            return ""
        key = jax.random.fold_in(state.key, state.step)

        def value(params):
            return loss(params, state.carry, batch, key)[0]

        found = find_non_finite(value, state.params)
        if found is not None:
            return str(found)
        found = find_non_finite(jax.grad(value), state.params)
        if found is not None:
            return f"The loss is finite, but not the gradient of {found.result}. {found}"
        return "Computed alone, the loss and its gradient are finite."

    return explain


def _named(function: Callable[..., Any], arguments: tuple[Any, ...]) -> Any:
    """The arguments, by their names if the function has such."""
    try:
        bound = inspect.signature(function).bind(*arguments).arguments
    except (TypeError, ValueError):
        return arguments
    return dict(bound)


def _described(result: str, origin: Any, names: list[str], inputs: list[Any]) -> NonFinite:
    """An origin with the names of the nearest arguments of floats."""
    near = {n: d for n, d in origin.near.items() if jnp.issubdtype(inputs[n].dtype, jnp.inexact)}
    nearest = [names[n] for n, distance in near.items() if distance == min(near.values())]
    value, entry, shape, steps = origin.value, origin.entry, origin.shape, origin.steps
    place = (value, entry, shape, steps, origin.source)
    return NonFinite(result, origin.operation, *place, tuple(nearest))
