"""A run in a folder: resumed to the same numbers, and wrong folders are refused."""

import dataclasses
import itertools
import json
import pathlib

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

from recur.runs import Curves, Run, Size, start_run
from recur.sequences import Streams
from recur.train import every, every_epoch, fit, init_state, make_step

OPTIMIZER = optax.adam(0.1)
DOCUMENTS = [np.arange(40) % 7, np.arange(25) % 5]


@dataclasses.dataclass(frozen=True)
class Options:
    """Of a run."""

    run: pathlib.Path | None = None
    features: Size = 3
    steps: Size = 20


@pytest.fixture(autouse=True)
def usual(strict):
    with jax.numpy_dtype_promotion("standard"):
        yield


def loss(w, carry, window, key):
    noise = jax.random.normal(key, w.shape)
    value = jnp.square(w - window.inputs.mean() + 0.1 * noise).mean()
    return value, (carry, {"error": value})


STEP = jax.jit(make_step(loss, OPTIMIZER))


def first_state():
    return init_state(jnp.zeros(3), OPTIMIZER, jax.random.key(0))


def streams():
    return Streams(DOCUMENTS, batch_size=2, k1=3)


class Killed(Exception):
    pass


def kill_at(step):
    def kill(report):
        if report.step == step:
            raise Killed

    return kill


def train(folder, steps=20, kill=None, stop=None, **options):
    """Trains, or goes on to train; returns the last state."""
    settings = {"may_change": ["steps"], "best": "valid"}
    with start_run(folder, Options(steps=steps), **settings) as run:
        batches = streams()
        state = run.restore(first_state(), batches)

        def validate(report):
            return {"valid": abs(float(report.state.params.mean()) - 1.0)}

        return run.fit(
            STEP,
            state,
            batches,
            **({"steps": steps} | options),
            callbacks=[every(4, validate), *([kill_at(kill)] if kill else [])],
            stop=stop,
            report_every=2,
            checkpoint_every=3,
            progress=None,
        )


def read(folder):
    return Run(folder, best="valid")


def test_equals_fit_and_keeps_everything(tmp_path):
    state = train(tmp_path / "run")
    expected = fit(STEP, first_state(), streams(), steps=20)
    np.testing.assert_array_equal(state.params, expected.params)
    run = read(tmp_path / "run")
    assert [record["step"] for record in run.records()] == list(range(2, 21, 2))
    steps, values = run.points("valid")
    assert steps == [4, 8, 12, 16, 20] and run.last("valid") == values[-1]
    assert (run.folder / "curve.png").read_bytes().startswith(b"\x89PNG")
    best = steps[int(np.argmin(values))]
    assert int(run.best_state(first_state()).step) == best
    like = jax.eval_shape(lambda: first_state().params)
    np.testing.assert_array_equal(run.best_params(like), run.best_state(first_state()).params)
    assert run.options(Options) == Options(run=run.folder)


@pytest.mark.parametrize("at", [2, 8, 14, 20])
def test_a_killed_run_resumes_to_the_same_numbers(tmp_path, at):
    whole = train(tmp_path / "whole")
    with pytest.raises(Killed):
        train(tmp_path / "killed", kill=at)
    resumed = train(tmp_path / "killed")
    np.testing.assert_array_equal(whole.params, resumed.params)
    assert read(tmp_path / "whole").records() == read(tmp_path / "killed").records()


def test_a_finished_run_is_continued_with_more_updates(tmp_path):
    whole = train(tmp_path / "whole", steps=24)
    train(tmp_path / "run", steps=16)
    continued = train(tmp_path / "run", steps=24)
    np.testing.assert_array_equal(whole.params, continued.params)
    assert json.loads((tmp_path / "run/options.json").read_text())["steps"] == 24
    with pytest.raises(ValueError, match="at least the 24 updates that the run has done, got 20"):
        train(tmp_path / "run", steps=20)
    assert json.loads((tmp_path / "run/options.json").read_text())["steps"] == 24


def test_the_status_is_new_or_resumed(tmp_path):
    train(tmp_path / "run", steps=16)
    with start_run(tmp_path / "run", Options(steps=16)) as run:
        assert run.status(first_state()) == f"{tmp_path / 'run'}: a new run"
        resumed = run.restore(first_state(), streams())
        assert run.status(resumed) == f"{tmp_path / 'run'}: resumes after update 16"


def test_epochs(tmp_path):
    state = train(tmp_path / "run", steps=None, epochs=2)
    assert state.step == 2 * len(streams())
    state = train(tmp_path / "run", steps=None, epochs=3)
    np.testing.assert_array_equal(
        state.params, fit(STEP, first_state(), streams(), epochs=3).params
    )


def test_a_run_that_its_condition_has_ended_is_not_trained_further(tmp_path):
    def make_stop():
        seen = []

        def stop(report):
            seen.append(report.metrics["error"])
            return len(seen) == 4

        return stop

    assert train(tmp_path / "run", stop=make_stop()).step == 8
    assert train(tmp_path / "run", stop=make_stop()).step == 8
    with pytest.raises(Killed):
        train(tmp_path / "killed", stop=make_stop(), kill=6)
    assert train(tmp_path / "killed", stop=make_stop()).step == 8


def test_options_that_may_not_change(tmp_path):
    train(tmp_path / "run")
    with pytest.raises(ValueError, match="expected the features of the run that is there, 3, got"):
        start_run(tmp_path / "run", Options(features=4)).__enter__()


