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

from recur.checks import check_flag, check_whole
from recur.sequences.examples import Example, Examples
from recur.sequences.ragged import Sizes, limit_lengths, write, zeros
from recur.sequences.sliding import Sliding


class Batch(NamedTuple):
    """A batch of B rows of T steps, with up to S sequences per row.

    Attributes:
      steps: the steps of the examples, each `[B, T, ...]`; zero in the padding. A `Padded`, here
        and below, has these axes in front: steps `[B, T, C, ...]`, length `[B, T]`.
      mask: bool `[B, T]`, True where the step counts, False in the padding.
      reset: bool `[B, T]`, True at the first step of each sequence; None if each row holds one.
      label: the labels, each `[B, S, ...]`; None if there are none. They are 0 in an empty slot, so
        use `present` as the mask of their losses.
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


class TimeMajorBatch(Batch):
    """A batch with the time axis first, from `make_batches` and `batches` with `time_major=True`.

    The steps are `[T, B, ...]`, and mask and reset, also in `layer_kwargs`, are `[T, B]`. All other
    fields are those of a `Batch`.
    """

    __slots__ = ()


class Plan(NamedTuple):
    """A planned batch: the indices of its examples, and its shape.

    Attributes:
      numbers: for each row, the indices of its examples; missing rows are empty.
      batch_size: B, the number of rows.
      sizes: T, the number of steps of a row, then the size of each `Padded` in the order of the
        pytree; longer sequences are cut.
      slots: S, the largest number of sequences per row.
    """

    numbers: Sequence[Sequence[int]]
    batch_size: int
    sizes: Sequence[int]
    slots: int


Planner = Callable[[Iterable[int]], Iterator[Plan]]


class Layout(NamedTuple):
    """A way to arrange examples in batches, returned by `pad`, `bucket` and `pack`.

    Attributes:
      name: its name and options, which identify it in the state of a stream.
      planner: `planner(sizes, batch_size) -> plan`, given the sizes of all examples, with
        `sizes.values` `[N, K]`, T first, and B or None for as many rows as needed. `plan(numbers)`
        iterates over a `Plan` for each batch of examples in that order.
      shares_rows: bool, whether a row can hold several sequences.
    """

    name: str
    planner: Callable[[Sizes, int | None], Planner]
    shares_rows: bool = False

    def __repr__(self) -> str:
        return self.name


def make_batches(
    source: Sequence[Any] | Sliding,
    layout: Layout,
    batch_size: int | None = None,
    *,
    time_major: bool = False,
) -> list[Batch]:
    """Arranges examples in padded, bucketed or packed batches, in their order.

    Every example is in exactly one batch. If the examples do not fill the last batch, its remaining
    rows are empty: their mask is False everywhere.

    Args:
      source: the examples, each an `Example` or a pytree of `[T, ...]` arrays; or a `Sliding`, with
        its inputs as the steps and its targets as the labels.
      layout: `pad`, `bucket` or `pack`.
      batch_size: B; by default as many rows as needed for one batch, or one batch per bucket.
      time_major: whether to put the time axis first: steps `[T, B, ...]`, mask and reset `[T, B]`,
        for layers of other libraries. Layers of `recur.batch` take the batch axis first.

    Returns:
      A list of `Batch`, or of `TimeMajorBatch`, in NumPy.

    Raises:
      TypeError: if `layout` is not a layout, time_major is not a bool, or the examples are not a
        sequence or not numbers.
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
    time_major = check_flag("make_batches: time_major", time_major)
    plan = make_planner(examples, layout, batch_size)
    filled = (fill(examples, each) for each in plan(range(len(examples))))
    return [swap_time(batch) if time_major else batch for batch in filled]


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
    return layout.planner(examples.sizes, batch_size)


