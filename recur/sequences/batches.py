"""Shuffled batches of a data source, in a new order each epoch."""

from __future__ import annotations

import functools
import itertools
import weakref
import zlib
from collections.abc import Callable, Iterator, Sequence
from typing import Any

import jax
import numpy as np
from jax.sharding import NamedSharding, PartitionSpec
from numpy.typing import ArrayLike

from recur.checks import check_entries, check_flag, check_whole, describe
from recur.sequences.examples import Examples
from recur.sequences.layout import Batch, Layout, Plan, Planner, fill, make_planner, swap_time
from recur.sequences.sliding import Sliding
from recur.sequences.stream_state import read_position


def batches(
    source: Sequence[Any] | Sliding,
    layout: Layout,
    batch_size: int,
    *,
    seed: int | None = 0,
    epochs: int | None = None,
    lengths: ArrayLike | None = None,
    process: tuple[int, int] | None = None,
    sharding: jax.sharding.Sharding | None = None,
    prefetch: int = 2,
    time_major: bool = False,
) -> BatchStream:
    """Iterates over shuffled batches of a data source on the device, each example once per epoch.

    The iterator can be saved and resumed, also in the middle of an epoch: `get_state()` returns its
    position, and `set_state(state)` continues with the next batch. `recur.train.Checkpoints` does
    both. The order of the examples is a function of seed and epoch, and batches are planned from
    the lengths before examples are read. With several processes, each plans the same batches and
    reads its own rows, so all run the same shapes equally often.

    `len(stream)` is the number of batches of the current epoch, planned without reading examples.
    It is the same in every epoch, except with `pack`, where it depends on the order.

    Args:
      source: the examples, each an `Example` or a pytree of `[T, ...]` arrays: a list, a Grain data
        source or `MapDataset`, or any other sequence; or a `Sliding`, with its inputs as the steps
        and its targets as the labels.
      layout: `pad`, `bucket` or `pack`.
      batch_size: B, over all processes.
      seed: the seed of the order; None keeps the order of the source.
      epochs: the number of epochs; endless by default.
      lengths: the number of steps of each example, `[N]`; by default the source is read once to
        find it. For examples with `Padded` values `[N, K]`: T, then the size of each `Padded`, its
        longest sequence, in the order of the pytree.
      process: the index of this process and the number of processes; those of JAX by default.
      sharding: the sharding of the rows over devices; JAX's default device by default.
      prefetch: the number of batches that a thread prepares ahead.
      time_major: whether to put the time axis first: steps `[T, B, ...]`, mask and reset `[T, B]`,
        for layers of other libraries. Layers of `recur.batch` take the batch axis first.

    Returns:
      An iterator of `Batch`, or of `TimeMajorBatch`, with `len`, `get_state`, `set_state` and
      `close`. It is a context manager, which closes it.

    Raises:
      ImportError: if Grain is not installed.
      TypeError: if `layout` is not a layout, `sharding` is not a sharding, or not a NamedSharding
        with `time_major`, `time_major` is not a bool, the lengths are not integers, or the examples
        are not a sequence or not numbers.
      ValueError: if there are no examples, their structures differ, one is longer than the layout
        allows, the processes cannot share a batch evenly, or a state is from another stream. For an
        example that is read later, the error is raised when its batch is requested.

    Example:
      >>> import numpy as np
      >>> from recur.sequences import batches, bucket
      >>> source = [np.arange(n) for n in (2, 9, 1, 10, 3, 2)]
      >>> stream = batches(source, bucket((3, 10)), batch_size=2, epochs=1)
      >>> len(stream)
      3
      >>> sorted(batch.steps.shape for batch in stream)
      [(2, 3), (2, 3), (2, 10)]
      >>> stream.close()
    """
    try:
        import grain  # here, since it takes longer than the rest of recur
    except ImportError as error:
        raise ImportError('batches needs Grain: pip install "recur-jax[data]".') from error

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
    time_major = check_flag("batches: time_major", time_major)
    shardings = _shardings(sharding, time_major)
    examples = Examples(source, lengths)
    planner = make_planner(examples, layout, batch_size)
    share = batch_size // count

    def read(plan: Plan) -> Batch:
        own = plan.numbers[index * share : (index + 1) * share]
        batch = fill(examples, plan._replace(numbers=own, batch_size=share))
        return _put(swap_time(batch) if time_major else batch, *shardings)

    identity = {
        "layout": layout.name,
        "batch_size": batch_size,
        "seed": seed,
        "examples": len(examples),
        "structure": describe(examples.outline),
        "checksum of lengths": zlib.crc32(examples.sizes.values.tobytes()),
    }
    stream: Any = _Stream(planner, read, identity, epochs)
    ahead = grain.experimental.ThreadPrefetchDatasetIterator(stream, prefetch)
    return BatchStream(ahead, stream.count_batches)


