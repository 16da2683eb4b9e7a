import functools
import os
import pathlib
import shutil
import socket
import subprocess
import sys

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest
from flax import linen as nn
from jax.sharding import AxisType, NamedSharding, PartitionSpec

import recur
from recur.checks import leaf_name
from recur.lift import run_window
from recur.sequences import Streams
from recur.train import (
    Checkpoints,
    Report,
    TrainState,
    cross_entropy,
    fit,
    init_state,
    make_step,
    masked_mean,
)
from recur.train.checkpoint_files import CheckpointFiles
from recur_tests.helpers import assert_close

pytestmark = pytest.mark.usefixtures("lenient")
OPTIMIZER = optax.chain(optax.clip_by_global_norm(1.0), optax.adam(0.01))
K1 = 4


class Killed(Exception):
    pass


def model(features):
    return recur.batch(
        recur.chain(nn.Embed(9, 3), recur.scan(recur.lstm(features)), nn.Dropout(0.2), nn.Dense(9))
    )


def streams():
    documents = [np.random.default_rng(n).integers(0, 9, 20 + n) for n in range(5)]
    return Streams(documents, batch_size=2, k1=K1, k2=6)


@functools.cache
def first_state(features=3):
    layer, tokens = model(features), jnp.zeros((2, K1), jnp.int32)

    @jax.jit
    def begin(key):
        params = layer.init(key, tokens)
        return params, layer.init_carry(params, tokens)

    params, carry = begin(jax.random.key(0))
    return init_state(params, OPTIMIZER, jax.random.key(1), carry)


def compiled_step():
    layer = model(features=3)

    def loss(params, carry, window, key):
        carry, logits = run_window(
            layer, params, carry, window.inputs, K1, reset=window.reset, key=key
        )
        targets, mask = window.targets[:, -K1:], window.mask[:, -K1:]
        return masked_mean(cross_entropy(logits, targets, mask), mask), (carry, {})

    return jax.jit(make_step(loss, OPTIMIZER))


def same(state, other):
    leaves, others = (jax.tree.leaves(tree) for tree in (state, other))
    return all(
        jnp.array_equal(a, b) for a, b in zip(leaves[:-1], others[:-1], strict=True)
    ) and jnp.array_equal(*(jax.random.key_data(tree.key) for tree in (state, other)))


def test_a_run_killed_at_many_moments_equals_the_run_that_was_not(tmp_path):
    """Bit for bit: weights, optimizer, carry and key, through dropout and a shuffled stream."""
    step, steps = compiled_step(), 60
    expected = fit(step, first_state(), streams(), steps=steps)
    draws = np.random.default_rng(0)
    state, kills = None, 0
    while state is None:
        fuse = int(draws.integers(1, 25))

        def fragile(*arguments):
            nonlocal fuse
            fuse -= 1
            if fuse < 0:
                raise Killed
            return step(*arguments)

        with Checkpoints(tmp_path) as checkpoints:
            restored = checkpoints.restore(like=first_state())
            begun, batches = first_state(), streams()
            if restored:
                begun = restored.state
                batches.set_state(restored.stream)
            callbacks = [checkpoints.callback(7, batches)]
            try:
                state = fit(
                    fragile, begun, batches, steps=steps, callbacks=callbacks, report_every=3
                )
            except Killed:
                kills += 1
    assert kills > 3
    assert same(state, expected)


def at(state, step):
    return state._replace(step=jnp.asarray(step, jnp.int32))


def test_keeps_the_last_and_the_best(tmp_path):
    state = first_state()
    with Checkpoints(tmp_path, keep=2, best="valid") as checkpoints:
        assert checkpoints.restore(like=state) is None
        for step, valid in enumerate([5.0, 1.0, 3.0, 4.0, 2.0]):
            metrics = {"valid": valid} if step != 3 else {}
            checkpoints.save(at(state, step), metrics=metrics)
    with Checkpoints(tmp_path, keep=2, best="valid") as checkpoints:
        assert checkpoints.steps() == [1, 3, 4]
        assert checkpoints.best_step() == 1
        assert checkpoints.restore(like=state).state.step == 4
        assert checkpoints.restore(like=state, step=3).state.step == 3
    with Checkpoints(tmp_path / "none measured") as checkpoints:
        assert checkpoints.best_step() is None
        checkpoints.save(at(state, 7))
        checkpoints.save(at(state, 7), stream="a second time, and left alone")
        assert checkpoints.best_step() == 7
        assert checkpoints.restore(like=state).stream is None
    assert checkpoints.folder == tmp_path / "none measured"


