"""Checkpoints by Orbax: saved in the background; the last few and the best one are kept."""

from __future__ import annotations

import contextlib
import functools
import json
import math
import os
import pathlib
from collections.abc import Callable, Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np

from recur.checks import check_whole
from recur.train.checkpoint_files import CheckpointFiles, Unreadable
from recur.train.loop import Report, as_numbers, check_one_number, is_due, updates_done
from recur.train.signals import signals_held_back
from recur.train.state_arrays import (
    check_same,
    digests,
    from_arrays,
    path_of_param,
    shapes,
    shapes_of_params,
    to_arrays,
)
from recur.train.step import TrainState, check_state
from recur.types import Params

_GLOB = "*?["  # when it reads, Orbax takes a path with these for a pattern


class Restored(NamedTuple):
    """The contents of a checkpoint, as `Checkpoints.restore` returns them.

    Attributes:
      state: the `TrainState`.
      stream: the position in the stream of batches, for `set_state` of the iterator; None if none
        was saved.
      unread: metrics of updates that no complete report included, for `fit(unread=)`.
    """

    state: TrainState
    stream: Any
    unread: Sequence[dict[str, float]] = ()


class Checkpoints:
    """Saves and restores the checkpoints of one training run, in one folder.

    A checkpoint holds the parameters, the optimizer's state, the carry, the key and the position in
    the stream of batches. So a run that is killed at any moment can resume, and its results equal
    those of an uninterrupted run. A thread writes the checkpoint under a temporary name, with a
    digest of each array, which `restore` verifies.

    Opening a folder changes nothing in it. One process at a time saves; others may read.

    Args:
      folder: a new or empty folder, or one that holds checkpoints.
      keep: how many of the last checkpoints to keep.
      best: the name of a metric, the lower the better; the checkpoint with the lowest value is kept
        too. NaN is the worst value.

    Raises:
      TypeError: if best is not a string.
      ValueError: if keep is below 1, the folder holds other files, or its path contains one of
        `*?[`, which Orbax cannot read back.

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
        if not isinstance(best, str | None):
            raise TypeError(
                f"Checkpoints: best: expected the name of a metric, got {type(best).__name__}."
            )
        self.folder = pathlib.Path(folder).absolute()
        if any(character in str(self.folder) for character in _GLOB):
            raise ValueError(
                f"{self.folder}: expected a path without any of {_GLOB}, which Orbax cannot "
                "read back. Name another folder."
            )
        self._at: int | None = None  # the update that was last restored or saved
        self._files = CheckpointFiles(self.folder, self._preserved)

    def steps(self) -> list[int]:
        """Lists the updates at which checkpoints were saved, in ascending order."""
        self._files.wait()
        return self._files.steps()

    def best_step(self) -> int | None:
        """Returns the update of the best checkpoint; of the last one if none has the metric.

        Returns:
          The update, or None if there are no checkpoints.

        Raises:
          ValueError: if the metrics of a checkpoint cannot be read; it names the checkpoint.
        """
        steps = self.steps()
        best = self._best_of({step: self._files.read_record(step)["metrics"] for step in steps})
        return max(steps, default=None) if best is None else best

    def save(
        self,
        state: TrainState,
        stream: Any = None,
        metrics: Mapping[str, float] | None = None,
        unread: Sequence[Mapping[str, float]] = (),
    ) -> None:
        """Starts to save a checkpoint, named by its update, in the background.

        A checkpoint of the same update that this object saved or restored last is not written
        again. After an older update was restored, the later checkpoints are moved into a subfolder.

        Args:
          state: the `TrainState` to save, of arrays, keys and numbers.
          stream: the position in the stream of batches: any value that JSON can hold.
          metrics: numbers by name, among them the one that `best` names.
          unread: `Report.unread`.

        Raises:
          TypeError: if `state` is not a `TrainState` of numbers, metrics are not numbers, or JSON
            cannot hold the stream.
          ValueError: if the folder holds this update or a later one, of another run.
          OSError: if another process writes here, or a checkpoint could not be written.
        """
        check_state(state)
        step = updates_done("Checkpoints.save", state)
        found = as_numbers("Checkpoints.save: metrics", metrics or {})
        if self._best in found:
            check_one_number("Checkpoints: best", self._best, found[self._best])
        arrays = to_arrays("Checkpoints.save", state)
        record = {
            "stream": stream,
            "metrics": found,
            "unread": [as_numbers("Checkpoints.save: unread", each) for each in unread],
            "shapes": shapes(arrays),
            "digests": digests(arrays),
        }
        record = _as_json(record)
        with signals_held_back():
            self._files.lock()
            if step == self._at:
                return
            self._make_way(step)
            self._at = step
            self._files.write(step, arrays, record)

    def restore(self, like: TrainState, step: int | None = None) -> Restored | None:
        """Restores a checkpoint and verifies it.

        Args:
          like: a state of the same structure, shapes and dtypes, such as `init_state` returns, or
            its shapes, from `jax.eval_shape`.
          step: the update of the checkpoint; the last one by default.

        Returns:
          A `Restored`, or None if the folder holds no checkpoint.

        Raises:
          TypeError: if like is not a `TrainState`.
          ValueError: if there is no checkpoint of that update; if it is of another model, in which
            case the message names the array that differs; or if it is damaged, in which case the
            message names the newest intact one before it.
          OSError: if a checkpoint that was being written could not be written.
        """
        check_state(like, "Checkpoints.restore: like")
        if step is None and not self.steps():
            return None
        step, restored = self._intact(
            "Checkpoints.restore", step, functools.partial(self._read, like)
        )
        self._at = step
        return restored

    def restore_params(self, like: Params, step: int | None = None) -> Params:
        """Restores the params of a checkpoint and verifies them; no optimizer is needed.

        Only the params are read. To go on with training, use `restore`.

        Args:
          like: params of the same structure, shapes and dtypes, or their shapes, such as
            `jax.eval_shape(model.init, key, xs)` returns.
          step: the update of the checkpoint, such as `best_step()`; the last one by default.

        Returns:
          A pytree like `like`: JAX arrays, with the sharding that `like` has, and NumPy arrays and
          numbers where `like` has them.

        Raises:
          TypeError: if a leaf of like is neither an array, a shape nor a number.
          ValueError: as for `restore`; also if the folder holds no checkpoint.
          OSError: if a checkpoint that was being written could not be written.

        Example:
          >>> import tempfile, jax, jax.numpy as jnp, optax
          >>> from recur.train import Checkpoints, init_state
          >>> state = init_state({"w": jnp.ones(3)}, optax.adam(0.1), jax.random.key(0))
          >>> with Checkpoints(tempfile.mkdtemp()) as checkpoints:
          ...     checkpoints.save(state)
          ...     params = checkpoints.restore_params({"w": jax.ShapeDtypeStruct((3,), "float32")})
          >>> params["w"].tolist()
          [1.0, 1.0, 1.0]
        """
        caller = "Checkpoints.restore_params"
        return self._intact(caller, step, functools.partial(self._read_params, like))[1]

    def params_by_path(self, step: int | None = None) -> dict[str, np.ndarray]:
        """Reads the params of a checkpoint without their model, by path, and verifies them.

        To go on with the model, use `restore_params`.

        Args:
          step: the update of the checkpoint, such as `best_step()`; the last one by default.

        Returns:
          A dict of NumPy arrays, such as that of `0/recurrent_kernel`.

        Raises:
          ValueError: as for `restore`; also if the folder holds no checkpoint.
          OSError: if a checkpoint that was being written could not be written.

        Example:
          >>> import tempfile, jax, jax.numpy as jnp, optax
          >>> from recur.train import Checkpoints, init_state
          >>> state = init_state({"w": jnp.ones(3)}, optax.adam(0.1), jax.random.key(0))
          >>> with Checkpoints(tempfile.mkdtemp()) as checkpoints:
          ...     checkpoints.save(state)
          ...     checkpoints.params_by_path()
          {'w': array([1., 1., 1.], dtype=float32)}
        """

        def read(step: int) -> dict[str, np.ndarray]:
            like = shapes_of_params(self._files.read_record(step)["shapes"])
            arrays = self._files.read(step, like)
            return {path_of_param(name): np.asarray(array) for name, array in arrays.items()}

        return self._intact("Checkpoints.params_by_path", step, read)[1]

    def callback(self, every: int, batches: Any = None) -> Callable[[Report], None]:
        """Makes a callback for `fit` that saves checkpoints.

        It saves every `every` updates, whenever the metrics include `best`, and at the end of the
        loop. From this call on, no other process can write to the folder.

        Args:
          every: the number of updates between two checkpoints.
          batches: the iterator that is passed to `fit`, if it has `get_state()`.

        Returns:
          A function of a `Report`.

        Raises:
          TypeError: if batches have no `get_state`.
          ValueError: if every is not a whole number of at least 1.
          OSError: if another process writes here.
        """
        every = check_whole("Checkpoints.callback: every", every, 1)
        if batches is not None and not hasattr(batches, "get_state"):
            raise TypeError(
                "Checkpoints.callback: batches: expected an iterator with get_state(), got "
                f"{type(batches).__name__}. Without one, leave it out: only the state is saved."
            )
        self._files.lock()

        def save(report: Report) -> None:
            if is_due(report, every) or self._best in report.metrics or report.last:
                stream = None if batches is None else batches.get_state()
                self.save(report.state, stream, report.metrics, report.unread)

        return save

    def close(self) -> None:
        """Waits until all checkpoints are written, and unlocks the folder.

        Raises:
          OSError: if a checkpoint could not be written.
        """
        with signals_held_back():
            self._files.close()

    def __enter__(self) -> Checkpoints:
        return self

    def __exit__(self, kind, error, trace) -> None:
        self.close()

    def _make_way(self, step: int) -> None:
        """Moves the checkpoints after the current update of this run into a subfolder."""
        steps = self._files.steps()
        if self._at is None and any(each >= step for each in steps):
            raise ValueError(
                f"{self.folder}: expected no checkpoint of update {step} or later, got that of "
                f"update {steps[-1]}, of another run. Restore it to resume that run, or name "
                "another folder to start a new one."
            )
        self._files.set_aside([each for each in steps if self._at is not None and each > self._at])

    def _preserved(self, steps: Sequence[int]) -> set[int]:
        """The last ones, the best one, and those whose metrics cannot be read."""
        metrics = {}
        for step in steps:
            with contextlib.suppress(Unreadable):
                metrics[step] = self._files.read_record(step)["metrics"]
        last, unreadable = sorted(steps)[-self._keep :], set(steps) - set(metrics)
        best = self._best_of(metrics)
        return {*last, *unreadable, *(() if best is None else (best,))}

    def _best_of(self, metrics: Mapping[int, Mapping[str, float]]) -> int | None:
        """The update with the lowest value of the metric; None if no checkpoint has it."""
        found = {step: of.get(self._best or "") for step, of in metrics.items()}
        worst_last = {
            step: math.inf if math.isnan(value) else value
            for step, value in found.items()
            if value is not None
        }
        return min(worst_last, key=worst_last.__getitem__, default=None)

    def _intact(self, caller: str, step: int | None, read: Callable[[int], Any]) -> tuple[int, Any]:
        """The update of a checkpoint, the last one by default, and what `read` returns of it."""
        steps = self.steps()
        if step is None and not steps:
            raise ValueError(f"{caller}: {self.folder}: expected a checkpoint, got none.")
        step = steps[-1] if step is None else check_whole(f"{caller}: step", step, 0)
        if step not in steps:
            known = ", ".join(map(str, steps)) or "none"
            raise ValueError(
                f"{self.folder}: expected the update of a checkpoint, got {step}; there are "
                f"{known}."
            )
        try:
            return step, read(step)
        except Unreadable as error:
            raise ValueError(f"{error} {self._offer(read, step)}") from error

    def _read(self, like: TrainState, step: int) -> Restored:
        record = self._files.read_record(step)
        wanted = to_arrays("Checkpoints.restore: like", like, or_shapes=True)
        check_same(record["shapes"], wanted, self._files.path(step))
        arrays = self._files.read(step, wanted)
        return Restored(from_arrays(arrays, like), record["stream"], record["unread"])

    def _read_params(self, like: Params, step: int) -> Params:
        saved = self._files.read_record(step)["shapes"]
        nothing: Any = ()
        wanted = to_arrays(
            "Checkpoints.restore_params: like",
            TrainState(nothing, like, nothing, nothing, nothing),
            or_shapes=True,
            plain="step" in saved,
        )
        of_params = {n: shape for n, shape in saved.items() if n.startswith(("params", ".params"))}
        check_same(of_params, wanted, self._files.path(step))
        return from_arrays(self._files.read(step, wanted), like)

    def _offer(self, read: Callable[[int], Any], step: int) -> str:
        """The remedy when a checkpoint cannot be read."""
        for before in reversed([each for each in self._files.steps() if each < step]):
            with contextlib.suppress(ValueError):
                read(before)
                return (
                    f"The newest intact one before it is that of update {before}: restore it with "
                    f"step={before}, or move {self._files.path(step).name} to another folder."
                )
        return "There is no intact one before it."


def _as_list(value: Any) -> list:
    """Metrics with axes as lists."""
    if isinstance(value, np.ndarray):
        return value.tolist()
    raise TypeError(f"a {type(value).__name__}")


def _as_json(record: dict[str, Any]) -> dict[str, Any]:
    try:
        return json.loads(json.dumps(record, default=_as_list))
    except TypeError as error:
        raise TypeError(
            f"stream: expected a value for JSON, such as get_state() of recur's iterators returns, "
            f"got {error}."
        ) from error
