"""The training loop: it draws batches, runs the step, and reports metrics to callbacks."""

from __future__ import annotations

import warnings
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from recur.checks import check_function, check_whole
from recur.train.replay import Replay
from recur.train.signals import agreed, first_signal_collected
from recur.train.step import TrainState, check_state


class Report(NamedTuple):
    """The progress of a run, which `fit` passes to its callbacks.

    Attributes:
      step: the number of updates done.
      since: the number of updates done at the previous report; equal to `step` if the only news is
        that the loop ends.
      state: the `TrainState` after update `step`.
      metrics: their means over the updates since the previous report; floats, or float64 arrays of
        metrics with axes, such as those of an ensemble.
      last: whether the loop ends after this report.
      interrupted: whether it ends because of a signal.
      unread: if interrupted between two reports, the metrics of each update since `since`.
      epoch: the number of epochs done, if `fit` counts epochs and one has just ended; else None.
    """

    step: int
    since: int
    state: TrainState
    metrics: dict[str, Any]
    last: bool = False
    interrupted: bool = False
    unread: Sequence[dict[str, Any]] = ()
    epoch: int | None = None


_END = object()  # of the batches
Callback = Callable[[Report], Mapping[str, Any] | None]


def fit(
    step: Callable[[TrainState, Any], tuple[TrainState, dict[str, jax.Array]]],
    state: TrainState,
    batches: Iterable[Any],
    *,
    steps: int | None = None,
    epochs: int | None = None,
    callbacks: Sequence[Callback] = (),
    stop: Callable[[Report], bool] | None = None,
    report_every: int = 10,
    unread: Sequence[Mapping[str, Any]] = (),
    explain: Callable[[TrainState, Any], str] | None = None,
) -> TrainState:
    """Runs the training loop for a number of steps or epochs, and calls callbacks with reports.

    Callbacks are called in order, at every multiple of `report_every`, at the end of each epoch if
    epochs are given, and at the end. If one returns a dict of numbers, it is added to the metrics
    that later ones receive; so put a validation before the log and the checkpoints.

    On Ctrl-C (SIGINT) or SIGTERM the current update is finished, callbacks get a last report, so
    that checkpoints are saved, and KeyboardInterrupt is raised. A second signal acts at once. If
    the run is interrupted between two reports, `Report.unread` holds the metrics of the updates
    since the last one; pass them as `unread` on resuming, and the next report covers them too. With
    several processes of `jax.distributed`, a signal to any of them ends all at the next report.

    An ensemble is trained with the step under `jax.vmap`, and a state whose leaves have a leading
    axis, also `step` and `key`. Its metrics are arrays.

    Args:
      step: `(state, batch) -> (state, metrics)`, as `make_step` returns it, compiled by `jax.jit`.
      state: the `TrainState` to start from, after `state.step` updates.
      batches: an iterator, which is read on; or another iterable, such as a list, which is read
        from its start again each time it ends.
      steps: the total number of updates, including the `state.step` done before. Give either steps
        or epochs.
      epochs: the total number of epochs, of `len(batches)` updates each.
      callbacks: functions of a `Report` that return None or a dict of numbers.
      stop: a function of a `Report`, with the metrics that callbacks returned: whether to end the
        loop, such as `early_stopping`.
      report_every: the number of updates between two reports. Metrics are read from the device only
        then.
      unread: `Restored.unread` of the checkpoint from which the run resumes.
      explain: `explain(state, batch) -> text`, added to the error if a loss or gradient is not
        finite: given the state before the update and its batch, it finds the cause.
        `recur.diagnose.explain_non_finite(loss)` makes one. The loop then keeps a copy of the
        state, and the batches since the last report.

    Returns:
      The last state.

    Raises:
      ValueError: if steps or epochs is not a whole number >= 0, both or none are given,
        report_every is not one >= 1, there is no batch, or the members of an ensemble have done
        different numbers of updates.
      TypeError: if step, stop, explain or a callback is not a function, state is not a
        `TrainState`, the step does not return `(state, metrics)`, a callback returns neither a dict
        of numbers nor None, or batches have no length for epochs.
      FloatingPointError: if the loss or the gradient norm is not finite, in no member of an
        ensemble; it names the update, and callbacks do not receive the state after it.
      KeyboardInterrupt: if a signal interrupted the loop, after the last report.

    Warns:
      UserWarning: if an iterator of batches ends before the given number of steps.

    Example:
      >>> import itertools, jax, jax.numpy as jnp, optax
      >>> from recur.train import fit, init_state, make_step
      >>> optimizer = optax.sgd(0.25)
      >>> step = jax.jit(make_step(lambda w, carry, x, key: ((w - x) ** 2, (carry, {})), optimizer))
      >>> state = init_state(jnp.asarray(4.0), optimizer, jax.random.key(0))
      >>> show = lambda report: print(report.step, round(report.metrics["loss"], 3))
      >>> state = fit(
      ...     step, state, itertools.repeat(0.0), steps=4, callbacks=[show], report_every=2
      ... )
      2 10.0
      4 0.625
    """
    check_function("fit: step", step)
    check_state(state)
    steps = total_updates(steps, epochs, batches)
    per_epoch = steps // epochs if epochs else 0
    check_whole("fit: report_every", report_every, 1)
    for callback in callbacks:
        check_function("fit: a callback", callback)
    if stop is not None:
        check_function("fit: stop", stop)
    if explain is not None:
        check_function("fit: explain", explain)
    source = _without_end(batches)
    done = updates_done("fit", state)
    pending: list[Mapping[str, Any]] = [*unread]
    since = done - len(pending)
    report, epoch, is_enough, is_interrupted = None, None, False, False
    replay = Replay(step, explain)
    replay.begin(state, done)
    with first_signal_collected() as signals:
        while done < steps and not is_interrupted and not is_enough:
            batch = next(source, _END)
            if batch is _END:
                warnings.warn(
                    f"fit: the batches ended after {done:,} of {steps:,} updates.", stacklevel=2
                )
                break
            replay.add(batch)
            state, metrics = _checked(step(state, batch))
            pending.append(metrics)
            done += 1
            epoch = done // per_epoch if per_epoch and done % per_epoch == 0 else None
            if done < steps and (done % report_every == 0 or epoch):
                means = _means(_read(pending, since, replay))
                report = Report(done, since, state, means, epoch=epoch)
                reported = _call_all(callbacks, report)
                is_enough = stop is not None and bool(stop(reported))
                since, pending = done, []
                replay.begin(state, done)
            if done % report_every == 0 or jax.process_count() == 1:
                is_interrupted = agreed(bool(signals))
        is_interrupted = agreed(bool(signals))
        is_early = is_interrupted and done < steps
        if pending:
            read = _read(pending, since, replay)
            unread = read if is_early else ()
            report = Report(done, since, state, _means(read), unread=unread, epoch=epoch)
        elif report:  # the loop ends right after a report that was not marked as the last
            report = report._replace(since=done)
        if report:
            _call_all(callbacks, report._replace(last=True, interrupted=is_early))
        if is_interrupted:
            raise KeyboardInterrupt
    return state