def test_the_callback_saves_when_due_when_measured_and_at_the_end(tmp_path):
    state, batches = first_state(), streams()
    with Checkpoints(tmp_path, keep=9, best="valid") as checkpoints:
        save = checkpoints.callback(10, batches)
        for step, metrics, last in (
            (5, {}, False),
            (10, {}, False),
            (15, {"valid": 1.0}, False),
            (18, {}, False),
            (19, {}, True),
        ):
            next(batches)
            save(Report(step, step - 5, at(state, step), metrics, last))
    assert checkpoints.steps() == [10, 15, 19]
    assert checkpoints.best_step() == 15
    with Checkpoints(tmp_path) as checkpoints:
        assert checkpoints.restore(like=state, step=15).stream["window"] == 3


def test_another_models_checkpoint_is_refused(tmp_path):
    state = first_state()
    with Checkpoints(tmp_path) as checkpoints:
        checkpoints.save(state)
    with Checkpoints(tmp_path) as checkpoints:
        differs = r"update_0: expected float32\[3, 4\] at params/1/kernel/input, as in like, but"
        with pytest.raises(ValueError, match=differs):
            checkpoints.restore(like=first_state(features=4))
        fewer = state._replace(params=state.params[:-1])
        with pytest.raises(ValueError, match="expected nothing at params/3.*another model"):
            checkpoints.restore(like=fewer)


def test_params_are_restored_without_an_optimizer(tmp_path):
    state, layer = first_state(), model(features=3)
    with Checkpoints(tmp_path) as checkpoints:
        with pytest.raises(ValueError, match="restore_params: .*expected a checkpoint, got none"):
            checkpoints.restore_params(state.params)
        with pytest.raises(ValueError, match="params_by_path: .*expected a checkpoint, got none"):
            checkpoints.params_by_path()
        for step in (3, 5):
            checkpoints.save(at(state, step)._replace(params=scaled(state.params, step)))
    tokens = jnp.zeros((2, K1), jnp.int32)
    like = jax.eval_shape(layer.init, jax.random.key(0), tokens)
    with Checkpoints(tmp_path) as checkpoints:
        for params in (like, state.params):
            for step in (None, 3, 5):
                found = checkpoints.restore_params(params, step)
                assert_close(found, scaled(state.params, step or 5), 0)
                assert all(isinstance(leaf, jax.Array) for leaf in jax.tree.leaves(found))
        for step in (None, 3):
            found = checkpoints.params_by_path(step)
            leaves = jax.tree_util.tree_leaves_with_path(scaled(state.params, step or 5))
            assert list(found) == [leaf_name(path) for path, _ in leaves]
            for array, (_, leaf) in zip(found.values(), leaves, strict=True):
                assert array.dtype == leaf.dtype and np.array_equal(array, leaf)
        with pytest.raises(ValueError, match="update of a checkpoint, got 4; there are 3, 5"):
            checkpoints.restore_params(like, step=4)
        with pytest.raises(ValueError, match=r"at params/1/.*, as in like, but .*\[3, 3\]"):
            checkpoints.restore_params(first_state(features=4).params)
        with pytest.raises(ValueError, match="expected nothing at params/3.*as in like"):
            checkpoints.restore_params(like[:-1])
        with pytest.raises(ValueError, match="expected an|update 5 or later"):
            checkpoints.save(at(state, 5))  # reading params does not resume the run


def scaled(params, factor):
    return jax.tree.map(lambda w: w * factor, params)


