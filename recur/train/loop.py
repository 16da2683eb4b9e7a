"""The loop around a step: it pulls batches, reports to callbacks, and ends in good order."""

from __future__ import annotations

import contextlib
import math
import signal
import threading
from collections.abc import Callable, Iterable, Iterator, Sequence
from typing import Any, NamedTuple

import jax

from recur.train.step import TrainState


class Report(NamedTuple):
    """What a callback is told."""

    step: int  # updates done
    since: int  # updates done at the report before; as many where there is nothing new but the end
    state: TrainState
    metrics: dict[str, float]  # means over the updates in between
    last: bool = False  # whether the loop ends after this report
    interrupted: bool = False  # whether it ends because it was asked to


_NO_MORE = object()
Callback = Callable[[Report], dict[str, float] | None]


def fit(
    step: Callable[[TrainState, Any], tuple[TrainState, dict[str, jax.Array]]],
    state: TrainState,
    batches: Iterable[Any],
    *,
    steps: int,
    callbacks: Sequence[Callback] = (),
    report_every: int = 10,
) -> TrainState:
    """Updates until `steps` updates are done, and reports on the way.

    Callbacks are called in their order, at every multiple of `report_every` and at the end. What
    one returns, a dict of numbers, is added to the metrics that those behind it see: so a
    validation stands before the log and the checkpoints.

    On Ctrl-C (SIGINT) or SIGTERM the update under way is finished, a last report is made, so that
    checkpoints are saved, and KeyboardInterrupt is raised; a second signal does not wait.

    Args:
      step: `(state, batch) -> (state, metrics)`, as `make_step` makes it, compiled.
      state: where to start, `state.step` updates into the run.
      batches: an iterator, or anything to iterate over; when it ends, so does the loop.
      steps: how many updates the run has, those before `state` included.
      callbacks: functions of a `Report`.
      report_every: metrics are read from the device only so often, so that it need not wait.

    Returns:
      The last state.

    Raises:
      FloatingPointError: when a loss or the norm of a gradient is not finite; it names the update,
        and no callback hears of the state after it.
      KeyboardInterrupt: when it was interrupted, after the last report.

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
    batches = iter(batches)
    done = since = int(state.step)
    report = None
    unread: list[dict[str, jax.Array]] = []
    with _signals() as interrupted:
        while done < steps and not interrupted:
            batch = next(batches, _NO_MORE)
            if batch is _NO_MORE:
                break
            state, metrics = step(state, batch)
            unread.append(metrics)
            done += 1
            if done % report_every == 0 and done < steps:
                report = Report(done, since, state, _read(unread, since))
                _tell(callbacks, report)
                since, unread = done, []
        if unread:
            report = Report(done, since, state, _read(unread, since))
        elif report:  # it ends just behind a report, which did not know that it was the last
            report = report._replace(since=done)
        if report:
            _tell(callbacks, report._replace(last=True, interrupted=bool(interrupted)))
        if interrupted:
            raise KeyboardInterrupt
    return state


def every(count: int, callback: Callback) -> Callback:
    """Calls `callback` at every multiple of `count` updates, and when the run is finished.

    Args:
      count: how many updates lie between two calls; best a multiple of `report_every`.
      callback: a function of a `Report`. It is not called when the run is interrupted.

    Returns:
      A callback.

    Raises:
      ValueError: when count is below 1.

    Example:
      >>> from recur.train import Report, every
      >>> show = every(100, lambda report: print(report.step))
      >>> for step in range(50, 251, 50):
      ...     show(Report(step, step - 50, None, {}))
      100
      200
    """
    if count < 1:
        raise ValueError(f"every: expected a count of at least 1, got {count}.")

    def call(report):
        if is_due(report, count) or (report.last and not report.interrupted):
            return callback(report)
        return None

    return call


def is_due(report: Report, count: int) -> bool:
    """Whether a multiple of `count` updates was done since the report before."""
    return report.step // count > report.since // count


def _tell(callbacks: Sequence[Callback], report: Report) -> None:
    for callback in callbacks:
        found = callback(report)
        if found:
            report = report._replace(metrics={**report.metrics, **found})


def _read(unread: list[dict[str, jax.Array]], since: int) -> dict[str, float]:
    """The means of metrics over updates, once it is sure that all of them were good."""
    read = [{name: float(v) for name, v in each.items()} for each in jax.device_get(unread)]
    for number, metrics in enumerate(read, start=since + 1):
        for name in ("loss", "gradient_norm"):
            if not math.isfinite(metrics.get(name, 0.0)):
                raise FloatingPointError(
                    f"update {number}: the {name.replace('_', ' ')} is {metrics[name]}. A lower "
                    "learning rate or clipping tames it; no checkpoint was made of it."
                )
    return {name: sum(metrics[name] for metrics in read) / len(read) for name in read[0]}


@contextlib.contextmanager
def _signals() -> Iterator[list[int]]:
    """Collects the first SIGINT or SIGTERM in a list; a second one acts as it did before."""
    came: list[int] = []
    if threading.current_thread() is not threading.main_thread():
        yield came  # only the main thread may handle signals
        return
    before = {number: signal.getsignal(number) for number in (signal.SIGINT, signal.SIGTERM)}

    def restore():
        for number, handler in before.items():
            signal.signal(number, handler)

    def handle(number, frame):
        del frame
        came.append(number)
        restore()

    for number in before:
        signal.signal(number, handle)
    try:
        yield came
    finally:
        restore()