def every(count: int, callback: Callback) -> Callback:
    """Makes a callback that runs only every `count` updates, and at the end of the run.

    Args:
      count: the number of updates between two calls, ideally a multiple of `report_every`.
      callback: a function of a `Report`. It is not called when the run is interrupted.

    Returns:
      A callback for `fit`.

    Raises:
      ValueError: if count is below 1.

    Example:
      >>> from recur.train import Report, every
      >>> show = every(100, lambda report: print(report.step))
      >>> for step in range(50, 251, 50):
      ...     show(Report(step, step - 50, None, {}))
      100
      200
    """
    count = check_whole("every: count", count, 1)
    check_function("every: callback", callback)

    def call(report):
        if is_due(report, count) or (report.last and not report.interrupted):
            return callback(report)
        return None

    return call


def every_epoch(callback: Callback) -> Callback:
    """Makes a callback that runs only at the end of each epoch, such as a validation.

    Args:
      callback: a function of a `Report`, whose `epoch` is the number of epochs done.

    Returns:
      A callback for `fit(epochs=...)`.

    Raises:
      TypeError: if callback is not a function.

    Example:
      >>> from recur.train import Report, every_epoch
      >>> show = every_epoch(lambda report: print(report.epoch))
      >>> show(Report(10, 0, None, {}))
      >>> show(Report(15, 10, None, {}, epoch=1))
      1
    """
    check_function("every_epoch: callback", callback)

    def call(report):
        return callback(report) if report.epoch is not None and has_news(report) else None

    return call


def has_news(report: Report) -> bool:
    """Whether there were updates since the previous report, and not only the end of the loop."""
    return report.step > report.since


def is_complete(report: Report) -> bool:
    """Whether a report has new metrics, and was not made early by a signal."""
    return has_news(report) and not report.unread


def is_due(report: Report, count: int) -> bool:
    """Whether a multiple of `count` updates was reached since the previous report."""
    return report.step // count > report.since // count


