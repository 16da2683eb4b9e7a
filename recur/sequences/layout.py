"""Batches, and how examples are laid out in them: `pad`, `bucket` and `pack` make layouts.

A batch has B rows of T steps. A row holds one sequence or several, one after the other from its
start on; what is left of it is padding. So one type serves all layouts, and so does one loss:

    outputs = model(params, batch.steps["inputs"], **batch.marks, key=key)
    losses = cross_entropy(outputs, batch.steps["targets"], batch.valid)
"""

from __future__ import annotations

import itertools
from collections.abc import Callable, Iterable, Iterator, Sequence
from typing import Any, NamedTuple

import jax
import numpy as np

from recur.checks import check_whole
from recur.sequences.examples import Example, Examples


class Batch(NamedTuple):
    """B rows of T steps, with room for S sequences a row.

    Attributes:
      steps: the steps of the examples, `[B, T, ...]` each; zero in the padding.
      valid: bool `[B, T]`, false in the padding.
      reset: bool `[B, T]`, true at the first step of each sequence; None where a row holds one.
      label: the labels, `[B, S, ...]` each.
      context: the contexts, `[B, ...]` each; None when there are none.
      number: integer `[B, S]`, which example of the source it is; -1 where there is none.
      begin: integer `[B, S]`, where in its row a sequence begins.
      length: integer `[B, S]`, how many steps it has.
    """

    steps: Any
    valid: Any
    reset: Any
    label: Any
    context: Any
    number: Any
    begin: Any
    length: Any

    @property
    def marks(self) -> dict[str, Any]:
        """What a batched layer must be told: validity, resets and context."""
        return {"valid": self.valid, "reset": self.reset, "context": self.context}

    @property
    def present(self) -> Any:
        """Bool `[B, S]`, where there is a sequence; it may be empty."""
        return self.number >= 0


class Plan(NamedTuple):
    """A batch to be: numbers of examples, row by row, and the shape that holds them."""

    numbers: Sequence[Sequence[int]]
    rows: int  # B, of which those behind `numbers` hold nothing
    steps: int  # T; longer examples are cut
    slots: int  # S


Planner = Callable[[Iterable[int]], Iterator[Plan]]


class Layout(NamedTuple):
    """A way to lay examples out in batches.

    Attributes:
      name: what it is and with which options, by which a stream knows its own positions.
      planner: `planner(lengths, rows) -> plan`, with the length of every example, and B or None for
        as many rows as it takes. `plan(numbers) -> Plans` lays examples out in the order given.
      shares_rows: whether a row holds several sequences.
    """

    name: str
    planner: Callable[[np.ndarray, int | None], Planner]
    shares_rows: bool = False


def lay_out(source: Sequence[Any], layout: Layout, rows: int | None = None) -> list[Batch]:
    """Lays all examples out in batches, in their order.

    Every example is in exactly one batch. Where they do not fill the rows of the last one, the rows
    left over hold nothing: all of their steps are invalid.

    Args:
      source: the examples, each an `Example` or a pytree of `[T, ...]` arrays.
      layout: `pad`, `bucket` or `pack`.
      rows: B; as many as it takes when not given, and then there is one batch, or one a bucket.

    Returns:
      The batches, in NumPy.

    Raises:
      TypeError: when `layout` is not one, or the examples are no sequence, or not of numbers.
      ValueError: when there are no examples, they are not made alike, one is longer than the layout
        allows, or rows is below 1.

    Example:
      >>> import numpy as np
      >>> from recur.sequences import lay_out, pack, pad
      >>> sequences = [np.array([1, 2, 3]), np.array([4]), np.array([5, 6])]
      >>> [padded] = lay_out(sequences, pad())
      >>> padded.steps.tolist()
      [[1, 2, 3], [4, 0, 0], [5, 6, 0]]
      >>> [packed] = lay_out(sequences, pack(4))
      >>> packed.steps.tolist(), packed.reset.astype(int).tolist()
      ([[1, 2, 3, 4], [5, 6, 0, 0]], [[1, 0, 0, 1], [1, 0, 0, 0]])
    """
    examples = Examples(source)
    plan = make_planner(examples, layout, rows)
    return [fill(examples, each) for each in plan(range(len(source)))]


