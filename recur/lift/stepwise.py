"""A Linen module or a function, applied to each step by itself."""

from __future__ import annotations

from typing import Any

import jax

from recur.keys import check_key
from recur.lift.mask import lay_out
from recur.lift.over_time import step_of
from recur.modules import as_module
from recur.sequences.lengths import zero_invalid
from recur.types import Layer


def stepwise(thing: Any) -> Layer:
    """Makes a layer without a carry of a Linen module, a function or an activation's name."""
    module = as_module(thing)

    def init(key, xs, context=None):
        del context
        return module.init(check_key(key), step_of(xs))

    def bind(params, xs, *, key=None, context=None):
        del xs, key, context
        return params

    def start(bound, xs):
        del bound, xs
        return ()

    def apply(bound, carry, xs, *, length=None, valid=None, reset=None, key=None):
        steps = lay_out(xs, length=length, valid=valid, reset=reset, key=key)
        ys = jax.vmap(lambda x, key: module.apply(bound, x, key=key))(steps.x, steps.key)
        return carry, zero_invalid(steps.valid, ys)

    # a carry of nothing is all carries
    return Layer(init, bind, start, apply, follow=apply, reads="step by step")
