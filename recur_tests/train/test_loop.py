import itertools
import os
import signal

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

from recur.sequences import Streams
from recur.train import (
    JsonLines,
    Report,
    every,
    every_epoch,
    fit,
    init_state,
    make_step,
    read_json_lines,
)

pytestmark = pytest.mark.usefixtures("lenient")
OPTIMIZER = optax.sgd(0.5)


def loss(w, carry, batch, key):
    return w * batch, (carry, {"seen": batch})


@pytest.fixture
def begin():
    """A step, and a state whose weight is the sum of what it has seen, halved and negative."""
    step = jax.jit(make_step(loss, OPTIMIZER))
    return step, init_state(jnp.asarray(0.0), OPTIMIZER, jax.random.key(0))


def numbers():
    return (float(n) for n in itertools.count(1))


def test_reports_means_between_reports(begin):
    reports = []
    state = fit(*begin, numbers(), steps=7, callbacks=[reports.append], report_every=3)
    assert [(r.step, r.since, r.last) for r in reports] == [
        (3, 0, False),
        (6, 3, False),
        (7, 6, True),
    ]
    assert [r.metrics["seen"] for r in reports] == [2.0, 5.0, 7.0]
    assert state.step == 7 and state.params == -14.0
    assert reports[0].state.params == -3.0
    assert not any(report.interrupted for report in reports)


def test_goes_on_from_where_a_state_stands_and_ends_with_the_batches(begin):
    step, state = begin
    reports = []
    with pytest.warns(UserWarning, match="the batches ended after 2 of 9 updates"):
        state = fit(step, state, iter([1.0, 2.0]), steps=9, callbacks=[reports.append])
    assert state.step == 2 and reports[-1].last
    assert fit(step, state, iter([3.0, 4.0, 5.0]), steps=4).params == -5.0
    assert fit(step, state, numbers(), steps=2, callbacks=[reports.append]) is state
    assert len(reports) == 1


def test_an_end_just_behind_a_report_is_told(begin):
    reports = []
    with pytest.warns(UserWarning, match="the batches ended"):
        fit(*begin, iter([1.0, 2.0]), steps=9, callbacks=[reports.append], report_every=2)
    assert [(r.step, r.since, r.last) for r in reports] == [(2, 0, False), (2, 2, True)]
    assert reports[0].metrics == reports[1].metrics
    reports.clear()

    def interrupt(report):
        reports.append(report)
        if report.step == 4:
            os.kill(os.getpid(), signal.SIGINT)

    with pytest.raises(KeyboardInterrupt):
        fit(*begin, numbers(), steps=9, callbacks=[interrupt], report_every=2)
    assert [(r.step, r.since, r.interrupted) for r in reports] == [
        (2, 0, False),
        (4, 2, False),
        (4, 4, True),
    ]


def test_callbacks_hear_what_those_before_them_found(begin):
    heard = []
    fit(
        *begin,
        numbers(),
        steps=2,
        callbacks=[lambda report: {"validation": 0.5}, lambda report: heard.append(report.metrics)],
    )
    assert heard == [{"loss": -0.5, "gradient_norm": 1.5, "seen": 1.5, "validation": 0.5}]


def test_every():
    called = []
    callback = every(20, called.append)
    for report in (
        Report(15, 0, None, {}),
        Report(30, 15, None, {}),
        Report(39, 30, None, {}),
        Report(40, 39, None, {}),
        Report(41, 40, None, {}, last=True, interrupted=True),
        Report(42, 41, None, {}, last=True),
    ):
        callback(report)
    assert [report.step for report in called] == [30, 40, 42]
    for count in (0, -1, 2.0, True):
        with pytest.raises(ValueError, match="every: count: expected a whole number of at least 1"):
            every(count, called.append)


