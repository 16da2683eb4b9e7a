"""Soft window: attention by Gaussians that move forward over a memory, such as characters."""

from __future__ import annotations

import math
from functools import partial
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
from jax.nn.initializers import Initializer, lecun_normal

from recur.call_repr import call_repr
from recur.checks import (
    check_cell,
    check_floating,
    check_initializer,
    check_number,
    check_params,
    check_whole,
    describe,
    drawn_by,
)
from recur.combine.context_values import Memory, memory_from, zero_masked
from recur.combine.wrap import output_shape, side_by_side
from recur.dtypes import at_least_float32
from recur.keys import check_key, split
from recur.types import Bound, Carry, Cell, Params


class WindowParts(NamedTuple):
    """The arrays of `soft_window` for each property of its K Gaussians.

    Attributes:
      importance: the array of α, the heights.
      sharpness: the array of β, the inverse widths.
      step: the array of the steps of κ, by which the Gaussians move.
    """

    importance: jax.Array
    sharpness: jax.Array
    step: jax.Array


class SoftWindowParams(NamedTuple):
    """Weights of `soft_window`.

    Attributes:
      cell: params of the cell.
      kernel: kernels W_α, W_β and W_κ, each `[V, K]`.
      bias: biases b_α, b_β and b_κ, each `[K]`.
    """

    cell: Params
    kernel: WindowParts
    bias: WindowParts


class SoftWindow(NamedTuple):
    """The carry of `soft_window`.

    Attributes:
      cell: the carry of the cell.
      position: κ, the positions of the Gaussians, `[K]`, at least float32.
      window: w, the sum of the rows in the window, `[D]`.
    """

    cell: Carry
    position: jax.Array
    window: jax.Array


class Windowed(NamedTuple):
    """The output of `soft_window` at a step.

    Attributes:
      output: the output v of the cell, `[V]`.
      weights: the window weights φ, `[U]`, zero where the memory is masked; their sum is not 1.
      window: w, the sum of the rows in the window, `[D]`.
    """

    output: jax.Array
    weights: jax.Array
    window: jax.Array


class _Bound(NamedTuple):
    """What is computed once a sequence."""

    cell: Bound
    kernel: WindowParts
    bias: WindowParts
    memory: Memory


