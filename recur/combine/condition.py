"""Conditioning: a vector of the context is added to the input or initial carry of a cell."""

from __future__ import annotations

import math
from typing import Any, Literal, NamedTuple

import jax
import jax.numpy as jnp
from jax.nn.initializers import Initializer, lecun_normal

from recur.call_repr import call_repr
from recur.checks import check_cell, check_floating, check_initializer, check_params, drawn_by
from recur.combine.context_values import check_width, vector_from
from recur.combine.wrap import first_shapes, side_by_side
from recur.keys import check_key, split, split_like
from recur.structure import input_products, on_inputs
from recur.types import Bound, Carry, Cell, Params, Shaped


class ConditionParams(NamedTuple):
    """Weights of `condition`.

    Attributes:
      cell: params of the cell.
      kernel: kernels K, `[D, ...]`: a tuple with one for each product of the input, in the order of
        the step, or None where v is concatenated to x; for the initial carry, a pytree like it.
    """

    cell: Params
    kernel: Any


class Conditioned(NamedTuple):
    """The carry of `condition` at the "first step".

    Attributes:
      cell: the carry of the cell.
      entering: v K or v, which is added at the next step; zeros after the first step.
    """

    cell: Carry
    entering: Any


class _Bound(NamedTuple):
    """What is computed once a sequence."""

    cell: Bound
    given: Any  # v K for each K, or v


MOMENTS = ("every step", "first step", "initial carry")


