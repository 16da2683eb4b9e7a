"""The files of checkpoints, by Orbax: the arrays, and a JSON record that describes them."""

from __future__ import annotations

import contextlib
import os
import pathlib
import re
import shutil
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp

from recur.files import NO_ROOM
from recur.train.run_folder import RunFolder
from recur.train.state_arrays import digest_of_json, digests

_PREFIX = "update"  # of the folder of each checkpoint, as in update_100
_DELETED = ".deleted"  # a checkpoint is moved here in one step before its files are deleted


class Unreadable(ValueError):
    """A checkpoint cannot be read, or differs from what was written."""


class CheckpointFiles:
    """A folder of checkpoints, which one process at a time writes.

    Args:
      folder: the folder.
      preserved: `preserved(steps) -> steps`: of the checkpoints in the folder, those to keep at the
        next save.
    """

    def __init__(self, folder: pathlib.Path, preserved: Callable[[Sequence[int]], set[int]]):
        self.folder, self._preserved = folder, preserved
        self._run = RunFolder(folder)
        self._records: dict[int, dict[str, Any]] = {}
        self._manager = self._open(is_writer=False)

    def steps(self) -> list[int]:
        """The updates at which checkpoints were saved, in ascending order."""
        return sorted(self._manager.all_steps())

    def path(self, step: int) -> pathlib.Path:
        """The folder of a checkpoint."""
        return self.folder / f"{_PREFIX}_{step}"

    def lock(self) -> None:
        """Makes this process the only writer; an OSError names a process that writes already."""
        if not self._run.is_locked:
            self._run.lock()
            self._manager.close()
            self._manager = self._open(is_writer=True)

    def write(self, step: int, arrays: Mapping[str, Any], record: dict[str, Any]) -> None:
        """Starts to write a checkpoint."""
        items = self._args.Composite(
            state=self._args.PyTreeSave(_numbered(arrays)),
            record=self._args.JsonSave({**record, "digest": digest_of_json(record)}),
        )
        with self._writing():
            self.lock()
            self._manager.wait_until_finished()  # a thread may move a checkpoint into the folder
            shutil.rmtree(self.folder / _DELETED, ignore_errors=True)
            self._records[step] = record
            self._manager.save(step, args=items)

    def read(self, step: int, like: Mapping[str, Any]) -> dict[str, Any]:
        """Reads and verifies the arrays of a checkpoint that `like` has, by their names."""
        record = self.read_record(step)
        numbers = {name: str(number) for number, name in enumerate(record["shapes"])}
        wanted = {numbers[name]: leaf for name, leaf in like.items() if leaf.size}
        arguments = self._args.PyTreeRestore(
            wanted, self._arguments_of(wanted), partial_restore=True
        )
        with self._reading(step):
            items = self._args.Composite(state=arguments)
            numbered = dict(self._manager.restore(step, args=items).state) if wanted else {}
        arrays = {
            name: numbered[numbers[name]] if leaf.size else _empty(leaf)
            for name, leaf in like.items()
        }
        written = record["digests"]
        for name, digest in digests(arrays).items():
            if written.get(name, digest) != digest:
                raise Unreadable(f"{self.path(step)}: {name} is not what was written.")
        return arrays

    def read_record(self, step: int) -> dict[str, Any]:
        """Reads and verifies the record of a checkpoint."""
        if step not in self._records:
            items = self._args.Composite(record=self._args.JsonRestore())
            with self._reading(step):
                record = dict(self._manager.restore(step, args=items).record)
                digest = record.pop("digest", None)
            if digest != digest_of_json(record):
                raise Unreadable(f"{self.path(step)}/record: it is not what was written.")
            self._records[step] = record
        return self._records[step]

    def set_aside(self, steps: Sequence[int]) -> None:
        """Moves checkpoints into a subfolder."""
        if steps:
            self.lock()
            self.wait()
            self._run.set_aside([self.path(step).name for step in steps])
            for step in steps:
                self._records.pop(step, None)
            self._manager.reload()

    def wait(self) -> None:
        """Waits until all checkpoints are written."""
        with self._writing():
            self._manager.wait_until_finished()

    def close(self) -> None:
        """Waits until all checkpoints are written, and unlocks the folder."""
        with self._writing():
            try:
                self._manager.wait_until_finished()
                if self._run.is_locked:
                    shutil.rmtree(self.folder / _DELETED, ignore_errors=True)
            finally:
                self._run.unlock()
                self._manager.close()

    def _open(self, *, is_writer: bool) -> Any:
        import orbax.checkpoint as ocp  # here: it would double the import time of recur

        self._args = ocp.args
        self._arguments_of = ocp.checkpoint_utils.construct_restore_args
        handlers = {
            "state": ocp.PyTreeCheckpointHandler(),
            "record": ocp.JsonCheckpointHandler(),
        }
        options = ocp.CheckpointManagerOptions(
            step_prefix=_PREFIX,
            preservation_policy=_Policy(self._preserved),
            todelete_subdir=_DELETED,
            cleanup_tmp_directories=is_writer,  # of a run that was killed while it wrote
        )
        return ocp.CheckpointManager(self.folder, item_handlers=handlers, options=options)

    @contextlib.contextmanager
    def _writing(self) -> Iterator[None]:
        """Converts errors of the system while writing to an OSError with the remedy."""
        try:
            yield
        except Exception as error:
            code = _system_error(error)
            if code is None:
                raise
            room = " Make room, or name another folder." if code in NO_ROOM else ""
            raise OSError(
                f"{self.folder}: a checkpoint could not be written ({os.strerror(code)}).{room} "
                "Earlier ones are intact, and the run resumes from the last."
            ) from error

    @contextlib.contextmanager
    def _reading(self, step: int) -> Iterator[None]:
        try:
            yield
        except MemoryError:
            raise
        except Exception as error:
            reason = str(error).split("\n")[0][:200]
            raise Unreadable(f"{self.path(step)}: it cannot be read ({reason}).") from error


class _Policy(NamedTuple):
    """Which checkpoints to keep, in the form that Orbax expects."""

    preserved: Callable[[Sequence[int]], set[int]]

    def should_preserve(self, checkpoints: Sequence[Any], *, context: Any) -> list[bool]:
        """Whether each checkpoint is kept."""
        del context
        kept = self.preserved([each.step for each in checkpoints])
        return [each.step in kept for each in checkpoints]


def _numbered(arrays: Mapping[str, Any]) -> dict[str, Any]:
    """Non-empty arrays by number, since names may contain any character."""
    return {str(n): leaf for n, leaf in enumerate(arrays.values()) if leaf.size}


def _empty(like: Any) -> Any:
    """An array without elements, which no file holds."""
    is_shape = isinstance(like, jax.ShapeDtypeStruct)
    return jnp.zeros(like.shape, like.dtype, device=like.sharding) if is_shape else like


def _system_error(error: BaseException) -> int | None:
    """The errno of a system error of Python or TensorStore; None for other errors."""
    code = re.search(r"os_error_code='(\d+)'", str(error))
    if code:
        return int(code[1])
    return error.errno if isinstance(error, OSError) else None
