"""A table of the parts and the params of a layer."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from recur.checks import check_context, check_leaves, describe, leaf_name
from recur.layer import Layer, check_is_layer
from recur.masks import leading_shape
from recur.types import Context, Params, Shaped


class PartSummary(NamedTuple):
    """A part of a layer, in a `Summary`.

    Attributes:
      path: the path of its params; "" of the whole layer.
      layer: the call that created it.
      output: the shapes and dtypes of its outputs, as text.
      carry: those of its carry.
      size: the number of its weights.
    """

    path: str
    layer: str
    output: str
    carry: str
    size: int


class ParamSummary(NamedTuple):
    """An array of params, in a `Summary`.

    Attributes:
      path: its path in the params.
      shape: its shape.
      dtype: its dtype.
      size: the number of its values.
      bytes: its size in bytes.
      norm: its L2 norm; None if only its shape is known.
    """

    path: str
    shape: tuple[int, ...]
    dtype: str
    size: int
    bytes: int
    norm: float | None


class Summary(NamedTuple):
    """What `summary` returns; `print` shows it as two tables.

    Attributes:
      parts: the parts of the layer, and the layer itself as the last.
      params: the arrays of the params.
    """

    parts: tuple[PartSummary, ...]
    params: tuple[ParamSummary, ...]

    def __str__(self) -> str:
        has_norms = any(row.norm is not None for row in self.params)
        parts = [("part", "layer", "output", "carry", "params"), *map(_texts, self.parts)]
        rows = [("param", "shape", "dtype", "count", "bytes", "norm"), *map(_texts, self.params)]
        total = ("total", "", "", *(f"{sum(of):,}" for of in self._counts()), "")
        tables = [_aligned(parts, right=(4,)), _aligned([*rows, total], right=(3, 4, 5))]
        if not has_norms:
            tables[1] = _aligned([row[:5] for row in (*rows, total)], right=(3, 4))
        return "\n\n".join(tables if self.params else tables[:1])

    def __repr__(self) -> str:
        return str(self)

    def _counts(self) -> tuple[list[int], list[int]]:
        return [row.size for row in self.params], [row.bytes for row in self.params]


def summary(layer: Layer, xs: Shaped, params: Params = None, *, context: Context = None) -> Summary:
    """Summarizes a layer as a table, as `tabulate` of Flax does: parts, shapes and parameters.

    Nothing is computed but shapes, and norms of given params.

    Args:
      layer: any layer.
      xs: an example of the inputs, or its shape, with a batch axis if the layer is batched.
      params: its params, to show their norms; by default only shapes are shown.
      context: as in `Layer.run`.

    Returns:
      A `Summary`, which prints as the parts of the layer, with the shapes of their outputs and
      carries, and the params, with their shapes, dtypes, counts, sizes and norms.

    Raises:
      TypeError: if layer is not a layer, or xs or params have other leaves than arrays.

    Example:
      >>> import jax, jax.numpy as jnp, recur
      >>> from recur.diagnose import summary
      >>> model = recur.chain(recur.scan(recur.elman(8)), "relu")
      >>> print(summary(model, jax.ShapeDtypeStruct((5, 3), jnp.float32)))
      part  layer                          output        carry       params
      ----  -----------------------------  ------------  ----------  ------
      0     scan(elman(8))                 float32[5,8]  float32[8]      96
      1     relu                           float32[5,8]  -                0
            chain(scan(elman(8)), 'relu')  float32[5,8]                  96
      <BLANKLINE>
      param               shape   dtype    count  bytes
      ------------------  ------  -------  -----  -----
      0/kernel            [3, 8]  float32     24     96
      0/recurrent_kernel  [8, 8]  float32     64    256
      0/bias              [8]     float32      8     32
      total                                   96    384
    """
    check_is_layer(layer, "summary", may_be_pooled=True)
    check_context(context)
    for name, tree in {"summary: xs": xs, "summary: params": params}.items():
        check_leaves(name, jax.tree.map(_filled, tree))
    leading_shape(xs, layer.batch_axes)
    if params is None:
        key = jax.random.key(0)
        shapes = jax.eval_shape(lambda: layer.init(key, xs, context=context))
    else:
        shapes = params
    return Summary(tuple(_parts("", layer, shapes, xs, context)), param_rows(shapes))


def param_rows(params: Params) -> tuple[ParamSummary, ...]:
    """The rows of params, or of their shapes."""
    rows = []
    for path, leaf in jax.tree_util.tree_leaves_with_path(params):
        shape, dtype = jnp.shape(leaf), jnp.result_type(leaf)
        count = math.prod(shape)
        is_shape = isinstance(leaf, jax.ShapeDtypeStruct)
        known = jnp.issubdtype(dtype, jnp.number) and not is_shape
        norm = float(np.linalg.norm(np.asarray(leaf, _wide(dtype)).ravel())) if known else None
        size = count * dtype.itemsize
        rows.append(ParamSummary(leaf_name(path) or "params", shape, dtype.name, count, size, norm))
    return tuple(rows)


def _wide(dtype: Any) -> Any:
    return np.complex128 if jnp.issubdtype(dtype, jnp.complexfloating) else np.float64


def _filled(leaf: Any) -> Any:
    """An array in place of a shape, for checks."""
    return np.zeros((), leaf.dtype) if isinstance(leaf, jax.ShapeDtypeStruct) else leaf


def _parts(
    path: str, layer: Layer, params: Params, xs: Shaped, context: Context
) -> Iterator[PartSummary]:
    """The rows of the parts of a layer, and of the layer."""
    into = xs
    for name, part in layer.parts.items():
        of_part = _entry(params, name)
        inside = "/".join(filter(None, (path, name)))
        yield from _parts(inside, part, of_part, into, context)
        into = _shapes(part, of_part, into, context)[1]
    carry, output = _shapes(layer, params, xs, context)
    shown = "" if layer.parts else describe(carry) if jax.tree.leaves(carry) else "-"
    count = sum(math.prod(jnp.shape(leaf)) for leaf in jax.tree.leaves(params))
    yield PartSummary(path, layer.call, describe(output), shown, count)


def _shapes(layer: Layer, params: Params, xs: Shaped, context: Context) -> tuple[Shaped, Shaped]:
    """The shapes of the initial carry and of the outputs of a layer."""

    def run(params, xs, context):
        bound = layer.bind(params, xs, context=context)
        return layer.begin(bound, xs), layer.output_shape(bound, xs)

    return jax.eval_shape(run, params, xs, context)


def _entry(params: Params, name: str) -> Params:
    """The params of a part, by its path."""
    return params[int(name)] if name.isdigit() else getattr(params, name)


def _texts(row: PartSummary | ParamSummary) -> tuple[str, ...]:
    if isinstance(row, PartSummary):
        short = row.layer if len(row.layer) <= _WIDTH else row.layer[: _WIDTH - 3] + "..."
        return row.path, short, row.output, row.carry, f"{row.size:,}"
    norm = "" if row.norm is None else f"{row.norm:.4g}"
    return row.path, str(list(row.shape)), row.dtype, f"{row.size:,}", f"{row.bytes:,}", norm


_WIDTH = 40  # of the call that created a layer


def _aligned(rows: Sequence[Sequence[str]], right: Sequence[int]) -> str:
    """Rows as text in columns, under a header; columns of numbers are aligned to the right."""
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    header, *body = rows
    lines = [header, ["-" * width for width in widths], *body]
    return "\n".join(
        "  ".join(
            cell.rjust(width) if number in right else cell.ljust(width)
            for number, (cell, width) in enumerate(zip(line, widths, strict=True))
        ).rstrip()
        for line in lines
    )
