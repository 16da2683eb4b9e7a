import itertools
import struct
import sys

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest
from tensorboardX.proto.event_pb2 import Event, SessionLog

from recur.train import (
    Checkpoints,
    JsonLines,
    Report,
    TensorBoard,
    WeightsAndBiases,
    fit,
    init_state,
    make_step,
    read_json_lines,
)


def events_of(folder):
    """All events of a folder, as TensorBoard reads them: files in the order of their names."""
    events = []
    for path in sorted(folder.iterdir()):
        data = path.read_bytes()
        while data:
            (length,) = struct.unpack("Q", data[:8])
            events.append(Event.FromString(data[12 : 12 + length]))
            data = data[16 + length :]
    return events


def shown(folder):
    """The values that TensorBoard shows, as (step, name, value)."""
    values = []
    for event in events_of(folder):
        if event.session_log.status == SessionLog.START:
            values = [each for each in values if each[0] < event.step]
        values += [(event.step, each.tag, each.simple_value) for each in event.summary.value]
    return values


class Run:
    """The interface of a run of W&B, which ignores steps that it has."""

    def __init__(self):
        self.step, self.rows = 0, []

    def log(self, data, step=None, commit=None):
        assert type(data) is dict and {type(value) for value in data.values()} == {float}
        assert commit, "the row would be lost if the run were killed"
        assert step >= self.step, "a warning of W&B"
        self.rows += [(step, name, value) for name, value in data.items()]
        self.step = step + 1


def report(step, **options):
    return Report(step, step - 10, None, {"loss": step / 8}, **options)


def test_what_is_logged_is_read_back_at_once(tmp_path):
    folder, run = tmp_path / "runs" / "gru", Run()
    board, other = TensorBoard(folder), WeightsAndBiases(run)
    for count, step in enumerate((10, 20, 30), start=1):
        board(report(step))
        other(report(step))
        expected = [(step, "loss", step / 8) for step in (10, 20, 30)[:count]]
        assert shown(folder) == run.rows == expected
    assert all(event.wall_time > 1e9 for event in events_of(folder))


def test_members_of_an_ensemble_are_logged_by_their_indices(tmp_path):
    board, run = TensorBoard(tmp_path / "run"), Run()
    metrics = {"loss": np.array([1.0, 2.0], np.float32), "grid": np.arange(4.0).reshape(2, 2)}
    metrics |= {"count": 3, "scalar": np.float32(0.5)}
    for log in (board, WeightsAndBiases(run)):
        log(Report(10, 0, None, metrics))
    expected = {"loss/0": 1, "loss/1": 2, "grid/0/0": 0, "grid/0/1": 1, "grid/1/0": 2}
    expected |= {"grid/1/1": 3, "count": 3, "scalar": 0.5}
    assert shown(tmp_path / "run") == run.rows == [(10, *each) for each in expected.items()]


def test_only_new_and_complete_reports_are_logged(tmp_path):
    board, run = TensorBoard(tmp_path / "run"), Run()
    for log in (board, WeightsAndBiases(run)):
        log(report(10))
        log(report(10)._replace(since=10, last=True))
        log(report(13, interrupted=True, unread=({"loss": 1.0},)))
    assert shown(tmp_path / "run") == run.rows == [(10, "loss", 1.25)]


def test_steps_after_the_checkpoint_are_hidden(tmp_path):
    board = TensorBoard(tmp_path)
    for step in (10, 20, 30, 40):
        board(report(step))
    board = TensorBoard(tmp_path, step=20)
    for step in (30, 40, 50):
        board(report(step))
    assert shown(tmp_path) == [(step, "loss", step / 8) for step in (10, 20, 30, 40, 50)]
    assert len([*tmp_path.iterdir()]) == 2
    TensorBoard(tmp_path, step=0)(report(10))
    assert shown(tmp_path) == [(10, "loss", 1.25)]


def test_the_folder_of_another_run_is_refused_and_left_alone(tmp_path):
    TensorBoard(tmp_path)(report(10))
    before = {path: path.read_bytes() for path in tmp_path.iterdir()}
    with pytest.raises(ValueError, match="expected a folder without events of TensorBoard, got"):
        TensorBoard(tmp_path)
    assert before == {path: path.read_bytes() for path in tmp_path.iterdir()}


class Killed(Exception):
    pass


@pytest.mark.parametrize("kill_at", [3, 5, 8, 12])
def test_a_killed_run_logs_each_step_once(tmp_path, lenient, kill_at):
    optimizer, run = optax.sgd(0.1), Run()
    step = jax.jit(make_step(lambda w, c, x, k: (jnp.square(w - x), (c, {})), optimizer))

    def train(die):
        state = init_state(jnp.asarray(1.0), optimizer, jax.random.key(0))
        with Checkpoints(tmp_path / "checkpoints") as checkpoints:
            restored = checkpoints.restore(state)
            state = restored.state if restored else state
            done = int(state.step)
            logs = [JsonLines(tmp_path / "lines", done), TensorBoard(tmp_path / "board", done)]
            callbacks = [*logs, WeightsAndBiases(run), die, checkpoints.callback(4)]
            batches = itertools.count(float(done))
            fit(step, state, batches, steps=13, callbacks=callbacks, report_every=1)

    def die(report):
        if report.step == kill_at:
            raise Killed

    with pytest.raises(Killed):
        train(die)
    train(lambda report: None)
    lines = read_json_lines(tmp_path / "lines")
    expected = [(line["step"], name, line[name]) for line in lines for name in [*line][1:]]
    assert len(expected) == 26 and run.rows == expected
    rounded = [(step, name, float(np.float32(value))) for step, name, value in expected]
    assert shown(tmp_path / "board") == rounded


def test_without_tensorboardx_the_remedy_is_named(tmp_path, monkeypatch):
    monkeypatch.setitem(sys.modules, "tensorboardX.record_writer", None)
    with pytest.raises(ImportError, match="needs tensorboardX: pip install tensorboardX"):
        TensorBoard(tmp_path)
