"""A training run in a folder: options, log, checkpoints, curves and results; resumed by itself."""

from __future__ import annotations

import contextlib
import os
import pathlib
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any

from recur.diagnose.diagnosis import DIAGNOSIS, diagnose_example
from recur.layer import Layer
from recur.runs.curves_file import Curves, drawn_at_the_end
from recur.runs.folders import OPTIONS, claimed, existing
from recur.runs.metrics_log import has_stopped, read_points, read_records
from recur.runs.options import Options, check_unchanged, is_options, load_options, save_options
from recur.runs.progress import Progress, ProgressBar
from recur.runs.results import markdown_table
from recur.runs.run_files import read_json, write_json, write_text
from recur.train import Checkpoints, JsonLines, Report, TrainState, fit
from recur.train.loop import total_updates, updates_done
from recur.train.state_arrays import digest_of_json

_METRICS, _RESULTS, _DATA = "metrics.jsonl", "results.json", "data.json"


class Run:
    """A training run, and the folder that holds it.

        options.json    the options it was started with
        metrics.jsonl   the metrics of each report
        checkpoints/    the last few and the best
        curve.png       metrics over updates
        results.json    results, and table.md
        diagnosis.npz   gradients and gates on an example

    `start_run` makes one to train; `Run(folder)` reads one that was trained.

    Args:
      folder: the folder.
      best: the metric of the best checkpoint, the lower the better.
      keep: how many of the last checkpoints to keep.

    Example:
      >>> import dataclasses, itertools, pathlib, tempfile, jax, jax.numpy as jnp, optax
      >>> from recur.runs import Run, start_run
      >>> from recur.train import init_state, make_step
      >>> optimizer = optax.sgd(0.25)
      >>> step = jax.jit(make_step(lambda w, carry, x, key: ((w - x) ** 2, (carry, {})), optimizer))
      >>> folder = pathlib.Path(tempfile.mkdtemp()) / "run"
      >>> for steps in (3, 5):  # the second run resumes the first
      ...     with start_run(folder, {"steps": steps}, may_change=["steps"]) as run:
      ...         state = run.restore(init_state(jnp.asarray(4.0), optimizer, jax.random.key(0)))
      ...         print(int(state.step))
      ...         state = run.fit(step, state, itertools.repeat(0.0), steps=steps, progress=None)
      0
      3
      >>> [record["step"] for record in Run(folder).records()]
      [3, 5]
    """

    def __init__(self, folder: str | os.PathLike, *, best: str | None = None, keep: int = 3):
        self.folder, self._best, self._keep = pathlib.Path(folder), best, keep
        self._options: Any = None
        self._checkpoints: Checkpoints | None = None
        self._open: contextlib.ExitStack | None = None  # while the run is started
        self._unread: Sequence[Mapping[str, Any]] = ()

    def __str__(self) -> str:
        return str(self.folder)

    def status(self, state: TrainState) -> str:
        """Says whether the run is new, such as "runs/a: resumes after update 20".

        Args:
          state: what `restore` returned.

        Returns:
          The folder and the status, for the first line that a script prints.
        """
        done = updates_done("Run.status", state)
        return f"{self}: {f'resumes after update {done}' if done else 'a new run'}"

    def options(self, kind: type[Options]) -> Options:
        """Reads the options that the run was started with.

        Args:
          kind: their dataclass.

        Returns:
          The options, with the folder as `run`, if there is such a field.

        Raises:
          ValueError: if the folder is not that of a run, or of a part of one, or its options are of
            another script.
        """
        path = self.folder / OPTIONS
        if not path.exists():
            raise ValueError(
                f"{self}: expected the folder of a run, with {OPTIONS} in it, got none. Train one "
                "first."
            )
        return load_options(path, kind)

    def check_data(self, **data: Any) -> None:
        """Checks that a resumed run reads the same data as at its start.

        Args:
          **data: what must not change, such as the training text or the vocabulary, by name: values
            for JSON, with NumPy arrays in them. The first call writes their digests.

        Raises:
          ValueError: if one has changed; it names it.
        """
        path = self.folder / _DATA
        now = {name: digest_of_json(value) for name, value in data.items()}
        if not path.exists():
            write_json(path, now)
        begun = read_json(path)
        for name, digest in now.items():
            if begun.get(name) != digest:
                raise ValueError(
                    f"{self}: expected the {name} that the run was started with, got another: a "
                    "file has changed. Restore it, or name another folder to start a new run."
                )

    def restore(self, state: TrainState, batches: Any = None) -> TrainState:
        """Restores the last checkpoint, and the position in the stream of batches.

        Args:
          state: the state before the first update.
          batches: the iterator for `fit`, if it has `set_state`.

        Returns:
          The state of the last checkpoint; `state` if there is none yet.

        Raises:
          ValueError: if the checkpoint is damaged, of another model, or of another stream.
        """
        restored = self._started().restore(state)
        if restored is None:
            return state
        if hasattr(batches, "set_state"):
            batches.set_state(restored.stream)
        self._unread = restored.unread
        return restored.state

    def fit(
        self,
        step: Callable[[TrainState, Any], tuple[TrainState, dict[str, Any]]],
        state: TrainState,
        batches: Any,
        *,
        steps: int | None = None,
        epochs: int | None = None,
        callbacks: Sequence[Callable[[Report], Any]] = (),
        stop: Callable[[Report], bool] | None = None,
        report_every: int = 10,
        checkpoint_every: int = 500,
        explain: Callable[[TrainState, Any], str] | None = None,
        progress: Progress | None = Progress(),
        curves: Curves | None = Curves(),
    ) -> TrainState:
        """Trains as `recur.train.fit` does, and keeps all of it in the folder.

        After the given callbacks, metrics are logged and checkpoints saved: every
        `checkpoint_every` updates, whenever the metric `best` is reported, and at the end, also on
        Ctrl-C and SIGTERM. The curves are drawn at the end, also after an error.

        Args:
          step: `(state, batch) -> (state, metrics)`, compiled by `jax.jit`.
          state: what `restore` returned.
          batches: an iterator with `get_state`, whose position is then saved, or any iterable.
          steps: the total number of updates, those before a resume included; or
          epochs: the total number of epochs, of `len(batches)` updates each.
          callbacks: functions of a `Report` that return None or a dict of numbers.
          stop: a function of a `Report`: whether to end, such as `early_stopping`. On resuming it
            is called first with the logged metrics of earlier reports, so that it continues; a run
            that it has ended is not trained further.
          report_every: the number of updates between two reports.
          checkpoint_every: the number of updates between two checkpoints.
          explain: the cause of a loss that is not finite, as for `recur.train.fit`.
          progress: what the progress bar shows; None for no bar.
          curves: what the picture shows; None for no picture.

        Returns:
          The last state.

        Raises:
          ValueError: if the run has done more updates already, and as `recur.train.fit` does.
          OSError: if a file could not be written.
        """
        checkpoints = self._started()
        total, done = total_updates(steps, epochs, batches), updates_done("Run.fit", state)
        if done > total:
            raise ValueError(
                f"{self}: expected at least the {done:,} updates that the run has done, got "
                f"{total:,}. Pass a larger number."
            )
        self._save_options()
        unread, self._unread = self._unread, ()
        stream = batches if hasattr(batches, "get_state") else None
        with contextlib.ExitStack() as stack:
            if curves:
                stack.enter_context(drawn_at_the_end(self, curves))
            bars = [ProgressBar(progress, total, done)] if progress else []
            for bar in bars:
                stack.callback(bar.close)
            log = JsonLines(self.folder / _METRICS, step=done)
            save = checkpoints.callback(checkpoint_every, stream)
            if stop is not None and has_stopped(stop, state, self.records()):
                return state
            return fit(
                step,
                state,
                batches,
                steps=steps,
                epochs=epochs,
                callbacks=[*bars, *callbacks, log, save],
                stop=stop,
                report_every=report_every,
                unread=unread,
                explain=explain,
            )

    def best_state(self, like: TrainState) -> TrainState:
        """Restores the best checkpoint.

        Args:
          like: a state of the same structure, shapes and dtypes.

        Returns:
          Its state.

        Raises:
          ValueError: if there is no checkpoint yet, or it is damaged or of another model.
        """
        with self._reading() as checkpoints:
            restored = checkpoints.restore(like, checkpoints.best_step())
        return existing(self, restored and restored.state)

    def best_params(self, like: Any) -> Any:
        """Restores the params of the best checkpoint, without the optimizer.

        Args:
          like: params of the same structure, shapes and dtypes, or their shapes, such as
            `jax.eval_shape(model.init, key, xs)` returns.

        Returns:
          The params.

        Raises:
          ValueError: if there is no checkpoint yet, or it is damaged or of another model.
        """
        with self._reading() as checkpoints:
            step = checkpoints.best_step()
            params = None if step is None else checkpoints.restore_params(like, step)
        return existing(self, params)

    def records(self) -> list[dict[str, Any]]:
        """Reads the logged metrics, one dict for each report; none before the first."""
        return read_records(self.folder / _METRICS)

    def points(self, metric: str) -> tuple[list[int], list[float]]:
        """Reads the updates at which a metric was logged, and its values, for `recur.diagnose`.

        Args:
          metric: its name.

        Returns:
          Both lists.

        Raises:
          ValueError: if a line of the log has another value than a number; it names the line.
        """
        return read_points(self.folder / _METRICS, metric)

    def last(self, metric: str) -> float:
        """Reads the last logged value of a metric.

        Args:
          metric: its name.

        Returns:
          The value.

        Raises:
          ValueError: if it was not logged yet, or is not a number.
        """
        values = self.points(metric)[1]
        if not values:
            raise ValueError(
                f"{self.folder / _METRICS}: expected {metric}, got none. Train it longer."
            )
        return values[-1]

    def part(self, name: str, *, best: str | None = None) -> contextlib.AbstractContextManager[Run]:
        """Starts or resumes a part of the run, in a subfolder.

        A comparison of models is a run with a part for each model.

        Args:
          name: of the folder.
          best: the metric of the best checkpoint.

        Returns:
          A context manager of a `Run`, as `start_run` returns it.
        """
        self._save_options()
        return start_run(self.folder / name, best=best, keep=self._keep)

    def save_results(
        self, rows: Sequence[Mapping[str, Any]], formats: Mapping[str, str] | None = None
    ) -> str:
        """Writes results to `results.json`, and as a table to `table.md`.

        Args:
          rows: a dict for each row, with values by column.
          formats: as for `markdown_table`.

        Returns:
          The table, in Markdown.

        Raises:
          OSError: if a file could not be written.
        """
        table = markdown_table(rows, formats=formats)
        write_json(self.folder / _RESULTS, list(rows))
        write_text(self.folder / "table.md", table + "\n")
        return table

    def results(self) -> list[dict[str, Any]]:
        """Reads the rows that `save_results` wrote; none if it was not called yet."""
        path = self.folder / _RESULTS
        return read_json(path, list) if path.exists() else []

    def save_diagnosis(
        self, layer: Layer, params: Any, xs: Any, loss: Any = None, **options: Any
    ) -> None:
        """Computes gradients by lag and gates on a held-out example, for the report of the run.

        `python -m recur.diagnose FOLDER` writes the report, which shows them.

        Args:
          layer: the model.
          params: its params.
          xs: one example, inputs `[T, ...]` without a batch axis.
          loss: `loss(y) -> scalar`, of the output of the last step; the sum of the output by
            default.
          **options: `labels` of the steps and a `context`, as for
            `recur.diagnose.diagnose_example`.

        Raises:
          ValueError: if the layer has no carry, or the loss is not a scalar.
          OSError: if the file could not be written.
        """
        diagnose_example(layer, params, xs, loss, **options).save(self.folder / DIAGNOSIS)

    def _save_options(self) -> None:
        """Saves the options, of which some may have changed since the start of the run."""
        if self._options is not None:
            save_options(self.folder / OPTIONS, self._options)

    def _started(self) -> Checkpoints:
        """The checkpoints, which stay open until the run ends; their folder is made when needed."""
        if self._open is None:
            raise ValueError(f"{self}: expected a run that was started, by start_run.")
        if self._checkpoints is None:
            path = self.folder / "checkpoints"
            checkpoints = Checkpoints(path, best=self._best, keep=self._keep)
            self._checkpoints = self._open.enter_context(checkpoints)
        return self._checkpoints

    @contextlib.contextmanager
    def _reading(self) -> Iterator[Checkpoints]:
        path = self.folder / "checkpoints"
        if self._checkpoints is not None:
            yield self._checkpoints
        elif path.exists():
            with Checkpoints(path, best=self._best) as checkpoints:
                yield checkpoints
        else:
            existing(self, None)


