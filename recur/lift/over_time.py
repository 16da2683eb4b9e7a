"""The parts that all lifts of a cell share: a layer made from a cell and a loop."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import jax

from recur.checks import describe, signature
from recur.keys import check_key
from recur.layer import Layer
from recur.lift.mask import Steps, prepare_steps
from recur.manual_axes import vary_over
from recur.masks import add_leading_axis, drop_leading_axis, step_count, zero_invalid
from recur.structure import Parts
from recur.types import Bound, Carry, Cell, Direction, Shaped

Run = Callable[[Bound, Carry, Carry, Steps, bool], tuple[Carry, tuple[Any, Any]]]


def over_time(cell: Cell, run: Run, *, reverse: bool = False) -> Layer:
    """Makes a layer from a cell and a loop.

    Args:
      cell: any cell.
      run: the loop, `run(bound, carry, initial_carry, steps, all_carries) -> (carry, (carries,
        ys))`. Segments start from `initial_carry`; `steps` are `recur.lift.mask.Steps`; `carries`
        is the carry after each step, or () without `all_carries`.
      reverse: whether the loop reads backward.
    """

    def init(key, xs, context=None):
        return cell.init(check_key(key), step_of(xs), context=context)

    def bind(params, xs, *, key=None, context=None):
        key = None if key is None else check_key(key)
        return cell.bind(params, step_of(xs), key=key, context=context)

    def begin(bound, xs):
        return cell.init_carry(bound, step_of(xs))

    def apply(bound, carry, xs, mask, key, *, all_carries=False):
        steps = prepare_steps(xs, mask, key, reverse=reverse)
        initial_carry = begin(bound, xs)
        check_carry(carry, initial_carry)
        carry, initial_carry = vary_over((bound, steps, carry), (carry, initial_carry))
        carry, (carries, ys) = run(bound, carry, initial_carry, steps, all_carries)
        return carries if all_carries else carry, zero_invalid(mask.valid, ys)

    def first_output(bound, x):
        return cell.step(bound, cell.init_carry(bound, x), x)[1]

    def find_output_shape(bound, xs):
        return add_leading_axis(jax.eval_shape(first_output, bound, step_of(xs)), step_count(xs))

    direction: Direction = "backward" if reverse else "forward"
    return Layer(init, bind, begin, apply, find_output_shape, direction=direction)


def read_all(parts: Parts, xs: Any, crossing: Any, after: Any) -> Any:
    """Computes the outputs of all steps; xs gives their number if an output is a constant."""
    return jax.vmap(lambda x, v, u: parts.read(v, u))(xs, crossing, after)


def check_carry(carry: Carry, initial_carry: Carry) -> None:
    """Raises a ValueError if a carry differs from the initial one in structure, shape or dtype."""
    came, expected = jax.eval_shape(lambda *trees: trees, carry, initial_carry)
    if signature(came) != signature(expected):
        raise ValueError(
            f"carry: expected {describe(expected)}, as init_carry returns, got {describe(came)}."
        )


def step_of(xs: Any) -> Shaped:
    """Returns the shape of one step of xs."""
    step_count(xs)
    return drop_leading_axis(xs)