@call_repr
def condition(
    cell: Cell,
    name: str,
    at: Literal["every step", "first step", "initial carry"] = "every step",
    *,
    kernel_init: Initializer = lecun_normal(),
    param_dtype: Any = jnp.float32,
) -> Cell:
    """Conditions a cell on a vector v of the context, such as the features of an image.

        x_t W + v K             in place of x_t W, at "every step" or at the "first step" alone
        carry_0 + v K           in place of carry_0, at the "initial carry"

    Each product of the input and each array of the carry has its own K, and v K is computed once a
    sequence. An Elman network becomes `h_t = tanh(x_t W + h_{t-1} U + v K + b)`. Products of the
    input are the last ones before it reaches the carry; a product that the step splits into gates
    counts once for each gate. A cell without products of the input reads `[x_t, v]`.

    At the "first step", v K is replaced by zeros at all other steps; each segment that starts with
    a reset has its own first step. `zoneout` around such a cell needs the rate
    `Conditioned(rate, 0.0)`. If the initial carry has a field `hidden`, v K is added only to it and
    to the field `cell`, if there is one.

    Args:
      cell: the cell that is conditioned.
      name: the name of v in the context, real `[D]`.
      at: where v is added, at "every step", the "first step" or the "initial carry".
      kernel_init: initializer of each K, drawn as `[D, N]` for an array of N numbers; K is stored
        as `[D, ...]`, and as `[D, 2, ...]` for the real and imaginary parts of a complex array.
      param_dtype: the dtype of K.

    Returns:
      A `Cell` with `ConditionParams`; its carry is that of `cell`, or `Conditioned` with
      at="first step".

    Raises:
      TypeError: when `cell` is not a cell, `kernel_init` not an initializer, the dtype not real, or
        v does not hold real numbers.
      ValueError: when `at` is an unknown name; while tracing, when the context has no such name, v
        is not `[D]` with the D of init, or cannot be concatenated to x.

    Example:
      >>> import jax, jax.numpy as jnp, recur
      >>> captioner = recur.scan(recur.condition(recur.lstm(8), "image", at="initial carry"))
      >>> xs, context = jnp.ones((5, 3)), {"image": jnp.ones(6)}
      >>> params = captioner.init(jax.random.key(0), xs, context=context)
      >>> captioner(params, xs, context=context).shape
      (5, 8)

    References:
      Karpathy & Fei-Fei 2015, Deep Visual-Semantic Alignments for Generating Image Descriptions
      (at the first step), https://arxiv.org/abs/1412.2306
      Vinyals et al. 2015, Show and Tell: A Neural Image Caption Generator,
      https://arxiv.org/abs/1411.4555
    """
    check_cell(cell, "condition")
    check_initializer("condition: kernel_init", kernel_init)
    check_floating("condition", param_dtype=param_dtype)
    if at not in MOMENTS:
        raise ValueError(f"condition: expected at as one of {', '.join(MOMENTS)}, got {at!r}.")

    def init(key, x, context=None):
        cell_key, kernel_key = split(check_key(key), 2)
        v = vector_from(context, name, "condition")
        params = jax.eval_shape(cell.init, cell_key, x, context)
        bound, carry, _ = first_shapes(cell, params, x, context)
        if at == "initial carry":
            targets = _conditioned_parts(carry)
        else:
            products, _ = input_products(cell.step, bound, carry, x)
            if not products:
                x = _joined_shape(x, v)
                return ConditionParams(cell.init(cell_key, x, context=context), None)
            targets = tuple(product.result.aval for product in products)

        def draw(array, key):
            if not jnp.issubdtype(array.dtype, jnp.inexact):
                return None
            parts = (2, *array.shape) if jnp.iscomplexobj(array) else array.shape
            kernel = drawn_by(kernel_init, key, (v.shape[0], math.prod(parts)), param_dtype)
            return kernel.reshape(v.shape[0], *parts)

        kernel = jax.tree.map(draw, targets, split_like(kernel_key, targets))
        return ConditionParams(cell.init(cell_key, x, context=context), kernel)

    def bind(params, x, *, key=None, context=None):
        check_params("condition", params, ConditionParams)
        v = jnp.asarray(vector_from(context, name, "condition"))
        is_joined = params.kernel is None and at != "initial carry"
        given = v if is_joined else jax.tree.map(lambda kernel: _project(v, kernel), params.kernel)
        x = _joined_shape(x, v) if is_joined else x
        return _Bound(cell.bind(params.cell, x, key=key, context=context), given)

    def init_carry(bound, x):
        if at == "initial carry":
            carry = cell.init_carry(bound.cell, x)
            return jax.tree.map(_plus, bound.given, carry, is_leaf=lambda part: part is None)
        x = x if isinstance(bound.given, tuple) else _joined_shape(x, bound.given)
        carry = cell.init_carry(bound.cell, x)
        return Conditioned(carry, bound.given) if at == "first step" else carry

    def step_with(given, bound, carry, x, key):
        if not isinstance(given, tuple):
            return cell.step(bound, carry, _joined(x, given), key)
        conditioned = on_inputs(cell.step, lambda _, n, product: _plus(given[n], product))
        return conditioned(bound, carry, x, key)

    def at_every_step(bound, carry, x, key=None):
        return step_with(bound.given, bound.cell, carry, x, key)

    def at_first_step(bound, carry, x, key=None):
        inner, y = step_with(carry.entering, bound.cell, carry.cell, x, key)
        return Conditioned(inner, jax.tree.map(jnp.zeros_like, carry.entering)), y

    def at_initial_carry(bound, carry, x, key=None):
        return cell.step(bound.cell, carry, x, key)

    steps = dict(zip(MOMENTS, (at_every_step, at_first_step, at_initial_carry), strict=True))
    return Cell(init, bind, init_carry, steps[at])


def _conditioned_parts(carry: Carry) -> Carry:
    """Returns the carry with only its fields `hidden` and `cell`, if it has a field `hidden`."""
    if not hasattr(carry, "hidden") or not hasattr(carry, "_replace"):
        return carry
    return carry._replace(**{f: None for f in carry._fields if f not in ("hidden", "cell")})


def _project(v: jax.Array, kernel: jax.Array) -> jax.Array:
    check_width(v.shape[0], kernel.shape[0], "condition: v")
    return jnp.tensordot(v.astype(kernel.dtype), kernel, 1)


def _plus(added: jax.Array | None, array: jax.Array) -> jax.Array:
    """Adds v K to an array; for a complex one, v K holds the real and imaginary parts."""
    if added is None:
        return array
    added = jax.lax.complex(*added) if jnp.iscomplexobj(array) else added
    return array + added.astype(array.dtype)


def _joined(x: Any, v: jax.Array) -> jax.Array:
    """Returns `[x, v]`; for x `[..., I]`, v is concatenated to each vector of x."""
    places = getattr(x, "shape", ())[:-1]
    return side_by_side("condition", x, jnp.broadcast_to(v, (*places, *v.shape)))


def _joined_shape(x: Shaped, v: Any) -> Shaped:
    return jax.eval_shape(_joined, x, v)