@contextlib.contextmanager
def start_run(
    folder: str | os.PathLike | None,
    options: Any = None,
    *,
    name: str = "runs/run",
    may_change: Sequence[str] = (),
    best: str | None = None,
    keep: int = 3,
    resume: bool = True,
) -> Iterator[Run]:
    """Starts a run in a new folder, or resumes the run of a folder.

    While the run is started, no other process can write to its folder. If it fails before metrics
    were logged, a new folder is removed again, so that the command can be repeated.

    Args:
      folder: the folder of the run; None for the first free one of name-1, -2 ...
      options: a dataclass or a dict of numbers, texts and paths; of a resumed run, they must be
        those that it was started with.
      name: the prefix of default folders.
      may_change: the options that may differ when a run is resumed, such as `["steps"]`.
      best: the metric of the best checkpoint, the lower the better.
      keep: how many of the last checkpoints to keep.
      resume: whether the folder may be that of an existing run.

    Returns:
      A context manager of a `Run`.

    Raises:
      ValueError: if the folder holds other files, or an option differs; it names the option.
      OSError: if another process has locked the folder; it names the process.
    """
    if isinstance(options, type) or not (options is None or is_options(options)):
        raise TypeError(
            f"start_run: options: expected a dataclass or a dict, got {type(options).__name__}."
        )
    path = None if folder is None else pathlib.Path(folder)
    with claimed(path, name, may_resume=resume) as path:
        run = Run(path, best=best, keep=keep)
        saved = path / OPTIONS
        if not saved.exists():
            save_options(saved, {} if options is None else options)
        elif options is not None:
            check_unchanged(saved, options, may_change)
        run._options = options
        try:
            with contextlib.ExitStack() as run._open:
                yield run
        finally:
            run._checkpoints = run._open = None
