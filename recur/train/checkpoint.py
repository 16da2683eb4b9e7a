"""Checkpoints by Orbax: written beside the training, the last few and the best one kept."""

from __future__ import annotations

import contextlib
import errno
import json
import math
import os
import pathlib
import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any, NamedTuple

from recur.checks import check_whole
from recur.train.loop import Report, is_due
from recur.train.run_folder import RunFolder
from recur.train.signals import signals_held_back
from recur.train.state_arrays import digest_of_json, digests, from_arrays, shapes, to_arrays
from recur.train.step import TrainState

_PREFIX = "update"  # of the folder of each checkpoint, as in update_100
_NO_ROOM = (errno.ENOSPC, errno.EDQUOT, errno.EFBIG)
_GLOB = "*?["  # in a path, Orbax takes these for a pattern when it reads


class Restored(NamedTuple):
    """What a checkpoint held."""

    state: TrainState
    stream: Any  # what the iterator's `get_state` gave, for its `set_state`
    unread: Sequence[dict[str, float]] = ()  # metrics that no report had yet, for `fit`


class Checkpoints:
    """A folder of checkpoints of one run, and the callback that fills it.

    A checkpoint holds parameters, the optimizer's state, carry, key and the position in the stream
    of batches: all of what a run is, so that a run killed at any moment resumes and then equals the
    run that was never killed. It is written by a thread, under another name until it is whole, with
    a digest of each array, which `restore` verifies.

    Opening a folder changes nothing in it. One process at a time saves; others may read.

    Args:
      folder: where they are: a new or empty folder, or one of checkpoints.
      keep: how many of the last are kept.
      best: the metric, the lower the better, by which one more is kept: the best of all. NaN is
        the worst.

    Raises:
      ValueError: if keep is below 1, the folder holds something else, or its path has one of `*?[`,
        with which Orbax cannot read it back.

    Example:
      >>> import tempfile, jax, jax.numpy as jnp, optax
      >>> from recur.train import Checkpoints, init_state
      >>> state = init_state(jnp.ones(3), optax.adam(0.1), jax.random.key(0))
      >>> with Checkpoints(tempfile.mkdtemp()) as checkpoints:
      ...     checkpoints.save(state, stream={"position": 7})
      >>> with Checkpoints(checkpoints.folder) as checkpoints:
      ...     restored = checkpoints.restore(like=state)
      >>> restored.state.params.tolist(), restored.stream
      ([1.0, 1.0, 1.0], {'position': 7})
    """

    def __init__(self, folder: str | os.PathLike, *, keep: int = 3, best: str | None = None):
        self._keep, self._best = check_whole("Checkpoints: keep", keep, 1), best
        self.folder = pathlib.Path(folder).absolute()
        if any(character in str(self.folder) for character in _GLOB):
            raise ValueError(
                f"{self.folder}: expected a path without any of {_GLOB}, with which it could not "
                "be read back. Name another folder."
            )
        self._run = RunFolder(self.folder)
        self._records: dict[int, dict[str, Any] | None] = {}  # None where it cannot be read
        self._at: int | None = None  # the update that was restored or saved last
        self._manager = self._open(is_writer=False)

    def steps(self) -> list[int]:
        """The updates of which there are checkpoints, in their order."""
        self._wait()
        return self._known_steps()

    def best_step(self) -> int | None:
        """The update of the best checkpoint; of the last where none was measured.

        Raises:
          ValueError: when the metrics of one cannot be read; it names the checkpoint.
        """
        steps = self.steps()
        measured = {
            step: _badness(metrics[self._best])
            for step in steps
            if self._best in (metrics := self._read_record(step)["metrics"])
        }
        return min(measured, key=measured.__getitem__) if measured else max(steps, default=None)

    def save(
        self,
        state: TrainState,
        stream: Any = None,
        metrics: Mapping[str, float] | None = None,
        unread: Sequence[Mapping[str, float]] = (),
    ) -> None:
        """Starts to write a checkpoint, named by its update.

        One of the same update that this object saved or restored is left as it is. After a restore
        of an update before others, those are set aside: moved into a folder in this one.

        Args:
          state: the state to hold: arrays, keys and numbers.
          stream: the position in the stream of batches, whatever JSON can hold.
          metrics: numbers to choose the best by.
          unread: of a `Report`.

        Raises:
          TypeError: if a leaf of the state is no number, or JSON cannot hold the stream.
          ValueError: if the folder holds this update or a later one, of another run.
          OSError: if another process writes here, or a checkpoint could not be written.
        """
        step = int(state.step)
        arrays = to_arrays(state)
        record = {
            "stream": stream,
            "metrics": {name: float(value) for name, value in (metrics or {}).items()},
            "unread": [dict(each) for each in unread],
            "shapes": shapes(arrays),
            "digests": digests(arrays),
        }
        record = _as_json(record)
        with signals_held_back(), self._writing():
            self._lock()
            if step == self._at:
                return
            self._make_way(step)
            items = self._args.Composite(
                state=self._args.StandardSave(_numbered(arrays)),
                record=self._args.JsonSave({**record, "digest": digest_of_json(record)}),
            )
            self._records[step], self._at = record, step
            self._manager.save(step, args=items)

    def restore(self, like: TrainState, step: int | None = None) -> Restored | None:
        """Reads a checkpoint and verifies it.

        Args:
          like: a state of the same structure, shapes and dtypes, such as the first one.
          step: which; the last when not given.

        Returns:
          What it held, or None when the folder holds none.

        Raises:
          ValueError: if there is none of that update; if it is of another model; or if it cannot be
            read or is not what was written, in which case the newest whole one is named.
          OSError: if one that was being written could not be.
        """
        steps = self.steps()
        if step is None and not steps:
            return None
        step = steps[-1] if step is None else step
        if step not in steps:
            known = ", ".join(map(str, steps)) or "none"
            raise ValueError(
                f"{self.folder}: expected the update of a checkpoint, got {step}; there are "
                f"{known}."
            )
        try:
            restored = self._read(like, step)
        except _Unreadable as error:
            raise ValueError(f"{error} {self._offer(like, step)}") from error
        self._at = step
        return restored

    def callback(self, every: int, batches: Any = None) -> Callable[[Report], None]:
        """A callback of `fit` that saves now and then.

        It does so every so many updates, when `best` was measured, and when the loop ends. From
        here on no other process may write to the folder.

        Args:
          every: how many updates lie between two checkpoints.
          batches: the iterator that `fit` is given, if it has `get_state()`.

        Raises:
          ValueError: if every is not a whole number of at least 1.
          OSError: if another process writes here.
        """
        every = check_whole("Checkpoints.callback: every", every, 1)
        self._lock()

        def save(report: Report) -> None:
            if is_due(report, every) or self._best in report.metrics or report.last:
                stream = None if batches is None else batches.get_state()
                self.save(report.state, stream, report.metrics, report.unread)

        return save

    def close(self) -> None:
        """Waits until all is written, and lets another process write.

        Raises:
          OSError: when it could not be.
        """
        with signals_held_back(), self._writing():
            try:
                self._manager.wait_until_finished()
            finally:
                self._run.unlock()
                self._manager.close()

    def __enter__(self) -> Checkpoints:
        return self

    def __exit__(self, kind, error, trace) -> None:
        self.close()

    def _open(self, *, is_writer: bool) -> Any:
        import orbax.checkpoint as ocp  # here, for it doubles the time that `import recur` takes

        self._args = ocp.args
        handlers = {
            "state": ocp.StandardCheckpointHandler(),
            "record": ocp.JsonCheckpointHandler(),
        }
        options = ocp.CheckpointManagerOptions(
            step_prefix=_PREFIX,
            preservation_policy=_Policy(self._preserved),
            cleanup_tmp_directories=is_writer,  # of a run that was killed while it wrote
        )
        return ocp.CheckpointManager(self.folder, item_handlers=handlers, options=options)

    def _lock(self) -> None:
        """Becomes the one process that writes here."""
        if not self._run.is_locked:
            self._run.lock()
            self._manager.close()
            self._manager = self._open(is_writer=True)

    def _make_way(self, step: int) -> None:
        """Sets aside what is later than the update that this run is at."""
        steps = self._known_steps()
        if self._at is None and any(each >= step for each in steps):
            raise ValueError(
                f"{self.folder}: expected no checkpoint of update {step} or later, got that of "
                f"update {steps[-1]}, of another run. Restore it to go on with that run, or name "
                "another folder to begin a new one."
            )
        later = [each for each in steps if self._at is not None and each > self._at]
        if later:
            self._wait()
            self._run.set_aside([self._path(each).name for each in later])
            for each in later:
                self._records.pop(each, None)
            self._manager.reload()

    def _preserved(self, steps: Sequence[int]) -> set[int]:
        """The last ones, the best one, and those whose metrics cannot be read."""
        kept = set(sorted(steps)[-self._keep :])
        records = {step: self._known_record(step) for step in steps}
        kept.update(step for step, record in records.items() if record is None)
        measured = {
            step: _badness(record["metrics"][self._best])
            for step, record in records.items()
            if record is not None and self._best in record["metrics"]
        }
        return kept | ({min(measured, key=measured.__getitem__)} if measured else set())

    def _read(self, like: TrainState, step: int) -> Restored:
        record = self._read_record(step)
        wanted = to_arrays(like)
        check_same_structure(record["shapes"], shapes(wanted), self._path(step))
        items = self._args.Composite(state=self._args.StandardRestore(_numbered(wanted)))
        with self._reading(step):
            found: Any = self._manager.restore(step, args=items)
        numbered = dict(found.state)
        arrays = {name: numbered.get(str(n), leaf) for n, (name, leaf) in enumerate(wanted.items())}
        for name, digest in digests(arrays).items():
            if record["digests"].get(name, digest) != digest:
                raise _Unreadable(f"{self._path(step)}: {name} is not what was written.")
        return Restored(from_arrays(arrays, like), record["stream"], record["unread"])

    def _read_record(self, step: int) -> dict[str, Any]:
        if self._records.get(step) is None:
            with self._reading(step):
                items = self._args.Composite(record=self._args.JsonRestore())
                record = dict(self._manager.restore(step, args=items).record)
                digest = record.pop("digest", None)
            if digest != digest_of_json(record):
                raise _Unreadable(f"{self._path(step)}/record: it is not what was written.")
            self._records[step] = record
        return self._records[step]  # type: ignore[return-value]

    def _known_record(self, step: int) -> dict[str, Any] | None:
        try:
            return self._read_record(step)
        except _Unreadable:
            return None

    def _offer(self, like: TrainState, step: int) -> str:
        """What can be done where a checkpoint cannot be read."""
        for before in reversed([each for each in self._known_steps() if each < step]):
            with contextlib.suppress(ValueError):
                self._read(like, before)
                return (
                    f"The newest whole one before it is that of update {before}: restore it by "
                    f"step={before}, or move {self._path(step).name} to another folder."
                )
        return "There is no whole one before it."

    def _known_steps(self) -> list[int]:
        return sorted(self._manager.all_steps())

    def _path(self, step: int) -> pathlib.Path:
        return self.folder / f"{_PREFIX}_{step}"

    def _wait(self) -> None:
        with self._writing():
            self._manager.wait_until_finished()

    @contextlib.contextmanager
    def _writing(self) -> Iterator[None]:
        """Turns what the system says when it cannot write into an OSError with the remedy."""
        try:
            yield
        except Exception as error:
            code = _system_error(error)
            if code is None:
                raise
            room = " Make room, or name another folder." if code in _NO_ROOM else ""
            raise OSError(
                f"{self.folder}: a checkpoint could not be written ({os.strerror(code)}).{room} "
                "Those before it are whole, and the run goes on from the last."
            ) from error

    @contextlib.contextmanager
    def _reading(self, step: int) -> Iterator[None]:
        try:
            yield
        except MemoryError:
            raise
        except Exception as error:
            reason = str(error).split("\n")[0][:200]
            raise _Unreadable(f"{self._path(step)}: it cannot be read ({reason}).") from error