def test_like_may_be_shapes(tmp_path):
    state = first_state()
    with Checkpoints(tmp_path) as checkpoints:
        checkpoints.save(state)
    with Checkpoints(tmp_path) as checkpoints:
        assert same(checkpoints.restore(jax.eval_shape(lambda: state)).state, state)
        shape = jax.ShapeDtypeStruct((3,), jnp.float32)
        with pytest.raises(TypeError, match="save: params/w: expected numbers.* ShapeDtypeStruct"):
            checkpoints.save(at(state, 1)._replace(params={"w": shape}))


def test_params_are_placed_as_in_like(tmp_path):
    mesh = jax.make_mesh((2,), ("rows",), axis_types=(AxisType.Auto,))
    rows = NamedSharding(mesh, PartitionSpec("rows"))
    with Checkpoints(tmp_path) as checkpoints:
        checkpoints.save(state_with({"w": jnp.arange(4.0)}))
    like = {"w": jax.ShapeDtypeStruct((4,), jnp.float64, sharding=rows)}
    with Checkpoints(tmp_path) as checkpoints:
        found = checkpoints.restore_params(like)["w"]
    assert found.sharding == rows and found.tolist() == [0, 1, 2, 3]


def test_reading_waits_for_what_is_being_written(tmp_path):
    state = first_state()
    with Checkpoints(tmp_path, keep=1, best="valid") as checkpoints:
        for step, valid in enumerate([3.0, 2.0, 1.0], start=1):
            checkpoints.save(at(state, step), metrics={"valid": valid})
            assert checkpoints.best_step() == step
            assert checkpoints.restore(state, checkpoints.best_step()).state.step == step
            assert checkpoints.steps() == [step]


@pytest.mark.parametrize("values", [[2.0, 1.0, np.nan, 4.0, 5.0], [np.nan, 1.0, 3.0, np.nan]])
def test_nan_is_the_worst_metric(tmp_path, values):
    with Checkpoints(tmp_path, keep=1, best="valid") as checkpoints:
        for step, valid in enumerate(values, start=1):
            checkpoints.save(at(first_state(), step), metrics={"valid": valid})
        assert checkpoints.best_step() == 2
        assert checkpoints.steps() == [2, len(values)]


def test_of_metrics_that_are_all_nan_the_first_is_best(tmp_path):
    with Checkpoints(tmp_path, best="valid") as checkpoints:
        for step in (1, 2):
            checkpoints.save(at(first_state(), step), metrics={"valid": np.nan})
        assert checkpoints.best_step() == 1


def files_of(folder):
    """Everything in a folder, by path, but the names of who writes."""
    files = {path: path.read_bytes() for path in sorted(folder.rglob("*")) if path.is_file()}
    return {path: data for path, data in files.items() if "recur-writer" not in path.name}


@pytest.mark.parametrize("name", ["2019/cat.jpg", "notes.txt", "update_3/cat.jpg"])
def test_a_folder_of_something_else_is_refused_and_left_alone(tmp_path, name):
    (tmp_path / name).parent.mkdir(exist_ok=True)
    (tmp_path / name).write_text("mine")
    before = files_of(tmp_path)
    with pytest.raises(ValueError, match="expected a new folder.*name another folder"):
        Checkpoints(tmp_path, keep=1)
    assert files_of(tmp_path) == before
    with pytest.raises(ValueError, match="expected a folder, got a file"):
        Checkpoints(tmp_path / name)


def test_what_is_put_into_a_folder_of_ours_stays(tmp_path):
    with Checkpoints(tmp_path, keep=1) as checkpoints:
        checkpoints.save(at(first_state(), 1))
    for name in ("2019", "set-aside"):
        (tmp_path / name).mkdir()
        (tmp_path / name / "cat.jpg").write_text("mine")
    with Checkpoints(tmp_path, keep=1) as checkpoints:
        assert checkpoints.steps() == [1]
        checkpoints.save(at(first_state(), 5000))
        checkpoints.save(at(first_state(), 5001))
    assert (tmp_path / "2019" / "cat.jpg").read_text() == "mine"
    assert (tmp_path / "set-aside" / "cat.jpg").read_text() == "mine"


