"""One part after another: what `stack` does with cells and `chain` does with layers.

Cells and layers have the same `init`, `bind` and `start`, and in both cases a part needs to know
the shape of what the parts before it give.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import partial
from typing import Any, NamedTuple

import jax

from recur.checks import check_entries
from recur.keys import check_key, split
from recur.types import Bound, Carry, Params

FirstOutput = Callable[[Any, Bound, Any], Any]


class Series(NamedTuple):
    """The functions of a series that are one for cells and layers; their values are tuples."""

    init: Callable[..., Params]
    bind: Callable[..., Bound]
    start: Callable[..., Carry]


def in_series(parts: Sequence[Any], first_output: FirstOutput) -> Series:
    """Joins the `init`, `bind` and `start` of parts.

    Args:
      parts: cells, or layers.
      first_output: `first_output(part, bound, x) -> y`, what a part gives from its start, noise
        off; only the shape counts.
    """
    # Made once, for jax.eval_shape remembers what it has traced by the identity of the function.
    outputs = [partial(first_output, part) for part in parts]
    outputs_unbound = [
        partial(_bind_and, output, part) for output, part in zip(outputs, parts, strict=True)
    ]

    def init(key, x, context=None):
        params = []
        for part, output, part_key in zip(
            parts, outputs_unbound, keys_for(check_key(key)), strict=True
        ):
            params.append(part.init(part_key, x, context=context))
            x = jax.eval_shape(output, params[-1], x, context)
        return tuple(params)

    def bind(params, x, *, key=None, context=None):
        check_entries("params", params, len(parts))
        bound = []
        for part, output, p, part_key in zip(parts, outputs, params, keys_for(key), strict=True):
            bound.append(part.bind(p, x, key=part_key, context=context))
            x = jax.eval_shape(output, bound[-1], x)
        return tuple(bound)

    def start(bound, x):
        carries = []
        for part, output, b in zip(parts, outputs, bound, strict=True):
            carries.append(part.start(b, x))
            x = jax.eval_shape(output, b, x)
        return tuple(carries)

    def keys_for(key):
        return split(key, len(parts))

    return Series(init, bind, start)


def _bind_and(output: Callable, part: Any, params: Params, x: Any, context: Any) -> Any:
    return output(part.bind(params, x, context=context), x)
