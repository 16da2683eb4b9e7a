"""What all lifts of a cell share: a layer whose functions see the shape of one step."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import jax

from recur.checks import describe, signature
from recur.keys import check_key
from recur.lift.mask import Steps, lay_out
from recur.sequences.lengths import one_of, step_count, zero_invalid
from recur.types import AnyCell, Bound, Carry, Layer, Shaped
from recur.varying import vary_over

See = Callable[[Carry], Any]
Run = Callable[[Bound, Carry, Carry, Steps, See], tuple[Carry, tuple[Any, Any]]]


def over_time(cell: AnyCell, run: Run, *, reverse: bool = False) -> Layer:
    """Makes a layer of a cell and a way to run it.

    Args:
      cell: any cell.
      run: `run(bound, carry, fresh, steps, see) -> (carry, (seen, ys))`, the loop; `fresh` is the
        carry with which a segment starts, `steps` is laid out and guarded by `recur.lift.mask`, and
        `seen` is `see(carry)` of the carry after each step.
      reverse: whether the loop reads backwards.
    """

    def init(key, xs, context=None):
        return cell.init(check_key(key), step_of(xs), context=context)

    def bind(params, xs, *, key=None, context=None):
        key = None if key is None else check_key(key)
        return cell.bind(params, step_of(xs), key=key, context=context)

    def start(bound, xs):
        return cell.start(bound, step_of(xs))

    def walk(see, bound, carry, xs, *, length=None, valid=None, reset=None, key=None):
        steps = lay_out(xs, length=length, valid=valid, reset=reset, key=key, reverse=reverse)
        fresh = start(bound, xs)
        check_carry(carry, fresh)
        carry, fresh = vary_over((bound, steps, carry), (carry, fresh))
        carry, (seen, ys) = run(bound, carry, fresh, steps, see)
        return carry, seen, zero_invalid(steps.valid, ys)

    def apply(bound, carry, xs, **options):
        carry, _, ys = walk(lambda carry: (), bound, carry, xs, **options)
        return carry, ys

    def follow(bound, carry, xs, **options):
        _, carries, ys = walk(lambda carry: carry, bound, carry, xs, **options)
        return carries, ys

    return Layer(init, bind, start, apply, follow, reads="backwards" if reverse else "forwards")


def check_carry(carry: Carry, fresh: Carry) -> None:
    """Raises a ValueError unless `carry` has the structure, shapes and dtypes of `fresh`."""
    came, expected = jax.eval_shape(lambda *trees: trees, carry, fresh)
    if signature(came) != signature(expected):
        raise ValueError(
            f"carry: expected {describe(expected)}, as start gives it, got {describe(came)}."
        )


def step_of(xs: Any) -> Shaped:
    """The shape of one step of xs."""
    step_count(xs)
    return one_of(xs)