@pytest.mark.parametrize("bad", [float("nan"), float("inf")])
def test_what_is_not_finite_stops_it_and_names_the_update(begin, bad):
    reports = []
    batches = iter([1.0] * 4 + [bad] + [1.0] * 5)
    with pytest.raises(FloatingPointError, match="update 5: the loss is (nan|inf|-inf)"):
        fit(*begin, batches, steps=10, callbacks=[reports.append], report_every=2)
    assert [report.step for report in reports] == [2, 4]


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_a_signal_ends_it_after_the_update_and_a_last_report(begin, number):
    before = signal.getsignal(number)
    reports = []

    def batches():
        for n in numbers():
            if n == 5:
                os.kill(os.getpid(), number)
            yield n

    with pytest.raises(KeyboardInterrupt):
        fit(*begin, batches(), steps=99, callbacks=[reports.append])
    assert [(r.step, r.last, r.interrupted) for r in reports] == [(5, True, True)]
    assert reports[0].state.params == -7.5
    assert signal.getsignal(number) is before


@pytest.mark.parametrize("at", [3, 4, 5, 7])
def test_an_interrupted_run_leaves_the_lines_of_the_run_that_was_not(begin, tmp_path, at):
    step, state = begin
    whole = JsonLines(tmp_path / "whole.jsonl")
    fit(step, state, numbers(), steps=8, callbacks=[whole], report_every=3)

    def batches():
        for n in numbers():
            if n == at:
                os.kill(os.getpid(), signal.SIGINT)
            yield n

    path, reports = tmp_path / "stopped.jsonl", []
    with pytest.raises(KeyboardInterrupt):
        fit(
            step,
            state,
            batches(),
            steps=8,
            callbacks=[JsonLines(path), reports.append],
            report_every=3,
        )
    assert len(reports[-1].unread) == at % 3
    fit(
        step,
        reports[-1].state,
        itertools.islice(numbers(), at, None),
        steps=8,
        callbacks=[JsonLines(path, step=at)],
        report_every=3,
        unread=reports[-1].unread,
    )
    assert path.read_text() == (tmp_path / "whole.jsonl").read_text()


def test_metrics_of_callbacks_are_floats(begin):
    heard = []
    found = {"jax": jnp.mean(jnp.ones(3)), "numpy": np.float32(2), "int": 3}
    fit(*begin, numbers(), steps=1, callbacks=[lambda _: found, heard.append])
    metrics = heard[0].metrics
    assert [metrics[name] for name in found] == [1.0, 2.0, 3.0]
    assert {type(metrics[name]) for name in found} == {float}


@pytest.mark.parametrize(
    "found, message",
    [
        (3.0, "expected a dict of numbers or None, got float"),
        ({"loss": "low"}, "expected numbers, got str for 'loss'"),
        ({"loss": None}, "expected numbers, got NoneType for 'loss'"),
    ],
)
def test_other_metrics_of_callbacks_are_an_error(begin, found, message):
    with pytest.raises(TypeError, match=message):
        fit(*begin, numbers(), steps=1, callbacks=[lambda report: found])


@pytest.mark.parametrize(
    "options, message",
    [
        (
            {"steps": 1, "report_every": 0},
            "fit: report_every: expected a whole number of at least 1",
        ),
        ({"steps": 1, "report_every": -2}, "fit: report_every"),
        ({"steps": 1, "report_every": 1.5}, "fit: report_every"),
        ({"steps": -1}, "fit: steps: expected a whole number of at least 0"),
        ({"steps": True}, "fit: steps"),
    ],
)
def test_numbers_of_updates(begin, options, message):
    with pytest.raises(ValueError, match=message):
        fit(*begin, numbers(), **options)


def test_an_epoch_is_all_batches_once(begin):
    step, state = begin
    counted = fit(step, state, [1.0, 2.0, 4.0], epochs=2)
    assert counted.step == 6 and counted.params == -7.0
    assert fit(step, counted, [1.0, 2.0, 4.0], epochs=3).step == 9
    assert fit(step, state, [1.0, 2.0, 4.0], epochs=0) is state
    assert fit(step, state, [1.0, 2.0, 4.0], steps=4).params == -4.0


