"""The four tasks against NumPy, and the command that runs them."""

import functools
import importlib
import itertools
import json
import pathlib
import signal
import subprocess
import sys
import types
import typing

import jax
import jax.numpy as jnp
import numpy as np
import pytest

SCRIPT = "memory"
MANY = 1500


@pytest.fixture(scope="module")
def memory(scripts):
    return importlib.import_module("memory")


@pytest.fixture(scope="module")
def examples(memory):
    """`examples(name)` -> xs, lengths and targets of many examples of a task, in NumPy."""

    @functools.cache
    def draw_many(name, held_out):
        draw = memory.JOBS[name].task.draw
        return jax.jit(jax.vmap(lambda key: draw(key, held_out)))

    def draw(name, held_out=False, seed=0):
        keys = jax.random.split(jax.random.key(seed), MANY)
        return jax.tree.map(np.asarray, draw_many(name, held_out)(keys))

    return draw


def entropy_of(counts):
    shares = counts[counts > 0] / counts.sum()
    return -(shares * np.log(shares)).sum()


def test_adding(memory, examples):
    xs, length, target = examples("adding")
    assert xs.shape == (MANY, 200, 2) and (length == 200).all()
    numbers, marks = xs[..., 0].astype(np.float64), xs[..., 1]
    assert set(np.unique(marks)) == {0, 1}
    assert (marks[:, :100].sum(1) == 1).all() and (marks[:, 100:].sum(1) == 1).all()
    np.testing.assert_allclose(target, (numbers * marks).sum(1), rtol=1e-6)
    bound = memory.JOBS["adding"].task.bound
    assert np.square(target - 1).mean() == pytest.approx(bound, rel=0.1)  # always answering 1


def test_copy(memory, examples):
    xs, length, target = examples("copy")
    assert xs.shape == (MANY, 120, 10) and (length == 120).all() and (xs.sum(-1) == 1).all()
    tokens = xs.argmax(-1)
    assert (tokens[:, :10] < 8).all() and (tokens[:, 10:109] == 8).all()
    assert (tokens[:, 109] == 9).all() and (tokens[:, 110:] == 8).all()
    assert (target[:, :110] == 8).all() and (target[:, 110:] == tokens[:, :10]).all()
    costs = [entropy_of(np.bincount(column)) for column in target.T]  # knowing the step alone
    assert np.mean(costs) == pytest.approx(memory.JOBS["copy"].task.bound, rel=0.01)


def test_temporal_order(memory, examples):
    xs, length, target = examples("order")
    assert xs.shape == (MANY, 100, 6) and (length == 100).all() and (xs.sum(-1) == 1).all()
    tokens = xs.argmax(-1)
    rows, places = np.nonzero(tokens < 2)
    assert (np.bincount(rows) == 2).all()
    places = places.reshape(MANY, 2)
    assert places.min(0).tolist() == [10, 50] and places.max(0).tolist() == [20, 60]
    symbols = np.take_along_axis(tokens, places, 1)
    assert (target == 2 * symbols[:, 0] + symbols[:, 1]).all()
    bound = memory.JOBS["order"].task.bound
    assert entropy_of(np.bincount(target)) == pytest.approx(bound, rel=0.01)


@pytest.mark.parametrize("held_out", [False, True])
def test_two_halves(memory, examples, held_out):
    xs, lengths, target = examples("halves", held_out)
    assert xs.shape == (MANY, 16, 10)
    assert set(lengths) == set(range(4, 17, 2))
    assert entropy_of(np.bincount(target)) == pytest.approx(
        memory.JOBS["halves"].task.bound, rel=0.01
    )
    differing = []
    for x, length, same in zip(xs, lengths, target, strict=True):
        assert (x[:length].sum(1) == 1).all() and not x[length:].any()
        digits = x[:length].argmax(1)
        first, second = np.split(digits, 2)
        assert (first == second).all() == same
        assert (first.sum() % 10 == 0) == held_out
        differing += [] if same else [(first != second).sum()]
    assert 0.4 < np.mean(np.array(differing) == 1) < 0.75  # one digit alone: the hard ones
    assert np.mean(differing) > 1.5


