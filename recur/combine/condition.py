"""Conditioning: a cell that is told what the whole sequence is about."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any, Literal, NamedTuple

import jax
import jax.numpy as jnp
from jax.nn.initializers import Initializer, lecun_normal

from recur.checks import check_cell, describe
from recur.combine.structure import map_inputs, side_by_side, with_structure, within
from recur.combine.vectors import check_width, vector_from
from recur.keys import check_key, split
from recur.types import AnyCell, Cell, Dropped, GatedCell, Params, Shaped

Draw = Callable[[jax.Array, tuple[int, ...]], jax.Array]


class ConditionParams(NamedTuple):
    """Weights of `condition`."""

    cell: Params
    kernel: Any  # K: [D, ...], one for each array that v is added to; None where v is beside x


class Conditioned(NamedTuple):
    """The carry of `condition` at the first step."""

    cell: Any
    entering: Any  # what enters with the next step: v or v K at first, then zeros


class _Bound(NamedTuple):
    cell: Any
    given: Any  # v, or v K for each array that it is added to


def condition(
    cell: AnyCell,
    name: str,
    at: Literal["every step", "first step", "start"] = "every step",
    *,
    kernel_init: Initializer = lecun_normal(),
    param_dtype: Any = jnp.float32,
) -> AnyCell:
    """Tells a cell a vector v, such as that of an image, which the context calls `name`.

        u_t = project(x_t) + v K        at "every step", of a `GatedCell`
        x'_t = [x_t, v]                 at "every step", of another cell
        carry_0 = start + v K           at the "start"

    Each array of u or of the carry has a K of its own, and v K is computed once a sequence. So an
    Elman network becomes `h_t = tanh(x_t W + h_{t-1} U + v K + b)`. At the "first step" it is as at
    every step, but with zeros for v, or v K, at all steps but the first that is read of a segment.
    There zoneout keeps no part of what enters if its rate is `Conditioned(rate, 0.0)`. Of a carry
    with the field `hidden`, the "start" is told to h, and to the field `cell` where there is one.

    Args:
      cell: the cell that is told.
      name: of v `[D]` in the context, real numbers.
      at: when v enters: at "every step", the "first step" or the "start".
      kernel_init: of each K, drawn as `[D, N]` for an array of N numbers; it is `[D, ...]`, and
        `[D, 2, ...]` for the real and imaginary parts of a complex one.
      param_dtype: what K is stored in.

    Returns:
      A cell of the same kind (a plain `Cell` for a stack, and at the "first step" for all but a
      `GatedCell`) with `ConditionParams`; its carry is the cell's own, at the "first step"
      `Conditioned`.

    Raises:
      TypeError: when `cell` is not a cell, or v does not hold real numbers.
      ValueError: when `at` is an unknown name; while tracing, when there is no such context, v is
        not `[D]` with the D of init, or does not fit beside x.

    Example:
      >>> import jax, jax.numpy as jnp, recur
      >>> captioner = recur.scan(recur.condition(recur.lstm(8), "image", at="start"))
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
    cell = with_structure(cell)

    def draw(key, shape):
        flat = kernel_init(key, (shape[0], math.prod(shape[1:])), param_dtype)
        return flat.reshape(shape)

    if at == "start":
        return _added_to_start(cell, name, draw)
    if at not in ("every step", "first step"):
        raise ValueError(
            f'condition: v enters at "every step", the "first step" or the "start", got {at!r}.'
        )
    if isinstance(cell, GatedCell):
        added = _added_to_steps if at == "every step" else _added_to_first_step
        return added(cell, name, draw)
    return _beside_steps(cell, name) if at == "every step" else _beside_first_step(cell, name)


def _added_to_start(cell: AnyCell, name: str, draw: Draw) -> AnyCell:
    nested = _projecting(cell, name, draw, lambda bound, x: _tellable(cell.start(bound, x)))

    def start(bound, x):
        return _plus(nested.start(bound, x), bound.given)

    return nested._replace(start=start)


def _added_to_steps(cell: GatedCell, name: str, draw: Draw) -> GatedCell:
    nested = _projecting(cell, name, draw, cell.project)

    def project(bound, x, key=None):
        return _plus(nested.project(bound, x, key), bound.given)

    return nested._replace(project=project)


def _added_to_first_step(cell: GatedCell, name: str, draw: Draw) -> GatedCell:
    nested = _projecting(cell, name, draw, cell.project)

    def start(bound, x):
        return Conditioned(nested.start(bound, x), bound.given)

    def hidden(bound, carry):
        return nested.hidden(bound, carry.cell)

    def gates(bound, carry, u, m):
        u = _plus(u, carry.entering)
        inner, v = nested.gates(bound, carry.cell, u, m)
        return Conditioned(inner, _nothing_like(carry.entering)), v

    return nested._replace(start=start, hidden=hidden, gates=gates)