def make_planner(examples: Examples, layout: Layout, rows: int | None) -> Planner:
    """The layout's planner for these examples, when they and the rows suit it."""
    if not isinstance(layout, Layout):
        raise TypeError(f"expected a layout, as pad(), bucket(...) or pack(...), got {layout!r}.")
    rows = None if rows is None else check_whole("rows", rows, 1)
    if layout.shares_rows and examples.outline.context:
        names = ", ".join(map(repr, examples.outline.context))
        raise ValueError(
            f"example 0 has a context ({names}), which a layer is told once a row, and a packed "
            "row holds several sequences. Use pad or bucket, or make it a part of the steps: "
            "numpy.broadcast_to(value, (T, *value.shape))."
        )
    return layout.planner(examples.lengths, rows)


def fill(examples: Examples, plan: Plan) -> Batch:
    """Reads the examples of a plan, and lays them side by side in zeros."""
    slots = (plan.rows, plan.slots)
    kind = examples.outline
    batch = Batch(
        steps=_zeros((plan.rows, plan.steps), kind.steps),
        valid=np.zeros((plan.rows, plan.steps), bool),
        reset=np.zeros((plan.rows, plan.steps), bool),
        label=_zeros(slots, kind.label),
        context=_zeros(slots[:1], kind.context),
        number=np.full(slots, -1, np.int32),
        begin=np.zeros(slots, np.int32),
        length=np.zeros(slots, np.int32),
    )
    for row, numbers in enumerate(plan.numbers):
        end = 0
        for slot, number in enumerate(numbers):
            begin, end = end, end + min(int(examples.lengths[number]), plan.steps)
            _place(batch, examples[number], row, slot, begin, end)
            batch.number[row, slot] = number
    return batch._replace(reset=None) if plan.slots == 1 else batch


def check_fits(lengths: np.ndarray, steps: int, cut: bool, asker: str) -> None:
    """Raises a ValueError that names the first example longer than `steps`, unless it is cut."""
    for number in [] if cut else np.flatnonzero(lengths > steps):
        raise ValueError(
            f"{asker}: example {number} has {lengths[number]} steps, more than the {steps} there "
            f"is room for. Make room for {lengths.max()}, or give cut=True, which keeps the first "
            "steps of what is too long."
        )


def one_a_row(group: Sequence[int], rows: int | None, steps: int) -> Plan:
    """The plan of a batch with one sequence in each row."""
    return Plan([[number] for number in group], rows or len(group), steps, slots=1)


def groups_of(count: int | None, items: Iterable[Any]) -> Iterator[list[Any]]:
    """Lists of `count` items and one of the rest; all in one when no count is given."""
    items = iter(items)
    while group := list(itertools.islice(items, count)):
        yield group


def _place(batch: Batch, example: Example, row: int, slot: int, begin: int, end: int) -> None:
    steps = jax.tree.map(lambda leaf: leaf[: end - begin], example.steps)
    _write(batch.steps, (row, slice(begin, end)), steps)
    _write(batch.label, (row, slot), example.label)
    _write(batch.context, (row,), example.context)
    batch.valid[row, begin:end] = True
    batch.reset[row, begin : min(begin + 1, end)] = True
    batch.begin[row, slot], batch.length[row, slot] = begin, end - begin


def _zeros(shape: tuple[int, ...], kind: Any) -> Any:
    return jax.tree.map(lambda leaf: np.zeros((*shape, *leaf.shape), leaf.dtype), kind)


def _write(arrays: Any, at: tuple, values: Any) -> None:
    for array, value in zip(jax.tree.leaves(arrays), jax.tree.leaves(values), strict=True):
        array[at] = value