@pytest.mark.parametrize("step", [10, 200, 300])
def test_a_new_run_in_a_used_folder_is_refused(tmp_path, step):
    with Checkpoints(tmp_path) as checkpoints:
        for each in (200, 300):
            checkpoints.save(at(first_state(), each))
    before = files_of(tmp_path)
    with Checkpoints(tmp_path) as checkpoints:
        message = f"no checkpoint of update {step} or later, got that of update 300.*Restore it"
        with pytest.raises(ValueError, match=message):
            checkpoints.save(at(first_state(), step))
    assert files_of(tmp_path) == before


def test_going_back_sets_later_checkpoints_aside(tmp_path):
    state = first_state()
    with Checkpoints(tmp_path) as checkpoints:
        for step in (2, 4, 6):
            checkpoints.save(at(state, step), stream="first")
    later = {path.name: path.read_bytes() for path in files_of(tmp_path / "update_6")}
    with Checkpoints(tmp_path) as checkpoints:
        checkpoints.restore(state, step=4)
        assert checkpoints.steps() == [2, 4, 6]  # reading moves nothing
        checkpoints.save(at(state, 5), stream="second")
        assert checkpoints.steps() == [2, 4, 5]
        checkpoints.save(at(state, 6), stream="second")
    with Checkpoints(tmp_path) as checkpoints:
        assert checkpoints.restore(state).stream == "second"
    aside = {path.name: path.read_bytes() for path in files_of(tmp_path / "set-aside-1/update_6")}
    assert aside == later


def test_an_update_that_is_not_there(tmp_path):
    with Checkpoints(tmp_path) as checkpoints:
        checkpoints.save(at(first_state(), 7))
        with pytest.raises(ValueError, match="update of a checkpoint, got 8; there are 7"):
            checkpoints.restore(first_state(), step=8)


@pytest.mark.parametrize("name", ["lr[0.1]", "what?", "all*"])
def test_a_path_that_could_not_be_read_back_is_refused(tmp_path, name):
    with pytest.raises(ValueError, match="expected a path without any of"):
        Checkpoints(tmp_path / name)
    assert not (tmp_path / name).exists()


def state_with(params):
    return init_state(params, optax.sgd(0.1), jax.random.key(0))


@pytest.mark.parametrize(
    "params",
    [
        {"w": jnp.ones((0, 3))},
        {"w": np.float32(1)},
        {"w": 1.0, "n": 3, "flag": True},
        {"a/b": jnp.ones(2), "a": {"b": jnp.zeros(2)}},
        [jnp.ones(3, jnp.bfloat16), np.arange(3), None],
        {"key": jax.random.key(3, impl="rbg"), "complex": jnp.ones(2, jnp.complex64)},
    ],
    ids=["empty", "of numpy", "of python", "names with slashes", "dtypes", "keys"],
)
def test_leaves_of_every_kind(tmp_path, params):
    state = TrainState(jnp.zeros((), jnp.int32), params, (), None, jax.random.key(0))
    with Checkpoints(tmp_path) as checkpoints:
        checkpoints.save(state)
    with Checkpoints(tmp_path) as checkpoints:
        restored = checkpoints.restore(state).state
        assert len(checkpoints.params_by_path()) == len(jax.tree.leaves(params))
    assert jax.tree.structure(restored) == jax.tree.structure(state)
    for found, expected in zip(jax.tree.leaves(restored), jax.tree.leaves(state), strict=True):
        assert type(found) is type(expected)
        assert getattr(found, "dtype", None) == getattr(expected, "dtype", None)
        if jnp.issubdtype(jnp.result_type(found), jnp.number):
            assert np.array_equal(found, expected)
    assert jnp.array_equal(jax.random.key_data(restored.key), jax.random.key_data(state.key))
    with Checkpoints(tmp_path) as checkpoints:
        found = checkpoints.restore_params(params)
        shapes = checkpoints.restore_params(jax.eval_shape(lambda: params))
    assert jax.tree.structure(found) == jax.tree.structure(params)
    for leaf, expected in zip(
        jax.tree.leaves(found), jax.tree.leaves(restored.params), strict=True
    ):
        assert type(leaf) is type(expected) and jnp.all(leaf == expected)
    for leaf, expected in zip(jax.tree.leaves(shapes), jax.tree.leaves(params), strict=True):
        assert isinstance(leaf, jax.Array) and jnp.all(leaf == expected)