class BatchStream:
    """An iterator of batches that can be saved and resumed; `batches` returns it.

    `len(stream)` is the number of batches of the current epoch.
    """

    # Grain's iterator is released before the interpreter shuts down: during the shutdown its
    # destructor would fail, since its modules are gone, and its thread could still be running.

    def __init__(self, iterator: Any, count_batches: Callable[[int], int]):
        self._held = [iterator]
        self._count_batches = functools.lru_cache(maxsize=1)(count_batches)
        weakref.finalize(self, self._held.clear)

    def __len__(self) -> int:
        return self._count_batches(self.get_state()["epoch"])

    def __iter__(self) -> Iterator[Batch]:
        return self

    def __next__(self) -> Batch:
        return next(self._held[0])

    def get_state(self) -> dict[str, Any]:
        """Returns the position in the stream and what identifies the stream, JSON serializable."""
        return self._held[0].get_state()

    def set_state(self, state: dict[str, Any]) -> None:
        """Continues from the position that `get_state` returned.

        Raises:
          TypeError: if the state is not a dict.
          ValueError: if it is from a stream of other data or options.
        """
        self._held[0].set_state(state)

    def close(self) -> None:
        """Ends the thread that reads ahead."""
        self._held[0].close()

    def __enter__(self) -> BatchStream:
        return self

    def __exit__(self, kind, error, trace) -> None:
        self.close()


class _Stream:
    """An iterator over batches whose position can be saved and restored."""

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
                plans = self._planner(self._order(self._epoch))
                self._plans = itertools.islice(plans, self._done, None)
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

    def count_batches(self, epoch: int) -> int:
        """Returns the number of batches of an epoch."""
        return sum(1 for _ in self._planner(self._order(epoch)))

    def _order(self, epoch: int) -> np.ndarray:
        count, seed = self._identity["examples"], self._identity["seed"]
        if seed is None:
            return np.arange(count)
        return np.random.default_rng((seed, epoch)).permutation(count)


def _check_process(process: Any) -> tuple[int, int]:
    """Returns the index of this process and the number of processes."""
    if process is None:
        return jax.process_index(), jax.process_count()
    check_entries("batches: process", process, 2)
    count = check_whole("batches: count of processes", process[1], 1)
    index = check_whole("batches: index of the process", process[0], 0)
    if index >= count:
        raise ValueError(f"batches: expected a process from 0 to {count - 1}, got {index}.")
    return index, count


def _shardings(sharding: jax.sharding.Sharding | None, time_major: bool) -> tuple[Any, Any]:
    """Returns the shardings of arrays with a time axis and of the others."""
    if sharding is None or not time_major or sharding.is_fully_replicated:
        return sharding, sharding
    if not isinstance(sharding, NamedSharding):
        raise TypeError(
            "batches: expected a NamedSharding, to move its axis with time_major=True, got "
            f"{type(sharding).__name__}."
        )
    spec = PartitionSpec(None, *sharding.spec)
    return NamedSharding(sharding.mesh, spec, memory_kind=sharding.memory_kind), sharding


def _put(batch: Batch, of_steps: Any, of_rows: Any) -> Batch:
    if of_steps is None:
        return jax.device_put(batch)
    put = jax.make_array_from_process_local_data
    steps = jax.tree.map(functools.partial(put, of_steps), batch[:3])
    rows = jax.tree.map(functools.partial(put, of_rows), batch[3:])
    return type(batch)(*steps, *rows)
