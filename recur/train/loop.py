"""The loop around a step: it pulls batches, reports to callbacks, and ends in good order."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from recur.checks import check_function, check_whole
from recur.train.signals import first_signal_collected
from recur.train.step import TrainState, check_state


class Report(NamedTuple):
    """What a callback is told."""

    step: int  # updates done
    since: int  # updates done at the report before; as many where there is nothing new but the end
    state: TrainState
    metrics: dict[str, float]  # means over the updates in between
    last: bool = False  # whether the loop ends after this report
    interrupted: bool = False  # whether it ends because it was asked to
    unread: Sequence[dict[str, float]] = ()  # of updates since `since`, when interrupted among them


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
    unread: Sequence[Mapping[str, float]] = (),
) -> TrainState:
    """Updates until `steps` updates are done, and reports on the way.

    Callbacks are called in their order, at every multiple of `report_every` and at the end. What
    one returns, a dict of numbers, is added to the metrics that later ones see: so a
    validation stands before the log and the checkpoints.

    On Ctrl-C (SIGINT) or SIGTERM the update under way is finished, a last report is made, so that
    checkpoints are saved, and KeyboardInterrupt is raised; a second signal does not wait. Between
    two reports, that report holds in `unread` the metrics of the updates so far, so that the run
    goes on to the report that it would have made.

    Args:
      step: `(state, batch) -> (state, metrics)`, as `make_step` makes it, compiled.
      state: where to start, `state.step` updates into the run.
      batches: an iterator, or anything to iterate over; when it ends, so does the loop.
      steps: how many updates the run has, those before `state` included.
      callbacks: functions of a `Report`.
      report_every: metrics are read from the device only so often, so that it need not wait.
      unread: of the checkpoint from which the run goes on, `Restored.unread`.

    Returns:
      The last state.

    Raises:
      ValueError: when steps or report_every is no whole number, from 0 and from 1, or the state is
        that of several runs.
      TypeError: when step or a callback is no function, state no `TrainState`, the step returns no
        `(state, metrics)`, or a callback something other than a dict of numbers or None.
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
    check_function("fit: step", step)
    check_state(state)
    check_whole("fit: steps", steps, 0)
    check_whole("fit: report_every", report_every, 1)
    for callback in callbacks:
        check_function("fit: a callback", callback)
    batches = iter(batches)
    done = _updates_done(state)
    pending: list[Mapping[str, Any]] = [*unread]
    since = done - len(pending)
    report = None
    with first_signal_collected() as interrupted:
        while done < steps and not interrupted:
            batch = next(batches, _NO_MORE)
            if batch is _NO_MORE:
                break
            state, metrics = _checked(step(state, batch))
            pending.append(metrics)
            done += 1
            if done % report_every == 0 and done < steps:
                report = Report(done, since, state, _means(_read(pending, since)))
                _tell(callbacks, report)
                since, pending = done, []
        is_early = bool(interrupted) and done < steps
        if pending:
            read = _read(pending, since)
            report = Report(done, since, state, _means(read), unread=read if is_early else ())
        elif report:  # it ends right after a report, which did not know that it was the last
            report = report._replace(since=done)
        if report:
            _tell(callbacks, report._replace(last=True, interrupted=is_early))
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
    count = check_whole("every: count", count, 1)
    check_function("every: callback", callback)

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
        name = getattr(callback, "__qualname__", type(callback).__name__)
        found = callback(report)
        found = {} if found is None else as_numbers(f"the callback {name}", found)
        report = report._replace(metrics={**report.metrics, **found})


def _checked(returned: Any) -> tuple[TrainState, Mapping[str, Any]]:
    if not (
        isinstance(returned, tuple) and len(returned) == 2 and isinstance(returned[1], Mapping)
    ):
        raise TypeError(
            "fit: expected the step to return (state, metrics), with metrics as a dict, got "
            f"{type(returned).__name__}. recur.train.make_step makes one of a loss."
        )
    return returned


def as_numbers(source: str, found: Any) -> dict[str, float]:
    """Metrics as Python's floats.

    Raises:
      TypeError: when they are no dict of numbers; it names their source and the metric.
    """
    if not isinstance(found, Mapping):
        raise TypeError(
            f"{source}: expected a dict of numbers or None, got {type(found).__name__}."
        )
    for metric, value in found.items():
        array = np.asarray(value)
        if array.ndim or not (array.dtype == bool or jnp.issubdtype(array.dtype, jnp.number)):
            raise TypeError(
                f"{source}: expected numbers, got {type(value).__name__} for {metric!r}. Take a "
                "mean, or float() of it."
            )
    return {metric: float(value) for metric, value in found.items()}


def _updates_done(state: TrainState) -> int:
    if np.ndim(state.step):
        raise ValueError(
            f"fit: expected the state of one run, got steps of shape {list(np.shape(state.step))}. "
            "Train an ensemble with a jax.vmap of the step, in a loop of your own."
        )
    return int(state.step)


def _means(read: Sequence[dict[str, float]]) -> dict[str, float]:
    return {name: sum(metrics[name] for metrics in read) / len(read) for name in read[0]}


def _read(unread: list[Mapping[str, Any]], since: int) -> list[dict[str, float]]:
    """The metrics of updates, once it is sure that all of them were good."""
    read = [as_numbers("the metrics of the step", each) for each in jax.device_get(unread)]
    for number, metrics in enumerate(read, start=since + 1):
        for name in ("loss", "gradient_norm"):
            if not math.isfinite(metrics.get(name, 0.0)):
                raise FloatingPointError(
                    f"update {number}: the {name.replace('_', ' ')} is {metrics[name]}. A lower "
                    "learning rate or clipping tames it; no checkpoint was made of it."
                )
    return read