def test_each_epoch_ends_with_a_report(begin):
    reports, epochs = [], []
    callbacks = [reports.append, every_epoch(epochs.append)]
    options = {"callbacks": callbacks, "report_every": 2}
    state = fit(*begin, [1.0, 2.0, 4.0], epochs=2, **options)
    assert [(r.step, r.since, r.epoch, r.last) for r in reports] == [
        (2, 0, None, False),
        (3, 2, 1, False),
        (4, 3, None, False),
        (6, 4, 2, True),
    ]
    assert [report.epoch for report in epochs] == [1, 2]
    assert reports[1].metrics["seen"] == 4.0
    options["report_every"] = 3
    fit(begin[0], state, [1.0, 2.0, 4.0], epochs=4, stop=lambda report: True, **options)
    assert [report.epoch for report in epochs] == [1, 2, 3]


def test_an_epoch_of_streams_is_their_length(begin):
    step, state = begin
    streams = Streams([np.arange(9)], batch_size=2, k1=2)
    seen = []

    def count(state, window):
        seen.append(window.inputs)
        return step(state, 1.0)

    assert fit(count, state, streams, epochs=3).step == len(seen) == 3 * len(streams)


def test_batches_can_be_read_on_after_the_loop(begin):
    batches = (float(n) for n in (1, 2, 4))
    step, state = begin
    state = fit(step, state, batches, steps=1)
    assert fit(step, state, batches, steps=3).params == -3.5


def test_no_batches_at_all(begin):
    with pytest.raises(ValueError, match="expected at least one batch, got none"):
        fit(*begin, [], steps=1)


@pytest.mark.parametrize("options", [{}, {"steps": 3, "epochs": 3}])
def test_either_steps_or_epochs(begin, options):
    with pytest.raises(ValueError, match="fit: expected either steps or epochs, got"):
        fit(*begin, [1.0], **options)


def test_epochs_need_batches_with_a_length(begin):
    with pytest.raises(TypeError, match="batches with a length, .* got generator. Give steps"):
        fit(*begin, numbers(), epochs=1)


def test_stop_sees_what_callbacks_found_and_ends_the_loop(begin):
    reports = []

    def validate(report):
        return {"valid": report.metrics["seen"]}

    state = fit(
        *begin,
        numbers(),
        steps=100,
        callbacks=[validate, reports.append],
        stop=lambda report: report.metrics["valid"] > 4,
        report_every=2,
    )
    assert state.step == 6
    assert [(r.step, r.since, r.last) for r in reports] == [
        (2, 0, False),
        (4, 2, False),
        (6, 4, False),
        (6, 6, True),
    ]


def ensemble(begin, count=2):
    step, state = begin
    members = jax.tree.map(lambda leaf: jnp.stack([leaf] * count), state)
    return jax.jit(jax.vmap(step)), members


def test_the_metrics_of_an_ensemble_are_arrays(begin, tmp_path):
    batches = [jnp.array([1.0, 3.0]), jnp.array([2.0, 5.0])]
    reports, path = [], tmp_path / "metrics.jsonl"
    callbacks = [reports.append, JsonLines(path)]
    state = fit(*ensemble(begin), batches, steps=2, callbacks=callbacks)
    assert state.params.tolist() == [-1.5, -4.0]
    seen = reports[0].metrics["seen"]
    assert seen.dtype == np.float64 and seen.tolist() == [1.5, 4.0]
    [record] = read_json_lines(path)
    assert record["seen"] == [1.5, 4.0]


def test_one_member_that_is_not_finite_does_not_end_the_others(begin):
    reports = []
    fit(*ensemble(begin), [jnp.array([1.0, np.nan])], steps=3, callbacks=[reports.append])
    assert np.isfinite(reports[-1].metrics["loss"]).tolist() == [True, False]
    with pytest.raises(FloatingPointError, match="update 1: the loss is"):
        fit(*ensemble(begin), [jnp.array([np.inf, np.nan])], steps=3)


def test_members_with_other_numbers_of_updates(begin):
    step, state = ensemble(begin)
    state = state._replace(step=jnp.array([1, 2]))
    with pytest.raises(ValueError, match=r"the same number of updates .* got \[1, 2\]"):
        fit(step, state, numbers(), steps=1)