def test_options_of_another_script(tmp_path):
    train(tmp_path / "run")
    other = dataclasses.make_dataclass("Other", [("units", int, 3)])
    with pytest.raises(ValueError, match="options.json: expected the options of a run of this"):
        read(tmp_path / "run").options(other)
    with pytest.raises(ValueError, match="expected the folder of a run, with options.json in it"):
        Run(tmp_path / "none").options(Options)


def test_a_part_has_no_options_of_its_own(tmp_path):
    with start_run(tmp_path / "run", Options()) as run, run.part("a"):
        pass
    with pytest.raises(ValueError, match=f"its options are in {tmp_path / 'run'}"):
        Run(tmp_path / "run" / "a").options(Options)


def test_data_that_has_changed(tmp_path):
    with start_run(tmp_path / "run") as run:
        run.check_data(text={"a": "b"}, vocabulary=["x"])
    run.check_data(vocabulary=["x"])
    with pytest.raises(ValueError, match="expected the text that the run was started with"):
        run.check_data(text={"a": "c"})


def test_arrays_that_have_changed(tmp_path):
    array = np.arange(6, dtype=np.float32)
    with start_run(tmp_path / "run") as run:
        run.check_data(series=[(array, "a")])
        run.check_data(series=[(array.copy(), "a")])
        for changed in (array + 1, array.reshape(2, 3), array.astype(int)):
            with pytest.raises(ValueError, match="expected the series that the run was started"):
                run.check_data(series=[(changed, "a")])


def test_a_folder_of_something_else(tmp_path):
    (tmp_path / "thesis.tex").write_text("precious")
    with pytest.raises(ValueError, match="got one with other files. Name another"):
        start_run(tmp_path).__enter__()
    train(tmp_path / "run")
    with pytest.raises(ValueError, match="expected a new folder, got one with other files"):
        start_run(tmp_path / "run", resume=False).__enter__()


def test_a_start_that_fails_leaves_no_folder(tmp_path):
    with pytest.raises(KeyError), start_run(tmp_path / "run", Options()) as run:
        run.check_data(text="a")
        raise KeyError
    assert not (tmp_path / "run").exists()


def test_parts_are_runs_of_their_own(tmp_path):
    for expected in (0, 5):  # the second time each part is resumed
        with start_run(tmp_path / "run", {"cells": ["gru", "lstm"]}) as run:
            for cell in ("gru", "lstm"):
                with run.part(cell, best="error") as part:
                    state = part.restore(first_state())
                    assert state.step == expected
                    batches = itertools.islice(streams(), 5)
                    part.fit(STEP, state, batches, steps=5, progress=None)
            if not expected:
                assert run.results() == []
                table = run.save_results([{"cell": "gru", "loss": 0.5}])
    assert (tmp_path / "run/table.md").read_text() == table + "\n"
    assert run.results() == [{"cell": "gru", "loss": 0.5}]
    assert {path.name for path in run.folder.iterdir() if path.name[0] != "."} == {
        *("gru", "lstm", "options.json", "results.json", "table.md")
    }
    assert Run(run.folder / "gru").records()[-1]["step"] == 5


def test_curves_are_drawn_after_an_error_too(tmp_path):
    with pytest.raises(Killed):
        train(tmp_path / "run", kill=6)
    assert (tmp_path / "run/curve.png").exists()


def test_a_line_of_the_log_that_was_changed(tmp_path):
    train(tmp_path / "run")
    log = tmp_path / "run/metrics.jsonl"
    log.write_text(log.read_text().replace('"error": ', '"error": "x", "was": '))
    with pytest.raises(ValueError, match="line 1: expected a number as error, got 'x'"):
        read(tmp_path / "run").points("error")
    with pytest.raises(ValueError, match="metrics.jsonl: expected bits, got none"):
        read(tmp_path / "run").last("bits")


def test_an_ensemble(tmp_path):
    keys = jax.random.split(jax.random.key(0), 4)
    states = jax.vmap(lambda key: init_state(jnp.zeros(3), OPTIMIZER, key))(keys)
    step = jax.jit(jax.vmap(make_step(loss, OPTIMIZER), in_axes=(0, None)))
    for steps in (4, 6):
        with start_run(tmp_path / "run", {"steps": steps}, may_change=["steps"]) as run:
            batches = streams()
            state = run.restore(states, batches)
            options = {"progress": None, "curves": None, "report_every": 2}
            state = run.fit(step, state, batches, steps=steps, **options)
    assert state.step.tolist() == [6] * 4
    expected = fit(step, states, streams(), steps=6)
    np.testing.assert_array_equal(state.params, expected.params)
    assert [len(record["loss"]) for record in run.records()] == [4, 4, 4]


def test_without_checkpoints(tmp_path):
    with start_run(tmp_path / "run") as run:
        with pytest.raises(ValueError, match="expected a checkpoint, got none yet. Train it"):
            run.best_state(first_state())
    with pytest.raises(ValueError, match="expected a checkpoint, got none yet. Train it"):
        run.best_params(jnp.zeros(3))
    with pytest.raises(ValueError, match="expected a run that was started, by start_run"):
        run.restore(first_state())
    with pytest.raises(ValueError, match="expected a run that was started, by start_run"):
        run.fit(STEP, first_state(), streams(), steps=1)


def test_the_epoch_of_a_callback(tmp_path):
    epochs = []
    with start_run(tmp_path / "run") as run:
        callback = every_epoch(lambda report: epochs.append(report.epoch))
        batches = streams()
        state = run.restore(first_state(), batches)
        curves = Curves("error", {"training": "error"})
        run.fit(STEP, state, batches, epochs=2, callbacks=[callback], progress=None, curves=curves)
    assert epochs == [1, 2]
