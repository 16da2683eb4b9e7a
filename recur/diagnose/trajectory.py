"""A layer one step at a time, for derivatives with respect to the carries along a sequence."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp

from recur.layer import Layer, check_layer
from recur.masks import add_leading_axis, make_mask, step_count
from recur.types import Bound, Carry, Context, Mask, Params


class Trajectory(NamedTuple):
    """The steps of a sequence, and a function that runs one of them.

    Attributes:
      bind: `bind(params) -> bound`.
      step: `step(bound, carry, inputs) -> (carry, y)`, one step.
      first: the carry before the first step.
      inputs: the inputs of all steps, `[T, ...]`.
      length: T.
    """

    bind: Callable[[Params], Bound]
    step: Callable[[Bound, Carry, Any], tuple[Carry, Any]]
    first: Carry
    inputs: Any
    length: int

    def carries(self, params: Params) -> Carry:
        """The carries `h_0, ..., h_T`, each leaf `[T + 1, ...]`."""
        bound = self.bind(params)

        def advance(carry, inputs):
            carry, _ = self.step(bound, carry, inputs)
            return carry, carry

        _, after = jax.lax.scan(advance, self.first, self.inputs)
        return jax.tree.map(lambda h, hs: jnp.concatenate([h[None], hs]), self.first, after)


def make_trajectory(
    caller: str,
    layer: Layer,
    params: Params,
    xs: Any,
    carry: Carry,
    context: Context,
    length: Any,
) -> Trajectory:
    """Makes the trajectory of a causal layer over one sequence, whose carry is not empty.

    Raises:
      TypeError: if the layer is not one.
      ValueError: if it is batched, pooled, not causal or without a carry of floats.
    """
    check_forward(caller, layer)
    valid = make_mask(xs, length=length, batch_axes=0).valid

    def bind(params):
        return layer.bind(params, xs, context=context)

    def step(bound, carry, inputs):
        x, valid = inputs
        one = jax.tree.map(lambda leaf: leaf[None], x)
        mask = Mask(None if valid is None else valid[None])
        carry, ys = layer.apply(bound, carry, one, mask, None)
        return carry, jax.tree.map(lambda leaf: leaf[0], ys)

    first = layer.begin(bind(params), xs) if carry is None else carry
    first = jax.tree.map(jnp.asarray, first)
    if not jax.tree.leaves(first):
        raise ValueError(f"{caller}: expected a recurrent layer, got one without a carry.")
    check_numbers(caller, "a carry", first, real=False)
    return Trajectory(bind, step, first, (jax.tree.map(jnp.asarray, xs), valid), step_count(xs))


def repeat_zeros(carry: Carry, count: int) -> Carry:
    """Zeros for `count` carries."""
    shapes = add_leading_axis(carry, count)
    return jax.tree.map(lambda leaf: jnp.zeros(leaf.shape, leaf.dtype), shapes)


def check_forward(caller: str, layer: Layer) -> None:
    """Raises an error unless `layer` is a causal layer over one sequence."""
    check_layer(layer, caller)
    if not layer.is_causal:
        raise ValueError(
            f"{caller}: expected a layer that reads forward, whose carry at a step depends on the "
            f"steps before it, got direction={layer.direction!r}."
        )


def check_numbers(caller: str, name: str, tree: Any, *, real: bool) -> None:
    """Raises a ValueError unless all leaves are real, or also complex, floating-point numbers."""
    for leaf in jax.tree.leaves(tree):
        if not jnp.issubdtype(leaf.dtype, jnp.floating if real else jnp.inexact):
            kind = "real numbers" if real else "real or complex numbers"
            raise ValueError(
                f"{caller}: expected {name} of {kind}, got {leaf.dtype} of shape "
                f"{list(leaf.shape)}."
            )
