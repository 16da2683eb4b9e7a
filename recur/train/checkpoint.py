"""Checkpoints by Orbax: written beside the training, the last few and the best one kept."""

from __future__ import annotations

import contextlib
import math
import os
import pathlib
import re
from collections.abc import Iterator
from typing import Any, NamedTuple

import jax

from recur.keys import is_key
from recur.train.loop import Report, is_due
from recur.train.step import TrainState


class Restored(NamedTuple):
    """What a checkpoint held."""

    state: TrainState
    stream: Any  # what the iterator's `get_state` gave, for its `set_state`


class Checkpoints:
    """A folder of checkpoints of one run, and the callback that fills it.

    A checkpoint holds parameters, the optimizer's state, carry, key and the position in the stream
    of batches: all of what a run is, so that a run killed at any moment resumes and then equals the
    run that was never killed. It is written by a thread, under a name of its own until it is whole.

    Args:
      folder: where they are; made when it is not there.
      keep: how many of the last are kept.
      best: the metric, the lower the better, by which one more is kept: the best of all.

    Raises:
      ValueError: when keep is below 1.

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
        import orbax.checkpoint as ocp  # here, for it doubles the time that `import recur` takes

        if keep < 1:
            raise ValueError(f"Checkpoints: expected to keep at least 1, got {keep}.")

        def badness(metrics):
            return metrics.get(best, math.inf)

        keeps: list[Any] = [ocp.checkpoint_managers.LatestN(keep)]
        if best is not None:
            keeps.append(ocp.checkpoint_managers.BestN(get_metric_fn=badness, reverse=True, n=1))
        self.folder = pathlib.Path(folder).absolute()
        self._best = best
        self._args = ocp.args
        self._manager = ocp.CheckpointManager(
            self.folder,
            item_handlers={
                "state": ocp.StandardCheckpointHandler(),
                "stream": ocp.JsonCheckpointHandler(),
            },
            options=ocp.CheckpointManagerOptions(
                preservation_policy=ocp.checkpoint_managers.AnyPreservationPolicy(keeps),
                best_fn=badness,  # the policies decide; this lets metrics be written
                cleanup_tmp_directories=True,  # of a run that was killed while it wrote
            ),
        )

    def steps(self) -> list[int]:
        """The updates of which there are checkpoints, in their order."""
        return sorted(self._manager.all_steps())

    def best_step(self) -> int | None:
        """The update of the best checkpoint; of the last where none was measured."""
        measured = {}
        for step in self.steps():
            metrics = self._manager.metrics(step)
            if metrics and self._best in metrics:
                measured[step] = metrics[self._best]
        return min(measured, key=measured.__getitem__) if measured else self._manager.latest_step()

    def save(self, state: TrainState, stream: Any = None, metrics: dict | None = None) -> None:
        """Starts to write a checkpoint, named by its update; one that is there is left as it is.

        Args:
          state: the state to hold.
          stream: the position in the stream of batches, whatever JSON can hold.
          metrics: numbers to choose the best by.

        Raises:
          OSError: when a checkpoint before this one could not be written.
        """
        step = int(state.step)
        if step in self._manager.all_steps():
            return
        items = self._args.Composite(
            state=self._args.StandardSave(state), stream=self._args.JsonSave({"stream": stream})
        )
        with _writing(self.folder):
            self._manager.save(step, args=items, metrics=metrics or {})

    def restore(self, like: TrainState, step: int | None = None) -> Restored | None:
        """Reads a checkpoint.

        Args:
          like: a state of the same structure, shapes and dtypes, such as the first one.
          step: which; the last when not given.

        Returns:
          What it held, or None when the folder holds none.

        Raises:
          ValueError: when it is of another model, or damaged; it says where, and what to do.
          OSError: when one that was being written could not be.
        """
        with _writing(self.folder):
            self._manager.wait_until_finished()
        step = self._manager.latest_step() if step is None else step
        if step is None:
            return None
        check_same_structure(self._saved_shapes(step), _shapes(like), self.folder / str(step))
        items = self._args.Composite(
            state=self._args.StandardRestore(like), stream=self._args.JsonRestore()
        )
        try:
            restored: Any = self._manager.restore(step, args=items)
        except Exception as error:
            raise self._damaged(step) from error
        return Restored(restored.state, restored.stream["stream"])

    def callback(self, every: int, batches: Any = None):
        """A callback of `fit` that saves now and then.

        It does so every so many updates, when `best` was measured, and when the loop ends.

        Args:
          every: how many updates lie between two checkpoints.
          batches: the iterator that `fit` is given, if it has `get_state()`.
        """

        def save(report: Report) -> None:
            if is_due(report, every) or self._best in report.metrics or report.last:
                stream = None if batches is None else batches.get_state()
                self.save(report.state, stream, report.metrics)

        return save

    def close(self) -> None:
        """Waits until all is written.

        Raises:
          OSError: when it could not be.
        """
        with _writing(self.folder):
            self._manager.wait_until_finished()
        self._manager.close()

    def __enter__(self) -> Checkpoints:
        return self

    def __exit__(self, kind, error, trace) -> None:
        self.close()

    def _saved_shapes(self, step: int) -> dict[str, str]:
        try:
            tree = self._manager.item_metadata(step)["state"].tree
        except Exception as error:
            raise self._damaged(step) from error
        return _shapes(tree)

    def _damaged(self, step: int) -> ValueError:
        before = [each for each in self.steps() if each < step]
        then = f"goes on from update {before[-1]}" if before else "starts again"
        return ValueError(
            f"{self.folder / str(step)}: expected a whole checkpoint, but it is damaged. Remove "
            f"this folder, and the run {then}."
        )


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


def _shapes(tree: Any) -> dict[str, str]:
    """Each array's dtype and shape, by the path of its names."""
    leaves = jax.tree_util.tree_leaves_with_path(tree)
    shapes = {}
    for path, leaf in leaves:
        leaf = jax.eval_shape(jax.random.key_data, leaf) if is_key(leaf) else leaf
        name = jax.tree_util.keystr(path, simple=True, separator="/")
        shapes[name] = f"{leaf.dtype}{list(leaf.shape)}"
    return shapes


@contextlib.contextmanager
def _writing(folder: pathlib.Path) -> Iterator[None]:
    """What the thread that writes raises, as an OSError that says what to do."""
    try:
        yield
    except Exception as error:
        raise OSError(
            f"{folder}: a checkpoint could not be written ({_reason(error)}). Make room, or take "
            "another folder; those before it are whole, and the run goes on from the last."
        ) from error


def _reason(error: Exception) -> str:
    """A few words of what may be pages."""
    code = re.search(r"os_error_code='(\d+)'", str(error))  # as TensorStore words it
    if code:
        return os.strerror(int(code[1]))
    if isinstance(error, OSError) and error.strerror:
        return error.strerror
    return repr(error).split("\n")[0][:200]