@call_repr
def soft_window(
    cell: Cell,
    name: str,
    components: int = 10,
    *,
    initial_step: float = 1.0,
    kernel_init: Initializer = lecun_normal(),
    dtype: Any = None,
    param_dtype: Any = jnp.float32,
) -> Cell:
    """Adds a soft window: attention by K Gaussians that only move forward over a memory.

        v_t, carry_t = step(carry_{t-1}, [x_t, w_{t-1}])
        α_t = exp(v_t W_α + b_α)
        β_t = exp(v_t W_β + b_β)
        κ_t = κ_{t-1} + exp(v_t W_κ + b_κ)
        φ_tu = Σ_k α_tk exp(-β_tk (κ_tk - u)²)    for the rows u = 1 ... U
        w_t = Σ_u φ_tu m_u

    with κ_0 = 0 and w_0 = 0. Unlike `attend`, it compares no content: the cell only decides how far
    the window moves, as a pen does along the characters of a text. So it fits inputs and memories
    in the same order, where one row lasts several steps. Masked rows of the memory have no effect.

    Args:
      cell: a cell with outputs `[V]`.
      name: the name of m in the context, real `[U, D]`, such as one-hot characters, or a
        `recur.combine.Memory(values, mask)`.
      components: K, the number of Gaussians.
      initial_step: the step of κ where v_t is zero, in rows per step, above 0: about U / T. It is
        stored in b_κ.
      kernel_init: initializer of W_α, W_β and W_κ `[V, K]`, each drawn with its own key.
      dtype: the dtype of φ and w; by default what the weights and m promote to.
      param_dtype: the dtype of the weights.

    Returns:
      A `Cell` with `SoftWindowParams` and outputs `Windowed`; its carry is `SoftWindow`.

    Raises:
      TypeError: when `cell` is not a cell, or an option has the wrong type; while tracing, when v
        or m does not hold real numbers, or a mask is not bool.
      ValueError: when components is not a positive int, or initial_step is not above 0; while
        tracing, when there is no such context, m is not `[U, D]`, a mask is not `[U]`, or v is not
        one vector.

    Example:
      >>> import jax, jax.numpy as jnp, recur
      >>> writer = recur.scan(recur.soft_window(recur.lstm(8), "text", 3, initial_step=0.1))
      >>> strokes, text = jnp.ones((20, 3)), jax.nn.one_hot(jnp.array([3, 0, 1]), 4)
      >>> params = writer.init(jax.random.key(0), strokes, context={"text": text})
      >>> carry, ys = writer.run(params, strokes, context={"text": text})
      >>> ys.output.shape, ys.weights.shape, ys.window.shape, carry.position.shape
      ((20, 8), (20, 3), (20, 4), (3,))

    References:
      Graves 2013, Generating Sequences With Recurrent Neural Networks, section 5.1,
      https://arxiv.org/abs/1308.0850
    """
    check_cell(cell, "soft_window")
    components = check_whole("soft_window: components", components, 1)
    check_initializer("soft_window: kernel_init", kernel_init)
    check_floating("soft_window", dtype=dtype, param_dtype=param_dtype)
    if check_number("soft_window: initial_step", initial_step) <= 0:
        raise ValueError(f"soft_window: expected initial_step above 0, got {initial_step}.")

    def init(key, x, context=None):
        cell_key, kernel_key = split(check_key(key), 2)
        memory = memory_from(context, name, "soft_window")
        seen = joined(x, memory)
        params = cell.init(cell_key, seen, context=context)
        width = _output_width(output_shape(cell, params, seen, context))
        keys, shape = WindowParts(*jax.random.split(kernel_key, 3)), (width, components)
        starts = 0.0, 0.0, math.log(initial_step)
        return SoftWindowParams(
            cell=params,
            kernel=jax.tree.map(lambda k: drawn_by(kernel_init, k, shape, param_dtype), keys),
            bias=WindowParts(*(jnp.full(components, a, param_dtype) for a in starts)),
        )

    def bind(params, x, *, key=None, context=None):
        check_params("soft_window", params, SoftWindowParams)
        memory = memory_from(context, name, "soft_window")
        weights = params.kernel, params.bias
        every = (*jax.tree.leaves(weights), memory.values)
        common = jnp.result_type(*every) if dtype is None else dtype
        memory = zero_masked(memory, common)
        seen = joined(x, memory)
        kernel, bias = jax.tree.map(lambda leaf: leaf.astype(common), weights)
        bound = cell.bind(params.cell, seen, key=key, context=context)
        return _Bound(bound, kernel, bias, memory)

    def init_carry(bound, x):
        window = jnp.zeros(bound.memory.values.shape[1:], bound.memory.values.dtype)
        position = at_least_float32(jnp.zeros_like(bound.bias.step))  # a sum over time
        return SoftWindow(cell.init_carry(bound.cell, joined(x, bound.memory)), position, window)

    def joined(x, memory):
        """Returns the shape of [x, w]."""
        w = jax.ShapeDtypeStruct(memory.values.shape[1:], memory.values.dtype)
        return jax.eval_shape(join, x, w)

    def step(bound, carry, x, key=None):
        inner, v = cell.step(bound.cell, carry.cell, join(x, carry.window), key)
        q = v.astype(bound.kernel.step.dtype)
        a = jax.tree.map(lambda kernel, bias: q @ kernel + bias, bound.kernel, bound.bias)
        alpha, beta, moved = jax.tree.map(lambda leaf: jnp.exp(at_least_float32(leaf)), a)
        position = carry.position + moved
        weights = _weights(alpha, beta, position, bound.memory)
        window = weights @ bound.memory.values
        return SoftWindow(inner, position, window), Windowed(v, weights, window)

    join = partial(side_by_side, "soft_window")
    return Cell(init, bind, init_carry, step)


def _weights(alpha: jax.Array, beta: jax.Array, position: jax.Array, memory: Memory) -> jax.Array:
    """Computes φ `[U]`, zero where the memory is masked, in the dtype of the memory."""
    rows = jnp.arange(1, len(memory.values) + 1, dtype=position.dtype)
    distances = position[:, None] - rows[None]
    weights = (alpha[:, None] * jnp.exp(-beta[:, None] * distances**2)).sum(0)
    if memory.mask is not None:
        weights = jnp.where(memory.mask, weights, 0.0)
    return weights.astype(memory.values.dtype)


def _output_width(v: Any) -> int:
    """Returns V; raises an error unless v is one real vector."""
    if len(getattr(v, "shape", ())) != 1:
        raise ValueError(f"soft_window: expected the output to be one vector, got {describe(v)}.")
    if jnp.issubdtype(v.dtype, jnp.complexfloating):
        raise TypeError(f"soft_window: expected the output to be real numbers, got {describe(v)}.")
    return v.shape[0]
