"""Normalisation within the step.

Norms are taken over the units of one step of one sequence. Statistics over a batch are left out on
purpose (Cooijmans et al. 2017, Recurrent Batch Normalization, https://arxiv.org/abs/1603.09025): a
recurrence needs those of each time step apart, and has none for steps beyond the longest sequence
seen in training; a step would depend on the other rows of its batch, and be no pure function of
one sequence; and padding would enter the statistics.
"""

from __future__ import annotations

from typing import Any, NamedTuple

import jax

from recur.checks import check_cell, describe
from recur.keys import check_key, split, split_like
from recur.modules import as_module
from recur.types import AnyCell, Cell, Dropped, GatedCell, Params


class NormalizeParams(NamedTuple):
    """Weights of `normalize`."""

    cell: Params
    input: Any  # one a leaf of u
    recurrent: Any  # one a leaf of m


def normalize(cell: AnyCell, norm: Any) -> Cell:
    """Normalises what reaches the gates, from the input and from the state apart.

        u_t = project(x_t),    m_t = h_{t-1} @ W
        carry_t, v_t = gates(carry_{t-1}, N(u_t), N'(m_t)),    y_t = read(v_t, x_t)

    Every leaf of u and of m, one a gate, has a norm of its own, so the gates do not feel the scale
    of the kernels. The cell's biases stand in u, inside the norm; the norm's own shift and scale
    are behind it. A norm is a reduction, so this is a plain `Cell`. The
    mask of `recurrent_dropout` inside stays on what it masks; noise of other kinds that ride in u,
    as that of `zoneout`, is none of a norm's business: it goes around `normalize`.

    Args:
      cell: a `GatedCell`.
      norm: N, such as `flax.linen.LayerNorm()` or `flax.linen.RMSNorm()`; a function or a name of
        `recur.modules.ACTIVATIONS` will do.

    Returns:
      A `Cell` with `NormalizeParams`; its carry is the cell's own.

    Raises:
      TypeError: when `cell` is not a `GatedCell`, or `norm` none of these; while tracing, when
        noise rides in u.
      ValueError: when it is an unknown name, or a module with mutable collections, as BatchNorm;
        while tracing, when N does not keep the shape.

    Example:
      >>> import jax, jax.numpy as jnp, recur
      >>> from flax import linen as nn
      >>> layer = recur.scan(recur.normalize(recur.gru(4), nn.RMSNorm()))
      >>> xs = jnp.ones((5, 3))
      >>> params = layer.init(jax.random.key(0), xs)
      >>> layer(params, xs).shape, params.input.reset["scale"].shape
      ((5, 4), (4,))

    References:
      Ba, Kiros & Hinton 2016, Layer Normalization, https://arxiv.org/abs/1607.06450
      Zhang & Sennrich 2019, Root Mean Square Layer Normalization,
      https://arxiv.org/abs/1910.07467
    """
    check_cell(cell, "normalize")
    if not isinstance(cell, GatedCell):
        raise TypeError(
            "normalize: expected a GatedCell, which tells what reaches its gates, got "
            f"{type(cell).__name__}. Normalise the cells of a stack one by one."
        )
    module = as_module(norm)

    def init(key, x, context=None):
        cell_key, input_key, recurrent_key = split(check_key(key), 3)
        params = cell.init(cell_key, x, context=context)
        u, m = jax.eval_shape(first, params, x, context)
        return NormalizeParams(
            cell=params,
            input=jax.tree.map(module.init, split_like(input_key, u), u),
            recurrent=jax.tree.map(module.init, split_like(recurrent_key, m), m),
        )

    def first(params, x, context):
        bound = cell.bind(params, x, context=context)
        return cell.project(bound, x), cell.products(bound, cell.start(bound, x))

    def bind(params, x, *, key=None, context=None):
        bound = cell.bind(params.cell, x, key=key, context=context)
        if key is not None:
            noisy = jax.eval_shape(cell.project, bound, x, key)
            _check_noiseless(_unmasked(noisy), jax.eval_shape(first, params.cell, x, context)[0])
        return params._replace(cell=bound)

    def start(bound, x):
        return cell.start(bound.cell, x)

    def step(bound, carry, x, key=None):
        project_key, input_key, recurrent_key, read_key = split(key, 4)
        u = cell.project(bound.cell, x, project_key)
        m = cell.products(bound.cell, carry)
        numbers = _unmasked(u)
        normal = jax.tree.map(apply, numbers, bound.input, split_like(input_key, numbers))
        m = jax.tree.map(apply, m, bound.recurrent, split_like(recurrent_key, m))
        carry, v = cell.gates(bound.cell, carry, _masked_as(u, normal), m)
        return carry, cell.read(bound.cell, v, x, read_key)

    def apply(leaf, params, key):
        normal = module.apply(params, leaf, key=key)
        if normal.shape != leaf.shape:
            raise ValueError(
                f"normalize: the norm must keep the shape, {list(leaf.shape)}; it gave "
                f"{list(normal.shape)}."
            )
        return normal.astype(leaf.dtype)

    return Cell(init, bind, start, step)


def _is_dropped(leaf: Any) -> bool:
    return isinstance(leaf, Dropped)


def _unmasked(u: Any) -> Any:
    """The numbers in u, without the mask that `recurrent_dropout` may have put on some."""
    return jax.tree.map(lambda a: a.value if _is_dropped(a) else a, u, is_leaf=_is_dropped)


def _masked_as(u: Any, normal: Any) -> Any:
    """Other numbers in place of those of u, under the same masks."""
    return jax.tree.map(
        lambda a, n: a._replace(value=n) if _is_dropped(a) else n, u, normal, is_leaf=_is_dropped
    )


def _check_noiseless(u: Any, quiet: Any) -> None:
    """Raises a TypeError unless u has no more parts than without noise."""
    if len(jax.tree.leaves(u)) != len(jax.tree.leaves(quiet)):
        raise TypeError(
            "normalize: expected a cell with nothing but numbers in u, and there is noise: "
            f"{describe(u)}. Put it around: recur.zoneout(recur.normalize(cell, norm), rate)."
        )
