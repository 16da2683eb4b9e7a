"""A layer that applies a module or a function to each step independently."""

from __future__ import annotations

from typing import Any

import jax

from recur.call_repr import show
from recur.keys import check_key
from recur.layer import Layer
from recur.lift.mask import prepare_steps
from recur.lift.over_time import step_of
from recur.masks import add_leading_axis, step_count, zero_invalid
from recur.modules import as_module
from recur.types import Bound, Carry, Context, Params, Shaped


def stepwise(thing: Any) -> Layer:
    """Makes a layer without a carry from a module, a function or the name of an activation."""
    module = as_module(thing)
    at_once = module.is_of_entries  # one key for all steps: a key for each step compiles slower

    def init(key, xs, context=None):
        del context
        return module.init(check_key(key), step_of(xs))

    def apply(bound, carry, xs, mask, key, *, all_carries=False):
        del all_carries  # the carry is empty
        steps = prepare_steps(xs, mask, None if at_once else key)
        if at_once:
            ys = module.apply(bound, steps.x, key=key)
        else:
            ys = jax.vmap(lambda x, key: module.apply(bound, x, key=key))(steps.x, steps.key)
        return carry, zero_invalid(mask.valid, ys)

    def find_output_shape(bound, xs):
        return add_leading_axis(jax.eval_shape(module.apply, bound, step_of(xs)), step_count(xs))

    return Layer(
        init,
        bind_nothing,
        begin_without_carry,
        apply,
        find_output_shape,
        direction="stepwise",
        call=thing if isinstance(thing, str) else show(thing),
    )


def bind_nothing(
    params: Params, xs: Shaped, /, *, key: jax.Array | None = None, context: Context = None
) -> Bound:
    """Returns params as they are: the `bind` of a layer that prepares nothing for a sequence."""
    del xs, key, context
    return params


def begin_without_carry(bound: Bound, xs: Shaped, /) -> Carry:
    """Returns (): the `begin` of a layer without a carry."""
    del bound, xs
    return ()
