"""Batches of examples, in a layout made by `pad`, `bucket` or `pack`.

A batch has B rows of T steps. A row begins with one sequence, or with several in succession; the
rest of the row is padding. All layouts give the same type, so one loss works for all of them:

    outputs = model(params, batch.steps["inputs"], **batch.layer_kwargs, key=key)
    losses = cross_entropy(outputs, batch.steps["targets"], batch.mask)
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
    """A batch of B rows of T steps, with up to S sequences per row.

    Attributes:
      steps: the steps of the examples, each `[B, T, ...]`; zero in the padding.
      mask: bool `[B, T]`, True where the step counts, False in the padding.
      reset: bool `[B, T]`, True at the first step of each sequence; None if each row holds one.
      label: the labels, each `[B, S, ...]`; None if there are none.
      context: the contexts, each `[B, ...]`; None if there are none.
      number: int32 `[B, S]`, the index of the example in the source; -1 for an empty slot.
      begin: int32 `[B, S]`, the step of the row at which the sequence begins.
      length: int32 `[B, S]`, the number of steps of the sequence.
    """

    steps: Any
    mask: Any
    reset: Any
    label: Any
    context: Any
    number: Any
    begin: Any
    length: Any

    @property
    def layer_kwargs(self) -> dict[str, Any]:
        """The keyword arguments `mask`, `reset` and `context` of a batched layer."""
        return {"mask": self.mask, "reset": self.reset, "context": self.context}

    @property
    def present(self) -> Any:
        """Bool `[B, S]`, True where there is a sequence, which may have no steps."""
        return self.number >= 0


class Plan(NamedTuple):
    """A planned batch: the indices of its examples, and its shape.

    Attributes:
      numbers: for each row, the indices of its examples; missing rows are empty.
      batch_size: B, the number of rows.
      steps: T, the number of steps of a row; longer examples are cut.
      slots: S, the largest number of sequences per row.
    """

    numbers: Sequence[Sequence[int]]
    batch_size: int
    steps: int
    slots: int


Planner = Callable[[Iterable[int]], Iterator[Plan]]


class Layout(NamedTuple):
    """A way to arrange examples in batches, returned by `pad`, `bucket` and `pack`.

    Attributes:
      name: its name and options, which identify it in the state of a stream.
      planner: `planner(lengths, batch_size) -> plan`, given the length of every example, and B or
        None for as many rows as needed. `plan(numbers)` iterates over a `Plan` for each batch of
        examples in that order.
      shares_rows: bool, whether a row can hold several sequences.
    """

    name: str
    planner: Callable[[np.ndarray, int | None], Planner]
    shares_rows: bool = False


def make_batches(
    source: Sequence[Any], layout: Layout, batch_size: int | None = None
) -> list[Batch]:
    """Arranges examples in padded, bucketed or packed batches, in their order.

    Every example is in exactly one batch. If the examples do not fill the last batch, its remaining
    rows are empty: their mask is False everywhere.

    Args:
      source: the examples, each an `Example` or a pytree of `[T, ...]` arrays.
      layout: `pad`, `bucket` or `pack`.
      batch_size: B; by default as many rows as needed for one batch, or one batch per bucket.

    Returns:
      A list of `Batch`, in NumPy.

    Raises:
      TypeError: if `layout` is not a layout, or the examples are not a sequence or not numbers.
      ValueError: if there are no examples, their structures differ, one is longer than the layout
        allows, or batch_size is below 1.

    Example:
      >>> import numpy as np
      >>> from recur.sequences import make_batches, pack, pad
      >>> sequences = [np.array([1, 2, 3]), np.array([4]), np.array([5, 6])]
      >>> [padded] = make_batches(sequences, pad())
      >>> padded.steps.tolist()
      [[1, 2, 3], [4, 0, 0], [5, 6, 0]]
      >>> [packed] = make_batches(sequences, pack(4))
      >>> packed.steps.tolist(), packed.reset.astype(int).tolist()
      ([[1, 2, 3, 4], [5, 6, 0, 0]], [[1, 0, 0, 1], [1, 0, 0, 0]])
    """
    examples = Examples(source)
    plan = make_planner(examples, layout, batch_size)
    return [fill(examples, each) for each in plan(range(len(source)))]


def make_planner(examples: Examples, layout: Layout, batch_size: int | None) -> Planner:
    """Checks the arguments and returns the layout's planner for these examples."""
    if not isinstance(layout, Layout):
        raise TypeError(
            f"expected a layout, such as pad(), bucket(...) or pack(...), got {layout!r}."
        )
    batch_size = None if batch_size is None else check_whole("batch_size", batch_size, 1)
    if layout.shares_rows and examples.outline.context:
        names = ", ".join(map(repr, examples.outline.context))
        raise ValueError(
            f"example 0 has a context ({names}): a layer takes one context per row, but a packed "
            "row holds several sequences. Use pad or bucket, or put the context into the steps: "
            "numpy.broadcast_to(value, (T, *value.shape))."
        )
    return layout.planner(examples.lengths, batch_size)


def fill(examples: Examples, plan: Plan) -> Batch:
    """Reads the examples of a plan and writes them into arrays of zeros."""
    shape, slots = (plan.batch_size, plan.steps), (plan.batch_size, plan.slots)
    kind = examples.outline
    batch = Batch(
        steps=_zeros(shape, kind.steps),
        mask=np.zeros(shape, bool),
        reset=np.zeros(shape, bool),
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
    """Raises a ValueError that names the first example longer than `steps`, unless `cut`."""
    for number in [] if cut else np.flatnonzero(lengths > steps):
        raise ValueError(
            f"{asker}: expected examples of at most {steps} steps, got {lengths[number]} in "
            f"example {number}. Allow {lengths.max()} steps, or pass cut=True to keep the first "
            f"{steps}."
        )


def one_a_row(group: Sequence[int], batch_size: int | None, steps: int) -> Plan:
    """Returns the plan of a batch with one sequence per row."""
    return Plan([[number] for number in group], batch_size or len(group), steps, slots=1)


def groups_of(count: int | None, items: Iterable[Any]) -> Iterator[list[Any]]:
    """Groups items into lists of `count`; the last one may be shorter. None: one list of all."""
    items = iter(items)
    while group := list(itertools.islice(items, count)):
        yield group


def _place(batch: Batch, example: Example, row: int, slot: int, begin: int, end: int) -> None:
    steps = jax.tree.map(lambda leaf: leaf[: end - begin], example.steps)
    _write(batch.steps, (row, slice(begin, end)), steps)
    _write(batch.label, (row, slot), example.label)
    _write(batch.context, (row,), example.context)
    batch.mask[row, begin:end] = True
    batch.reset[row, begin : min(begin + 1, end)] = True
    batch.begin[row, slot], batch.length[row, slot] = begin, end - begin


def _zeros(shape: tuple[int, ...], kind: Any) -> Any:
    return jax.tree.map(lambda leaf: np.zeros((*shape, *leaf.shape), leaf.dtype), kind)


def _write(arrays: Any, at: tuple, values: Any) -> None:
    for array, value in zip(jax.tree.leaves(arrays), jax.tree.leaves(values), strict=True):
        array[at] = value