def fill(examples: Examples, plan: Plan) -> Batch:
    """Reads the examples of a plan and writes them into arrays of zeros."""
    steps, *others = plan.sizes
    shape, slots = (plan.batch_size, steps), (plan.batch_size, plan.slots)
    kind, sizes = examples.outline, iter(others)  # in the order of the fields of an example
    batch = Batch(
        steps=zeros(shape, kind.steps, sizes),
        mask=np.zeros(shape, bool),
        reset=np.zeros(shape, bool),
        label=zeros(slots, kind.label, sizes),
        context=zeros(slots[:1], kind.context, sizes),
        number=np.full(slots, -1, np.int32),
        begin=np.zeros(slots, np.int32),
        length=np.zeros(slots, np.int32),
    )
    for row, numbers in enumerate(plan.numbers):
        end = 0
        for slot, number in enumerate(numbers):
            begin, end = end, end + min(int(examples.sizes.values[number, 0]), steps)
            _place(batch, examples[number], row, slot, begin, end)
            batch.number[row, slot] = number
    if others:
        limit_lengths((batch.steps, batch.label, batch.context))
    return batch._replace(reset=None) if plan.slots == 1 else batch


def swap_time(batch: Batch) -> Batch:
    """Swaps the batch and time axes: a `Batch` becomes a `TimeMajorBatch`, and the reverse."""
    kind = Batch if isinstance(batch, TimeMajorBatch) else TimeMajorBatch
    steps, mask, reset = jax.tree.map(lambda leaf: leaf.swapaxes(0, 1), batch[:3])
    return kind(steps, mask, reset, *batch[3:])


def check_fits(sizes: Sizes, most: Sequence[int | None], cut: bool, caller: str) -> None:
    """Raises a ValueError that names the first example larger than `most`, unless `cut`."""
    for name, lengths, largest in zip(sizes.names, sizes.values.T, most, strict=True):
        where = "" if name == "steps" else f" in {name}"
        for number in [] if cut or largest is None else np.flatnonzero(lengths > largest):
            raise ValueError(
                f"{caller}: expected examples of at most {largest} steps{where}, got "
                f"{lengths[number]} in example {number}. Allow {lengths.max()} steps, or pass "
                f"cut=True to keep the first {largest}."
            )


def check_size(caller: str, length: Any) -> int | tuple[int | None, ...]:
    """Returns a length, or one length or None for each sequence of an example."""
    if not isinstance(length, tuple):
        return check_whole(caller, length, 1)
    return tuple(None if each is None else check_whole(caller, each, 1) for each in length)


def fixed_sizes(
    sizes: Sizes, length: int | tuple[int | None, ...], cut: bool, caller: str
) -> tuple[int, ...]:
    """Returns one size for each sequence of an example: the given one, or the largest there is."""
    given = length if isinstance(length, tuple) else (length, *[None] * (len(sizes.names) - 1))
    if len(given) != len(sizes.names):
        raise ValueError(
            f"{caller}: expected a length, or {len(sizes.names)} lengths, of "
            f"{', '.join(sizes.names)}, got {length}."
        )
    check_fits(sizes, given, cut, caller)
    largest = np.maximum(sizes.values.max(0), 1).tolist()
    return tuple(own or most for own, most in zip(given, largest, strict=True))


def one_a_row(group: Sequence[int], batch_size: int | None, sizes: Sequence[int]) -> Plan:
    """Returns the plan of a batch with one sequence per row."""
    return Plan([[number] for number in group], batch_size or len(group), sizes, slots=1)


def groups_of(count: int | None, items: Iterable[Any]) -> Iterator[list[Any]]:
    """Groups items into lists of `count`; the last one may be shorter. None: one list of all."""
    items = iter(items)
    while group := list(itertools.islice(items, count)):
        yield group


def _place(batch: Batch, example: Example, row: int, slot: int, begin: int, end: int) -> None:
    write(batch.steps, (row, slice(begin, end)), example.steps)
    write(batch.label, (row, slot), example.label)
    write(batch.context, (row,), example.context)
    batch.mask[row, begin:end] = True
    batch.reset[row, begin : min(begin + 1, end)] = True
    batch.begin[row, slot], batch.length[row, slot] = begin, end - begin