def test_names_with_slashes_outside_of_the_params(tmp_path):
    carry = {"a/b": jnp.ones(2), "a": {"b": jnp.zeros(2)}}
    params = {"w": jnp.arange(3.0)}
    with Checkpoints(tmp_path) as checkpoints:
        checkpoints.save(state_with(params)._replace(carry=carry))
    with Checkpoints(tmp_path) as checkpoints:
        assert_close(checkpoints.restore_params(params), params, 0)
        with pytest.raises(ValueError, match=r"expected nothing at .params\['w'\], as in like"):
            checkpoints.restore_params({})


@pytest.mark.parametrize(
    "leaf", ["text", object(), np.array(["a"])], ids=["str", "object", "texts"]
)
def test_a_leaf_that_is_no_number_is_named(tmp_path, leaf):
    with Checkpoints(tmp_path) as checkpoints:
        with pytest.raises(TypeError, match="params/w: expected numbers"):
            checkpoints.save(state_with({})._replace(params={"w": leaf}))
        with pytest.raises(TypeError, match="stream: expected a value for JSON"):
            checkpoints.save(first_state(), stream=jnp.ones(2))
        assert checkpoints.steps() == []


def flip_a_bit(file):
    data = bytearray(file.read_bytes())
    data[len(data) // 2] ^= 4
    file.write_bytes(data)


DAMAGE = {
    "cut short": lambda folder: [
        file.write_bytes(file.read_bytes()[:20]) for file in folder.glob("state/**/d/*")
    ],
    "emptied": lambda folder: (shutil.rmtree(folder / "state"), shutil.rmtree(folder / "record")),
    "another stream": lambda folder: (folder / "record" / "metadata").write_text(
        (folder / "record" / "metadata").read_text().replace('"position": 2', '"position": 3')
    ),
    "no metrics": lambda folder: (folder / "record" / "metadata").write_text("{"),
    "arrays of another": lambda folder: (
        shutil.rmtree(folder / "state"),
        shutil.copytree(folder.with_name("update_1") / "state", folder / "state"),
    ),
    "other bits": lambda folder: [*map(flip_a_bit, folder.glob("state/**/d/*"))],
}


@pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning")
@pytest.mark.parametrize("damage", DAMAGE)
def test_a_damaged_checkpoint_is_named_and_the_newest_whole_one(tmp_path, damage):
    state = first_state()
    with Checkpoints(tmp_path, keep=9) as checkpoints:
        for step in (1, 2, 3):
            checkpoints.save(at(state, step), stream={"position": step})
    for step in (2, 3) if damage != "another stream" else (2,):
        DAMAGE[damage](tmp_path / f"update_{step}")
    with Checkpoints(tmp_path, keep=9) as checkpoints:
        last = None if damage != "another stream" else 2
        message = f"update_{last or 3}.*: .*The newest intact one before it is that of update 1"
        with pytest.raises(ValueError, match=message):
            checkpoints.restore(like=state, step=last)
        if damage != "arrays of another":  # whose params are the same
            with pytest.raises(ValueError, match=message):
                checkpoints.restore_params(state.params, last)
        assert checkpoints.restore(like=state, step=1).state.step == 1
        checkpoints.save(at(state, 2), stream="again")
        assert checkpoints.restore(like=state).stream == "again"


def test_damaged_metrics_are_named_and_their_checkpoint_is_kept(tmp_path):
    state = first_state()
    with Checkpoints(tmp_path, keep=2, best="valid") as checkpoints:
        for step, valid in enumerate([1.0, 3.0, 2.0]):
            checkpoints.save(at(state, step), metrics={"valid": valid})
    DAMAGE["no metrics"](tmp_path / "update_0")
    with Checkpoints(tmp_path, keep=2, best="valid") as checkpoints:
        with pytest.raises(ValueError, match="update_0"):
            checkpoints.best_step()
        checkpoints.restore(state)
        for step in (3, 4):
            checkpoints.save(at(state, step), metrics={"valid": float(step)})
        assert checkpoints.steps() == [0, 2, 3, 4]


def test_a_checkpoint_half_written_is_no_checkpoint(tmp_path):
    """What a kill leaves of one: a folder with another name."""
    state = first_state()
    with Checkpoints(tmp_path) as checkpoints:
        checkpoints.save(at(state, 1))
    half = tmp_path / "update_2.orbax-checkpoint-tmp"
    shutil.copytree(tmp_path / "update_1", half)
    shutil.rmtree(half / "record")
    with Checkpoints(tmp_path) as checkpoints:
        assert checkpoints.steps() == [1]
        assert half.exists()  # reading changes nothing
        checkpoints.restore(state)
        checkpoints.save(at(state, 2))
    assert checkpoints.folder == tmp_path and not half.exists()
    with Checkpoints(tmp_path) as checkpoints:
        assert checkpoints.steps() == [1, 2]


SECOND_WRITER = """
import sys
from recur.train import Checkpoints
with Checkpoints(sys.argv[1]) as checkpoints:
    print(checkpoints.steps())
    try:
        checkpoints.callback(1)
    except OSError as error:
        print(error)
"""


def test_one_process_writes_and_others_read(tmp_path):
    with Checkpoints(tmp_path) as checkpoints:
        checkpoints.save(at(first_state(), 1))
        checkpoints.steps()
        script = [sys.executable, "-c", SECOND_WRITER, str(tmp_path)]
        out = subprocess.run(script, capture_output=True, text=True, check=True).stdout
        steps, error = out.splitlines()
        assert steps == "[1]"
        assert f"process {os.getpid()} on {socket.gethostname()}" in error
        checkpoints.save(at(first_state(), 2))
    with Checkpoints(tmp_path) as checkpoints:
        assert checkpoints.steps() == [1, 2]
        checkpoints.callback(1)  # the other one let go


FULL_DISK = """
import resource, sys
import jax.numpy as jnp
from recur.train import Checkpoints, TrainState
state = TrainState(jnp.zeros((), jnp.int32), jnp.ones(3000), None, None, None)
with Checkpoints(sys.argv[1]) as checkpoints:
    checkpoints.save(state)
again = Checkpoints(sys.argv[1])
again.restore(state)
resource.setrlimit(resource.RLIMIT_FSIZE, (100, 100))  # as full as a test can make a disk
try:
    with again:
        again.save(state._replace(step=state.step + 1))
except OSError as error:
    print(error)
with Checkpoints(sys.argv[1]) as checkpoints:
    print(checkpoints.steps(), checkpoints.restore(like=state).state.params.sum())
"""


def test_a_full_disk_is_an_os_error_and_leaves_what_was_there(tmp_path):
    script = [sys.executable, "-c", FULL_DISK, str(tmp_path)]
    out = subprocess.run(script, capture_output=True, text=True, check=True).stdout
    error, rest = out.splitlines()
    assert error == (
        f"{tmp_path}: a checkpoint could not be written (File too large). Make room, or "
        "name another folder. Earlier ones are intact, and the run resumes from the last."
    )
    assert rest == "[0] 3000.0"


def test_no_folder_is_deleted_while_a_checkpoint_is_moved_into_it(tmp_path, monkeypatch):
    managers, is_busy = [], []
    open_manager, delete = CheckpointFiles._open, shutil.rmtree

    def keep_manager(self, **options):
        managers.append(open_manager(self, **options))
        return managers[-1]

    def record(path, *arguments, **options):
        if pathlib.Path(path).name == ".deleted":
            is_busy.append(managers[-1].is_saving_in_progress())
        delete(path, *arguments, **options)

    monkeypatch.setattr(CheckpointFiles, "_open", keep_manager)
    monkeypatch.setattr(shutil, "rmtree", record)
    state = first_state()
    with Checkpoints(tmp_path, keep=1) as checkpoints:
        for step in range(4):
            checkpoints.save(at(state, step))
    assert len(is_busy) > 4 and not any(is_busy)


def test_keep_at_least_one(tmp_path):
    with pytest.raises(ValueError, match="at least 1, got 0"):
        Checkpoints(pathlib.Path(tmp_path), keep=0)
