"""Layers for params that were converted from another library."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import jax
import jax.numpy as jnp

from recur.cells import (
    ConvLSTMParams,
    ElmanParams,
    GRUParams,
    ProjectedLSTMParams,
    conv_lstm,
    elman,
    gru,
    lstm,
    projected_lstm,
)
from recur.checks import check_number
from recur.layer import Layer
from recur.lift import bidirectional, chain, scan
from recur.lift.bidirectional import Directions
from recur.lift.parallel import Merge
from recur.types import Cell


def make_cell_of(params: Any, **options: Any) -> Cell:
    """Returns the cell whose params these are.

    Args:
      params: of `lstm`, `projected_lstm`, `conv_lstm`, `gru` or `elman`.
      **options: activation, and for a GRU reset and update.
    """
    first = jax.tree.leaves(params.recurrent_kernel)[0]
    common = dict(options)
    if params.bias is None:
        common["use_bias"] = False
    if first.dtype != jnp.float32:
        common["param_dtype"] = first.dtype.type
    if isinstance(params, ElmanParams):
        return elman(first.shape[1], **common)
    if isinstance(params, GRUParams):
        return gru(first.shape[1], **common)
    if isinstance(params, ProjectedLSTMParams):
        return projected_lstm(*params.projection.shape, **common)
    if isinstance(params, ConvLSTMParams):
        return conv_lstm(first.shape[-1], first.shape[:-2], **common)
    return lstm(first.shape[1], **common)


def lift_params(
    params: Any,
    *,
    reverse: bool = False,
    merge: Merge = "concatenate",
    wrap: Callable[[Cell], Cell] = lambda cell: cell,
    **options: Any,
) -> Layer:
    """Returns the layer of one cell, or of the two cells of `Directions`.

    Args:
      params: of one cell, or `Directions` of two.
      reverse: whether a single cell reads backward.
      merge: how the outputs of two directions are merged.
      wrap: a function of each cell, which keeps its params.
      **options: of each cell.
    """
    if not isinstance(params, Directions):
        cell = wrap(make_cell_of(params, **options))
        return scan(cell, reverse=True) if reverse else scan(cell)
    forward, backward = (wrap(make_cell_of(each, **options)) for each in params)
    how = {} if merge == "concatenate" else {"merge": merge}
    return bidirectional(scan(forward), scan(backward, reverse=True), **how)


def lift_layers(layers: Sequence[Any], dropout: float = 0.0, **options: Any) -> tuple[Layer, Any]:
    """Returns a layer and its params for the params of each layer of a deep network.

    Args:
      layers: params of one cell, or `Directions`, for each layer.
      dropout: the rate of dropout between the layers; with it, the params have entries for it too.
      **options: of all cells.
    """
    if len(layers) == 1:
        return lift_params(layers[0], **options), layers[0]
    if not check_number("dropout", dropout):
        return chain(*(lift_params(each, **options) for each in layers)), tuple(layers)
    from flax import linen as nn

    parts, params = [], []
    for each in layers:
        parts += [lift_params(each, **options), nn.Dropout(dropout)]
        params += [each, {}]
    return chain(*parts[:-1]), tuple(params[:-1])
