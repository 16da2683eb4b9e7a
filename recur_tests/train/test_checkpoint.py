import functools
import pathlib
import shutil
import subprocess
import sys

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest
from flax import linen as nn

import recur
from recur.lift import run_window
from recur.sequences import Streams
from recur.train import (
    Checkpoints,
    Report,
    cross_entropy,
    fit,
    init_state,
    make_step,
    masked_mean,
)

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
        assert checkpoints.restore(like=state, step=15).stream == {"window": 3}


def test_another_models_checkpoint_is_refused(tmp_path):
    state = first_state()
    with Checkpoints(tmp_path) as checkpoints:
        checkpoints.save(state)
    with Checkpoints(tmp_path) as checkpoints:
        differs = r"0: expected float32\[3, 4\] at params/1/kernel/input, but .*\[3, 3\]"
        with pytest.raises(ValueError, match=differs):
            checkpoints.restore(like=first_state(features=4))
        fewer = state._replace(params=state.params[:-1])
        with pytest.raises(ValueError, match="expected nothing at params/3.*another model"):
            checkpoints.restore(like=fewer)


@pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning")
@pytest.mark.parametrize("damage", ["cut short", "emptied", "without metadata"])
def test_a_damaged_checkpoint_is_named(tmp_path, damage):
    state = first_state()
    with Checkpoints(tmp_path) as checkpoints:
        checkpoints.save(at(state, 1))
        checkpoints.save(at(state, 2))
    folder = tmp_path / "2"
    if damage == "cut short":
        for file in folder.glob("state/**/d/*"):
            file.write_bytes(file.read_bytes()[:20])
    elif damage == "without metadata":
        (folder / "state" / "_METADATA").unlink()
    else:
        shutil.rmtree(folder)
        folder.mkdir()
    with Checkpoints(tmp_path) as checkpoints:
        with pytest.raises(ValueError, match="/2: .*damaged. Remove this folder.*from update 1"):
            checkpoints.restore(like=state)
        assert checkpoints.restore(like=state, step=1).state.step == 1


def test_a_checkpoint_half_written_is_no_checkpoint(tmp_path):
    """What a kill leaves of one: a folder with a name of its own."""
    state = first_state()
    with Checkpoints(tmp_path) as checkpoints:
        checkpoints.save(at(state, 1))
    shutil.copytree(tmp_path / "1", tmp_path / "2.orbax-checkpoint-tmp")
    shutil.rmtree(tmp_path / "2.orbax-checkpoint-tmp" / "stream")
    with Checkpoints(tmp_path) as checkpoints:
        assert checkpoints.steps() == [1]
        checkpoints.save(at(state, 2))
    assert checkpoints.steps() == [1, 2]


FULL_DISK = """
import resource, sys
import jax.numpy as jnp
from recur.train import Checkpoints, TrainState
state = TrainState(jnp.zeros((), jnp.int32), jnp.ones(3000), None, None, None)
with Checkpoints(sys.argv[1]) as checkpoints:
    checkpoints.save(state)
resource.setrlimit(resource.RLIMIT_FSIZE, (100, 100))  # as full as a test can make a disk
try:
    with Checkpoints(sys.argv[1]) as checkpoints:
        checkpoints.save(state._replace(step=state.step + 1))
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
        f"{tmp_path}: a checkpoint could not be written (File too large). Make room, or take "
        "another folder; those before it are whole, and the run goes on from the last."
    )
    assert rest == "[0] 3000.0"


def test_keep_at_least_one(tmp_path):
    with pytest.raises(ValueError, match="at least 1, got 0"):
        Checkpoints(pathlib.Path(tmp_path), keep=0)