def test_no_first_half_is_in_both(examples):
    def first_halves(held_out):
        xs, lengths, _ = examples("halves", held_out)
        return {tuple(x[: n // 2].argmax(1)) for x, n in zip(xs, lengths, strict=True)}

    training, unseen = first_halves(False), first_halves(True)
    assert len(training) > 800 and len(unseen) > 800 and not training & unseen


def test_the_same_seed_gives_the_same_examples(examples):
    for one, again, other in zip(
        examples("halves"), examples("halves"), examples("halves", seed=1), strict=True
    ):
        assert (one == again).all() and (one != other).any()


def test_scores_the_answers_that_count(memory):
    """With a model of constant outputs, against the definitions."""
    keys = jax.random.split(jax.random.key(0), 500)

    def scored(task, answer):
        def constant(params, xs, *, length):
            del params, length
            return jnp.full((*xs.shape[:2], task.outputs), answer)

        score = jax.jit(lambda keys: memory.score(task, constant, None, keys, False))
        return [float(each) for each in score(keys)]

    tasks = {name: job.task for name, job in memory.JOBS.items()}
    loss, wrong = scored(tasks["adding"], 1.0)
    assert loss == pytest.approx(tasks["adding"].bound, rel=0.15) and 0.85 < wrong < 0.97
    for task in (tasks["order"], tasks["halves"]):
        loss, wrong = scored(task, 0.0)
        assert loss == pytest.approx(task.bound, rel=1e-5)
        assert wrong == pytest.approx(1 - 1 / task.outputs, abs=0.08)  # the first class is right
    loss, wrong = scored(tasks["copy"], 0.0)
    assert loss == pytest.approx(np.log(9), rel=1e-5) and wrong == 1


@pytest.fixture
def command(command, memory, monkeypatch):
    """The script, made small."""
    monkeypatch.setattr(memory, "HELD_OUT", 8)
    small = {name: job._replace(features=4, batch_size=4) for name, job in memory.JOBS.items()}
    small["order"] = small["order"]._replace(task=memory.temporal_order(steps=20))
    monkeypatch.setattr(memory, "JOBS", small)
    return command


SHORT = "--tasks halves order --cells tanh --steps 3 --report-every 2 --seed 1 --run".split()


@pytest.fixture
def easy(memory, command, monkeypatch):
    """The goal of order is reached at once, after the first two updates; that of halves is not."""
    task = memory.JOBS["order"].task._replace(goal=4.0)
    monkeypatch.setitem(memory.JOBS, "order", memory.JOBS["order"]._replace(task=task))


def records(folder):
    return [json.loads(line) for line in (folder / "metrics.jsonl").read_text().splitlines()]


def test_a_short_run(command, easy, tmp_path):
    folder = tmp_path / "new" / "run"
    printed = command(*SHORT, folder)
    table = (folder / "table.md").read_text()
    assert table.strip() in printed and table.count("| tanh |") == 2
    assert "order, tanh: held-out loss " in printed
    rows = json.loads((folder / "results.json").read_text())
    assert [(row["task"], row["updates"], row["solved"]) for row in rows] == [
        ("halves", 3, "no"),
        ("order", 2, "yes"),
    ]
    for row in rows:
        logged = records(folder / f"{row['task']}-tanh")
        assert [record["step"] for record in logged] == [2, 3][: len(logged)]
        assert logged[-1]["held_out_loss"] == row["held-out loss"]
        assert 1 - logged[-1]["held_out_wrong"] == row["right"]
    assert (folder / "curves.png").read_bytes().startswith(b"\x89PNG")


def test_resumes_at_the_update_and_the_part_where_it_was_stopped(
    memory, command, complaint, easy, tmp_path, monkeypatch
):
    """Ctrl-C during halves and after order; the numbers are those of a run without it."""
    whole, folder = tmp_path / "whole", tmp_path / "run"
    command(*SHORT, whole)
    drawn = []

    def count(start=0):
        for number in itertools.count(start):
            drawn.append(number)
            if len(drawn) in stops:
                signal.raise_signal(signal.SIGINT)
            yield number

    counting = types.SimpleNamespace(count=count, product=itertools.product)
    monkeypatch.setattr(memory, "itertools", counting)
    stops = (1, 5)  # in the first update of halves, then in the second of order
    assert "memory: stopped. The same --run resumes" in complaint(*SHORT, folder)
    assert "memory: stopped" in complaint("--run", folder)
    stops = ()
    command("--run", folder)
    assert drawn == [0, 1, 2, 0, 1]
    assert records(folder / "halves-tanh") == records(whole / "halves-tanh")
    assert records(folder / "order-tanh") == records(whole / "order-tanh")
    command("--run", folder, "--tasks", "order", "--cells", "tanh", "lru")
    assert drawn == [0, 1, 2, 0, 1, 0, 1]  # only the new cell is trained
    rows = json.loads((folder / "results.json").read_text())
    assert [(row["task"], row["cell"]) for row in rows] == [("order", "tanh"), ("order", "lru")]


def test_a_run_that_diverges_is_a_row(memory, command, monkeypatch, tmp_path):
    recipe = memory.RECIPES["tanh"]._replace(learning_rate=float("nan"))
    monkeypatch.setitem(memory.RECIPES, "tanh", recipe)
    run = ["--tasks", "order", "--cells", "tanh", "--steps", 4, "--run", tmp_path]
    for _ in range(2):  # the second time, it is not trained again
        assert "no: update 2: the loss is nan" in command(*run)


def test_a_folder_with_files_is_left_alone(complaint, tmp_path):
    (tmp_path / "thesis.tex").write_text("precious")
    assert "got one with other files" in complaint("--run", tmp_path)
    assert [path.name for path in tmp_path.iterdir()] == ["thesis.tex"]


@pytest.mark.parametrize("option", ["--steps", "--report-every"])
def test_a_number_below_one(complaint, tmp_path, option):
    folder = tmp_path / "run"
    assert f"{option}: expected from 1 to 1,000,000,000, got 0" in complaint(
        option, 0, "--run", folder
    )
    assert not folder.exists()


def test_the_names_are_those_of_the_tables(memory):
    hints = typing.get_type_hints(memory.Options)
    for field, table in (("tasks", memory.JOBS), ("cells", memory.RECIPES)):
        names, _ = typing.get_args(hints[field])
        assert list(typing.get_args(names)) == list(table)


def test_an_unknown_name(memory, tmp_path):
    script = pathlib.Path(memory.__file__)
    found = subprocess.run(
        [sys.executable, script, "--cells", "abacus"],
        cwd=tmp_path,
        env={"PYTHONPATH": str(script.parents[1]), "PATH": ""},
        capture_output=True,
        text=True,
    )
    assert found.returncode == 2 and "abacus" in found.stderr and "gru" in found.stderr
    assert not any(tmp_path.iterdir())