class _Unreadable(ValueError):
    """A checkpoint that cannot be read, or is not what was written."""


class _Policy(NamedTuple):
    """Which checkpoints stay, as Orbax asks for it."""

    preserved: Callable[[Sequence[int]], set[int]]

    def should_preserve(self, checkpoints: Sequence[Any], *, context: Any) -> list[bool]:
        """Whether each stays."""
        del context
        kept = self.preserved([each.step for each in checkpoints])
        return [each.step in kept for each in checkpoints]


def check_same_structure(saved: dict[str, str], expected: dict[str, str], where: Any) -> None:
    """Raises a ValueError that names the first array in which a checkpoint differs from a state."""
    for name in [*expected, *saved]:
        was, wanted = saved.get(name, "nothing"), expected.get(name, "nothing")
        if was != wanted:
            raise ValueError(
                f"{where}: expected {wanted} at {name}, but the checkpoint has {was}. It is of "
                "another model or optimizer: build the one it was saved from, or take another "
                "folder."
            )


def _badness(value: float) -> float:
    return math.inf if math.isnan(value) else value


def _numbered(arrays: Mapping[str, Any]) -> dict[str, Any]:
    """Arrays by number, for a name may hold any character; nothing is written of empty ones."""
    return {str(n): leaf for n, leaf in enumerate(arrays.values()) if leaf.size}


def _as_json(record: dict[str, Any]) -> dict[str, Any]:
    try:
        return json.loads(json.dumps(record))
    except TypeError as error:
        raise TypeError(
            f"stream: expected what JSON can hold, such as get_state() of recur's iterators gives, "
            f"got {error}."
        ) from error


def _system_error(error: BaseException) -> int | None:
    """The number of an error of the system, as Python or TensorStore words it."""
    code = re.search(r"os_error_code='(\d+)'", str(error))
    if code:
        return int(code[1])
    return error.errno if isinstance(error, OSError) else None