def total_updates(steps: int | None, epochs: int | None, batches: Any) -> int:
    """The total number of updates, of steps or epochs."""
    if (steps is None) == (epochs is None):
        raise ValueError(f"fit: expected either steps or epochs, got {steps} and {epochs}.")
    if epochs is None:
        return _countable(check_whole("fit: steps", steps, 0))
    epochs = check_whole("fit: epochs", epochs, 0)
    if not hasattr(batches, "__len__"):
        raise TypeError(
            "fit: epochs: expected batches with a length, such as a list or a stream of "
            f"recur.sequences, got {type(batches).__name__}. Give steps instead."
        )
    return _countable(epochs * len(batches))


def _countable(updates: int) -> int:
    """The number of updates, which a `TrainState` counts in 32 bits."""
    if updates >= 2**31:
        raise ValueError(f"fit: expected fewer than {2**31:,} updates, got {updates:,}.")
    return updates


def _without_end(batches: Iterable[Any]) -> Iterator[Any]:
    """The batches of an iterator; those of another iterable again and again."""
    if isinstance(batches, Iterator):
        for batch in batches:  # and not `yield from`, which would close it at the end
            yield batch
        return
    while True:
        batch = _END
        for batch in batches:
            yield batch
        if batch is _END:
            raise ValueError("fit: expected at least one batch, got none.")


def _call_all(callbacks: Sequence[Callback], report: Report) -> Report:
    """Calls callbacks in order; each receives the metrics that earlier ones returned."""
    for callback in callbacks:
        name = getattr(callback, "__qualname__", type(callback).__name__)
        returned = callback(report)
        found = {} if returned is None else as_numbers(f"the callback {name}", returned)
        report = report._replace(metrics={**report.metrics, **found})
    return report


def _checked(returned: Any) -> tuple[TrainState, Mapping[str, Any]]:
    if not (
        isinstance(returned, tuple) and len(returned) == 2 and isinstance(returned[1], Mapping)
    ):
        raise TypeError(
            "fit: expected the step to return (state, metrics), with metrics as a dict, got "
            f"{type(returned).__name__}. recur.train.make_step makes one of a loss."
        )
    return returned


def as_numbers(source: str, found: Any) -> dict[str, Any]:
    """Converts metrics to Python floats, and those with axes to arrays of float64.

    Raises:
      TypeError: if they are not a dict of numbers; it names their source and the metric.
    """
    if not isinstance(found, Mapping):
        raise TypeError(
            f"{source}: expected a dict of numbers or None, got {type(found).__name__}."
        )
    numbers = {}
    for metric, value in found.items():
        array = np.asarray(value)
        if not (array.dtype == bool or jnp.issubdtype(array.dtype, jnp.number)):
            raise TypeError(
                f"{source}: expected numbers, got {type(value).__name__} for {metric!r}."
            )
        numbers[metric] = array.astype(np.float64) if array.ndim else float(value)
    return numbers


def check_one_number(caller: str, metric: str, value: Any) -> None:
    """Raises a TypeError unless the value of a metric is one number, and not an array."""
    if np.ndim(value):
        raise TypeError(
            f"{caller}: expected {metric!r} as one number, got an array. Return its mean from a "
            "callback."
        )


def updates_done(caller: str, state: TrainState) -> int:
    """The number of updates, the same for all members of an ensemble."""
    done = np.unique(np.asarray(state.step))
    if done.size != 1:
        raise ValueError(
            f"{caller}: expected the same number of updates in all members of an ensemble, got "
            f"{done.tolist()}."
        )
    return int(done[0])


def _means(read: Sequence[dict[str, Any]]) -> dict[str, Any]:
    return {name: sum(metrics[name] for metrics in read) / len(read) for name in read[0]}


def _read(unread: list[Mapping[str, Any]], since: int, replay: Replay) -> list[dict[str, Any]]:
    """Reads metrics from the device; raises an error if a loss or gradient norm is not finite."""
    read = [as_numbers("the metrics of the step", each) for each in jax.device_get(unread)]
    for number, metrics in enumerate(read, start=since + 1):
        for name in ("loss", "gradient_norm"):
            if not np.isfinite(metrics.get(name, 0.0)).any():
                cause = replay.explain(number)
                raise FloatingPointError(
                    f"update {number}: the {name.replace('_', ' ')} is {metrics[name]}. "
                    f"{cause}{' ' * bool(cause)}Lower the learning rate or clip gradients; this "
                    "state was not saved."
                )
    return read