def _beside_steps(cell: AnyCell, name: str) -> AnyCell:
    return map_inputs(_told(cell, name), lambda bound, x, key: _join(x, bound.given))


def _beside_first_step(cell: AnyCell, name: str) -> Cell:
    told = _told(cell, name)

    def start(bound, x):
        return Conditioned(told.start(bound, _with_vector(x, bound.given)), bound.given)

    def step(bound, carry, x, key=None):
        x = _join(x, carry.entering)
        inner, y = told.step(bound, carry.cell, x, key)
        return Conditioned(inner, _nothing_like(carry.entering)), y

    return Cell(told.init, told.bind, start, step)


def _projecting(cell: Any, name: str, draw: Draw, target: Callable[..., Any]) -> Any:
    """The cell with a kernel for each array of `target(bound, x)`, and v K of each when bound."""

    def first(params, x, context):
        return target(cell.bind(params, x, context=context), x)

    def init(key, x, context=None):
        cell_key, kernel_key = split(check_key(key), 2)
        width = vector_from(context, name, "condition").shape[0]
        params = cell.init(cell_key, x, context=context)
        arrays, structure = jax.tree.flatten(jax.eval_shape(first, params, x, context))
        keys = split(kernel_key, len(arrays))
        kernels = [
            draw(k, (width, *_parts(a))) if jnp.issubdtype(a.dtype, jnp.inexact) else None
            for k, a in zip(keys, arrays, strict=True)
        ]
        return ConditionParams(cell=params, kernel=jax.tree.unflatten(structure, kernels))

    def bind(params, x, *, key=None, context=None):
        v = jnp.asarray(vector_from(context, name, "condition"))
        arrays = jax.eval_shape(first, params.cell, x, context)
        given = jax.tree.map(lambda a, kernel: _project(v, kernel, a), arrays, params.kernel)
        return _Bound(cell=cell.bind(params.cell, x, key=key, context=context), given=given)

    return within(cell, init, bind)


def _tellable(carry: Any) -> Any:
    """The carry without what only keeps count, as the normaliser of `slstm`."""
    if not hasattr(carry, "hidden") or not hasattr(carry, "_replace"):
        return carry
    return carry._replace(**{f: None for f in carry._fields if f not in ("hidden", "cell")})


def _told(cell: AnyCell, name: str) -> Any:
    """The cell with weights for inputs beside v, and v when bound."""

    def init(key, x, context=None):
        v = vector_from(context, name, "condition")
        params = cell.init(check_key(key), _with_vector(x, v), context=context)
        return ConditionParams(cell=params, kernel=None)

    def bind(params, x, *, key=None, context=None):
        v = jnp.asarray(vector_from(context, name, "condition"))
        bound = cell.bind(params.cell, _with_vector(x, v), key=key, context=context)
        return _Bound(cell=bound, given=v)

    return within(cell, init, bind)


def _join(x: Any, v: jax.Array) -> jax.Array:
    """`[x, v]` for x `[I]`; for x `[..., I]` with v beside each of its vectors."""
    places = getattr(x, "shape", ())[:-1]
    return side_by_side("condition", x, jnp.broadcast_to(v, (*places, *v.shape)))


def _with_vector(x: Shaped, v: Any) -> Shaped:
    return jax.eval_shape(_join, x, v)


def _parts(array: Any) -> tuple[int, ...]:
    """The shape of a complex array as two real ones, and of a real one as it is."""
    return (2, *array.shape) if jnp.iscomplexobj(array) else array.shape


def _project(v: jax.Array, kernel: jax.Array | None, array: Any) -> jax.Array | None:
    """`v K`, in the shape and the dtype of the array that it is added to; None for counts."""
    if kernel is None:
        return None
    check_width(v.shape[0], kernel.shape[0], "condition: v")
    added = jnp.tensordot(v.astype(kernel.dtype), kernel, 1)
    return (jax.lax.complex(*added) if jnp.iscomplexobj(array) else added).astype(array.dtype)


def _plus(tree: Any, added: Any) -> Any:
    """The tree with what is added to its arrays, by their names: noise may bring more of them."""
    parts = dict(jax.tree.leaves_with_path(added))

    def add(name, array):
        part = parts.pop(name, None)
        if part is None:
            return array
        if isinstance(array, Dropped):
            return array._replace(value=array.value + part)
        return array + part

    whole = jax.tree.map_with_path(add, tree, is_leaf=lambda array: isinstance(array, Dropped))
    if parts:
        raise ValueError(
            f"condition: expected what v is added to as it was at init, {describe(added)}, got "
            f"{describe(tree)}."
        )
    return whole


def _nothing_like(entering: Any) -> Any:
    return jax.tree.map(jnp.zeros_like, entering)
