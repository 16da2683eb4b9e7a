"""Parts in series: shared by `stack` for cells and by `chain` for layers."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import partial
from typing import Any, NamedTuple

import jax

from recur.checks import check_entries
from recur.keys import check_key, split
from recur.types import CellBind, CellInit, CellInitCarry, Shaped


class Series(NamedTuple):
    """The functions of a series, the same for cells and layers; they return tuples."""

    init: CellInit
    bind: CellBind
    init_carry: CellInitCarry


def in_series(
    parts: Sequence[Any],
    init_carry_of: Callable[[Any], CellInitCarry],
    output_shape_of: Callable[[Any, Any, Any], Shaped],
) -> Series:
    """Joins `init`, `bind` and `init_carry` of parts, each of which reads the output before it.

    Args:
      parts: cells, or layers.
      init_carry_of: `init_carry_of(part)`, its function `(bound, x) -> carry`.
      output_shape_of: `output_shape_of(part, bound, x)`, the shapes of the output of a part.
    """
    # Made once, since jax.eval_shape caches traces by the identity of the function.
    bind_shapes = [partial(jax.eval_shape, partial(_bind, part)) for part in parts]

    def init(key, x, context=None):
        params: list[Any] = []
        for n, part_key in enumerate(split(check_key(key), len(parts))):
            if n > 0:
                bound = bind_shapes[n - 1](params[-1], x, context)
                x = output_shape_of(parts[n - 1], bound, x)
            params.append(parts[n].init(part_key, x, context=context))
        return tuple(params)

    def bind(params, x, *, key=None, context=None):
        check_entries("params", params, len(parts))
        bound: list[Any] = []
        for n, part_key in enumerate(split(key, len(parts))):
            if n > 0:
                x = output_shape_of(parts[n - 1], bound[-1], x)
            bound.append(parts[n].bind(params[n], x, key=part_key, context=context))
        return tuple(bound)

    def init_carry(bound, x):
        carries = []
        for n, part in enumerate(parts):
            if n > 0:
                x = output_shape_of(parts[n - 1], bound[n - 1], x)
            carries.append(init_carry_of(part)(bound[n], x))
        return tuple(carries)

    return Series(init, bind, init_carry)


def _bind(part: Any, params: Any, x: Any, context: Any) -> Any:
    return part.bind(params, x, context=context)
