"""The tasks, the sizes of the models and the command of the comparison with a TCN."""

import gzip
import importlib
import json
import struct

import jax
import jax.numpy as jnp
import numpy as np
import pytest
import scipy.io

from recur import runs
from recur.sequences import make_batches, pad

SCRIPT = "tcn_table"


@pytest.fixture(scope="module")
def table(scripts):
    return importlib.import_module(SCRIPT)


@pytest.fixture
def music(tmp_path):
    """The path of a file of piano rolls, and its rolls by split."""
    random = np.random.default_rng(0)
    rolls = {
        split: [random.random((length, 88)) < 0.1 for length in (9, 12)]
        for split in ("traindata", "validdata", "testdata")
    }
    cells = {}
    for split, pieces in rolls.items():
        cells[split] = np.empty((1, len(pieces)), object)
        cells[split][0] = [piece.astype(np.uint8) for piece in pieces]
    path = tmp_path / "music.mat"
    scipy.io.savemat(path, cells)
    return path, rolls


@pytest.fixture
def mnist(tmp_path):
    """A folder with files as those of MNIST: 40 and 12 pictures of 5 x 4 pixels."""
    random = np.random.default_rng(0)
    for name, count in (("train", 40), ("t10k", 12)):
        for kind, shape in (("images-idx3", (count, 5, 4)), ("labels-idx1", (count,))):
            values = random.integers(0, 256 if len(shape) == 3 else 10, shape, np.uint8)
            head = struct.pack(f">4B{len(shape)}I", 0, 0, 8, len(shape), *shape)
            with gzip.open(tmp_path / f"{name}-{kind}-ubyte.gz", "wb") as file:
                file.write(head + values.tobytes())
    return tmp_path


def batch_of(split):
    [batch] = make_batches(split, pad(), len(split))
    return batch


def test_models_of_a_task_have_about_as_many_weights(table, music, mnist):
    options = table.Options(jsb=music[0], nottingham=music[0], mnist=mnist, quick=True)
    weights = {"adding": 70e3, "copy": 13e3, "nottingham": 1.2e6, "mnist": 70e3, "permuted": 70e3}
    for name, expected in weights.items():
        task = table.read_task(name, options)
        for model in table.MODELS:
            layer = table.build_model(model, table.SIZES[name], task)
            xs = jnp.asarray(task.training[0].steps.x)[None]
            params = jax.eval_shape(layer.init, jax.random.key(0), xs)
            count = sum(leaf.size for leaf in jax.tree.leaves(params))
            assert count == pytest.approx(expected, rel=0.15), (name, model)


def test_receptive_fields_cover_the_memory_that_a_task_needs(table):
    from recur.classic import receptive_field

    needed = {"adding": 600, "copy": 1020, "mnist": 784, "permuted": 784}
    for name, steps in needed.items():
        _, levels, kernel_size = table.SIZES[name].tcn
        assert receptive_field(levels, kernel_size) >= steps


def test_adding_and_copy(table):
    options = table.Options(quick=True)
    adding, copy = (table.read_task(name, options) for name in ("adding", "copy"))
    for x, target in ((each.steps.x, each.label) for each in adding.test):
        assert target == pytest.approx((x[:, 0] * x[:, 1]).sum(), rel=1e-6)
    batch = batch_of(adding.test)
    ones = np.ones((len(adding.test), 1), np.float32)
    expected = np.mean([(1 - each.label) ** 2 for each in adding.test])
    assert adding.error(ones, batch).value() == pytest.approx(expected, rel=1e-5)
    for each in copy.valid:
        assert (each.steps.target[-10:] == each.steps.x[:10]).all()
    batch = batch_of(copy.valid)
    blind = np.full((*batch.mask.shape, copy.outputs), -30.0, np.float32)
    blind[:, :-10, 8] = 30  # a blank, and then no idea which of eight symbols
    blind[:, -10:, :8] = 0
    found = copy.error(jnp.asarray(blind), batch).value()
    assert found == pytest.approx(copy.without_memory, rel=1e-5)


def test_music_is_scored_without_first_frames(table, music):
    path, rolls = music
    task = table.read_task("jsb", table.Options(jsb=path))
    assert [len(each.steps.x) for each in task.test] == [8, 11]
    chance = np.random.default_rng(1).uniform(0.1, 0.9, 88)
    batch = batch_of(task.test)
    logits = np.broadcast_to(np.log(chance / (1 - chance)), (*batch.mask.shape, 88))
    frames = np.concatenate([roll[1:] for roll in rolls["testdata"]])
    nats = -np.where(frames, np.log(chance), np.log(1 - chance)).sum(1).mean()
    assert task.error(jnp.asarray(logits), batch).value() == pytest.approx(nats, rel=1e-5)


def test_digits_by_pixels(table, mnist):
    plain, permuted = (
        table.read_task(name, table.Options(mnist=mnist)) for name in ("mnist", "permuted")
    )
    order = np.random.default_rng(0).permutation(20)
    for one, other in zip(plain.test, permuted.test, strict=True):
        assert one.steps.x.shape == (20, 1) and (other.steps.x == one.steps.x[order]).all()
    batch = batch_of(plain.test)
    labels = np.array([each.label for each in plain.test])
    always = jnp.zeros((12, 10)).at[:, 3].set(1.0)
    assert plain.error(always, batch).value() == pytest.approx((labels != 3).mean())


def test_a_quick_run_and_more_models_later(table, command, tmp_path):
    folder = tmp_path / "run"
    given = ["--quick", "--steps", 2, "--tasks", "copy", "--run", folder]
    command(*given, "--models", "tcn")
    printed = command(*given, "--models", "tcn", "tanh")
    rows = json.loads((folder / "results.json").read_text())
    assert [(row["task"], row["model"], row["updates"]) for row in rows] == [
        ("copy", "tcn", 2),
        ("copy", "tanh", 2),
    ]
    assert [row["published"] for row in rows] == [3.5e-5, 0.0202]
    assert (folder / "table.md").read_text().strip() in printed
    assert (folder / "curves.png").read_bytes().startswith(b"\x89PNG")
    assert printed.count("test error") == 3  # a line for each model, and the table
    part = runs.Run(folder / "copy-tanh", best="valid_error")
    task = table.read_task("copy", table.Options(quick=True))
    model = table.build_model("tanh", table.SIZES["copy"], task)
    like = jax.eval_shape(model.init, jax.random.key(0), jnp.zeros((1, 40), jnp.uint8))
    evaluate = table.make_evaluate(model, task, table.layout_of(task))
    assert evaluate(part.best_params(like), task.test) == pytest.approx(rows[1]["test error"])


def test_wrong_input(complaint, tmp_path):
    assert "--tasks permuted: expected its data as --mnist, got none." in complaint(
        "--tasks", "permuted"
    )
    assert "--models: expected at least one" in complaint("--models")
    missing = tmp_path / "none.mat"
    assert str(missing) in complaint("--jsb", missing, "--tasks", "jsb", "--run", tmp_path / "run")
