"""Makes a cell from plain functions."""

from __future__ import annotations

import inspect
from collections.abc import Callable
from typing import Any

import jax

from recur.arguments import check_takes
from recur.call_repr import call_repr
from recur.checks import check_function, check_step_result
from recur.types import Bound, Carry, Cell, Params

# What each function of a cell takes, and what it may take as well.
_ARGUMENTS = {
    "init": (("key", "x"), ("context",)),
    "init_carry": (("params", "x"), ()),
    "step": (("params", "carry", "x"), ("key",)),
    "bind": (("params", "x"), ("key", "context")),
}


@call_repr
def cell(
    init: Callable[..., Params],
    init_carry: Callable[..., Carry],
    step: Callable[..., tuple[Carry, Any]],
    bind: Callable[..., Bound] | None = None,
) -> Cell:
    """Makes a custom cell from plain functions.

        carry_0 = init_carry(bound, x),    carry_t, y_t = step(bound, carry_{t-1}, x_t)

    The step is written for one time step of one sequence. `recur.scan` finds the products in it
    that can be computed before or after the loop, so `tanh(x @ W + h @ U + b)` is as fast as
    `recur.elman`.

    Args:
      init: `init(key, x) -> params` for one input x; it may take `context` too.
      init_carry: `init_carry(params, x) -> carry`.
      step: `step(params, carry, x) -> (carry, y)`; it may take `key` too, for noise.
      bind: `bind(params, x) -> bound`, computed once a sequence; `init_carry` and `step` then
        receive `bound` in place of `params`. It may take `key` and `context` too. The identity by
        default.

    Returns:
      A `Cell`, for every combinator and every lift.

    Raises:
      TypeError: if one of the arguments is not a function, or takes other arguments.

    Example:
      >>> import jax, jax.numpy as jnp, recur
      >>> def step(leak, total, x):
      ...     total = leak * total + x
      ...     return total, total
      >>> leaky = recur.cell(
      ...     init=lambda key, x: jnp.asarray(0.5),
      ...     init_carry=lambda leak, x: jnp.zeros(x.shape),
      ...     step=step,
      ... )
      >>> layer = recur.scan(leaky)
      >>> layer(jnp.asarray(0.5), jnp.ones((3, 1)))[:, 0].tolist()
      [1.0, 1.5, 1.75]
    """
    bind = (lambda params, x: params) if bind is None else bind
    functions = {"init": init, "init_carry": init_carry, "step": step, "bind": bind}
    for name, function in functions.items():
        check_function(f"cell: {name}", function)
        takes, options = _ARGUMENTS[name]
        accepted = _accepted(function, **dict.fromkeys(options))
        check_takes(f"cell: {name}", function, takes, **accepted)

    def init_cell(key, x, context=None):
        return init(key, x, **_accepted(init, context=context))

    def bind_cell(params, x, *, key=None, context=None):
        return bind(params, x, **_accepted(bind, key=key, context=context))

    def step_cell(bound, carry, x, key=None):
        given = jax.tree.flatten((bound, carry, x))
        result = step(bound, carry, x, **_accepted(step, key=key))
        _check_unchanged(given, jax.tree.flatten((bound, carry, x)))
        check_step_result(result)
        return result

    return Cell(init_cell, bind_cell, init_carry, step_cell)


def _check_unchanged(before: Any, after: Any) -> None:
    """Raises a TypeError unless a step left the flattened pytree of its arguments as it was."""
    (leaves, structure), (leaves_after, structure_after) = before, after
    same = structure == structure_after
    if not same or any(a is not b for a, b in zip(leaves, leaves_after, strict=True)):
        raise TypeError(
            "step: expected a pure function, got one that changes its params, carry or x in place; "
            "the change would be lost. Return what changes as the next carry."
        )


def _accepted(function: Callable, **options: Any) -> dict[str, Any]:
    """Returns those of `options` that `function` has a parameter for."""
    parameters = inspect.signature(function).parameters
    if any(parameter.kind is parameter.VAR_KEYWORD for parameter in parameters.values()):
        return options
    return {name: value for name, value in options.items() if name in parameters}
