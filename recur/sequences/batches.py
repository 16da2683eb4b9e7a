"""Endless batches of a data source, in a new order each epoch."""

from __future__ import annotations

import itertools
import weakref
import zlib
from collections.abc import Callable, Iterator, Sequence
from typing import Any

import jax
import numpy as np
from numpy.typing import ArrayLike

from recur.checks import check_entries, check_whole
from recur.sequences.examples import Examples
from recur.sequences.layout import Batch, Layout, Plan, Planner, fill, make_planner
from recur.sequences.stream_state import read_position


def batches(
    source: Sequence[Any],
    layout: Layout,
    batch_size: int,
    *,
    seed: int | None = 0,
    epochs: int | None = None,
    lengths: ArrayLike | None = None,
    process: tuple[int, int] | None = None,
    sharding: jax.sharding.Sharding | None = None,
    prefetch: int = 2,
) -> Iterator[Batch]:
    """Iterates over a source in shuffled batches on the device, each example once an epoch.

    The order is a function of seed and epoch, and batches are planned from the lengths before
    examples are read. So the epoch and the count of batches are the position: `get_state()` returns
    it, and `set_state(state)` continues with the next batch, also in the middle of an epoch, as
    `recur.train.Checkpoints` does. If several processes train together, each plans the same batches
    and reads its own rows of them: all run the same shapes, equally often.

    Args:
      source: the examples, each an `Example` or a pytree of `[T, ...]` arrays: a list, a source or
        a `MapDataset` of Grain, or anything else with a length and numbered entries.
      layout: `pad`, `bucket` or `pack`.
      batch_size: B, over all processes.
      seed: the seed of the order; None keeps the order of the source.
      epochs: how many; endless by default.
      lengths: how many steps each example has; by default, the source is read once to find out.
      process: the index of this process and how many there are; as JAX counts them by default.
      sharding: the devices over which rows are sharded; JAX's default device by default.
      prefetch: how many batches a thread prepares ahead.

    Returns:
      An iterator of batches, with `get_state`, `set_state` and `close`.

    Raises:
      ImportError: without Grain.
      TypeError: if `layout` is not a layout, `sharding` no sharding, lengths are not integers, or
        the examples are no sequence or not of numbers.
      ValueError: if there are no examples, their structures differ, one is longer than the layout
        allows, the batch cannot be shared among the processes, or a state is of another stream. An
        error in an example that is read later is raised where its batch would have come.

    Example:
      >>> import numpy as np
      >>> from recur.sequences import batches, bucket
      >>> source = [np.arange(n) for n in (2, 9, 1, 10, 3, 2)]
      >>> stream = batches(source, bucket((3, 10)), batch_size=2, epochs=1)
      >>> sorted(batch.steps.shape for batch in stream)
      [(2, 3), (2, 3), (2, 10)]
      >>> stream.close()
    """
    try:
        import grain  # here, for it takes longer than the rest of recur
    except ImportError as error:
        raise ImportError('batches needs Grain: pip install "recur[data]".') from error

    index, count = _check_process(process)
    if not isinstance(sharding, (jax.sharding.Sharding, type(None))):
        raise TypeError(
            f"batches: expected a jax.sharding.Sharding, got {type(sharding).__name__}."
        )
    batch_size = check_whole("batches: batch_size", batch_size, 1)
    if batch_size % count:
        raise ValueError(
            f"batches: expected a batch_size that {count} processes can share evenly, got "
            f"{batch_size}."
        )
    seed = None if seed is None else check_whole("batches: seed", seed, 0)
    epochs = None if epochs is None else check_whole("batches: epochs", epochs, 0)
    prefetch = check_whole("batches: prefetch", prefetch, 0)
    examples = Examples(source, lengths)
    planner = make_planner(examples, layout, batch_size)
    share = batch_size // count

    def read(plan: Plan) -> Batch:
        own = plan.numbers[index * share : (index + 1) * share]
        return _put(fill(examples, plan._replace(numbers=own, batch_size=share)), sharding)

    identity = {
        "layout": layout.name,
        "batch_size": batch_size,
        "seed": seed,
        "examples": len(examples.lengths),
        "checksum of lengths": zlib.crc32(examples.lengths.tobytes()),
    }
    stream: Any = _Stream(planner, read, identity, epochs)
    return _Prefetching(grain.experimental.ThreadPrefetchDatasetIterator(stream, prefetch))


class _Prefetching:
    """Grain's iterator, which is let go of before the interpreter ends.

    Later its destructor would fail, for its modules are gone, and its thread could still run.
    """

    def __init__(self, iterator: Any):
        self._held = [iterator]
        weakref.finalize(self, self._held.clear)

    def __iter__(self) -> Iterator[Batch]:
        return self

    def __next__(self) -> Batch:
        return next(self._held[0])

    def get_state(self) -> dict[str, Any]:
        return self._held[0].get_state()

    def set_state(self, state: dict[str, Any]) -> None:
        self._held[0].set_state(state)

    def close(self) -> None:
        self._held[0].close()


class _Stream:
    """An iterator over batches that knows its position."""

    def __init__(
        self,
        planner: Planner,
        read: Callable[[Plan], Batch],
        identity: dict[str, Any],
        epochs: int | None,
    ):
        self._planner, self._read, self._identity, self._epochs = planner, read, identity, epochs
        self._epoch, self._done = 0, 0
        self._plans: Iterator[Plan] | None = None

    def __next__(self) -> Batch:
        while self._epochs is None or self._epoch < self._epochs:
            if self._plans is None:
                self._plans = itertools.islice(self._planner(self._order()), self._done, None)
            plan = next(self._plans, None)
            if plan is not None:
                batch = self._read(plan)
                self._done += 1
                return batch
            self._epoch, self._done, self._plans = self._epoch + 1, 0, None
        raise StopIteration

    def get_state(self) -> dict[str, Any]:
        return {**self._identity, "epoch": self._epoch, "batches": self._done}

    def set_state(self, state: dict[str, Any]) -> None:
        position = read_position("batches", state, self._identity, "epoch", "batches")
        self._epoch, self._done = position
        self._plans = None

    def _order(self) -> np.ndarray:
        count, seed = self._identity["examples"], self._identity["seed"]
        if seed is None:
            return np.arange(count)
        return np.random.default_rng((seed, self._epoch)).permutation(count)


def _check_process(process: Any) -> tuple[int, int]:
    """The index of this process and how many there are."""
    if process is None:
        return jax.process_index(), jax.process_count()
    check_entries("batches: process", process, 2)
    count = check_whole("batches: count of processes", process[1], 1)
    index = check_whole("batches: index of the process", process[0], 0)
    if index >= count:
        raise ValueError(f"batches: expected a process from 0 to {count - 1}, got {index}.")
    return index, count


def _put(batch: Batch, sharding: jax.sharding.Sharding | None) -> Batch:
    if sharding is None:
        return jax.device_put(batch)
    return jax.tree.map(lambda x: jax.make_array_from_process_local_data(sharding, x), batch)
