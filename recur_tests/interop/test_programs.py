"""Exported programs: in a process without recur, step by step, and damaged files."""

import json
import re
import subprocess
import sys
import zipfile

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from flax import linen as nn
from jax import export

import recur
from recur.interop import export_program, load_program
from recur.sequences import Padded
from recur.train import save_params
from recur_tests.helpers import assert_close, random_like

pytest.importorskip("flatbuffers")

XS = np.random.default_rng(0).standard_normal((3, 5, 2)).astype(np.float32)
IDS = np.arange(15, dtype=np.int32).reshape(3, 5) % 4
LENGTH = np.array([5, 2, 0], np.int32)
LSTM = recur.scan(recur.lstm(3, initial_carry_init=jax.nn.initializers.normal()))
DECODER = recur.chain(
    nn.Embed(4, 2),
    recur.scan(recur.attend(recur.gru(3), "memory")),
    lambda attended: {"scores": attended.output, "weights": attended.weights},
)
ENCODER = recur.chain(nn.Embed(4, 2), recur.scan(recur.gru(3)))
SEQ2SEQ = recur.encoder_decoder(ENCODER, DECODER, start=lambda carry: ((), carry[1], ()))
BOTH = recur.bidirectional(LSTM, recur.scan(recur.gru(2), reverse=True))
SOURCE = {"source": Padded(IDS[:, :4], np.array([4, 1, 2], np.int32))}
LAYERS = {
    "lstm": (recur.batch(recur.chain(LSTM, nn.Dense(2))), XS, None),
    "both": (recur.batch(recur.chain(nn.Embed(4, 2), BOTH)), IDS, None),
    "attention": (recur.batch(SEQ2SEQ), IDS, SOURCE),
}
WITHOUT_RECUR = """
import json, sys, zipfile
sys.modules |= dict.fromkeys(("recur", "flax", "optax", "safetensors"))  # importing them fails
import jax, numpy as np

def load(name):
    with zipfile.ZipFile(name + ".zip") as file:
        description = json.loads(file.read("description.json"))
        return description, jax.export.deserialize(bytearray(file.read("program.bin")))

def inputs_of(name):
    inputs = {}
    for full, array in np.load(name + ".npz").items():
        argument, _, path = full.partition("/")
        inputs.setdefault(argument, {})[path] = array
    return {name: each.get("", each) for name, each in inputs.items()}

def save(name, carry, ys):
    leaves = jax.tree.leaves((carry, ys))
    np.savez("found " + name, *leaves)

for name in ("lstm", "both", "attention", "params"):
    save(name, *load(name)[1].call(**inputs_of(name)))

description, program = load("step")
inputs = inputs_of("attention")
xs, length, step = inputs.pop("xs"), inputs.pop("length"), jax.jit(program.call)
carry = {
    each["name"].removeprefix("carry/"): np.full((3, *each["shape"][1:]), np.nan, each["dtype"])
    for each in description["inputs"] if each["name"].startswith("carry/")
}
reset, outputs = np.ones(3, bool), []
for t in range(5):
    carry, y = step(carry=carry, x=xs[:, t], mask=t < length, reset=reset, **inputs)
    reset = np.zeros(3, bool)
    outputs.append(y)
save("step", carry, jax.tree.map(lambda *leaves: np.stack(leaves, 1), *outputs))
"""


def draw(name):
    layer, xs, context = LAYERS[name]
    shapes = jax.eval_shape(lambda: layer.init(jax.random.key(0), xs, context=context))
    return layer, random_like(shapes, 1), xs, context


def full_names(tree):
    leaves = jax.tree_util.tree_leaves_with_path(tree)
    return {jax.tree_util.keystr(path, simple=True, separator="/"): leaf for path, leaf in leaves}


def test_programs_run_without_recur(tmp_path):
    """Whole sequences, with params apart and step by step: the outputs are those of the layer."""
    expected = {}
    for name in LAYERS:
        layer, params, xs, context = draw(name)
        export_program(tmp_path / f"{name}.zip", layer, params, xs, context=context)
        given = full_names({"xs": xs, "length": LENGTH} | ({"context": context} if context else {}))
        np.savez(tmp_path / f"{name}.npz", **given)
        carry, ys = layer.run(params, xs, context=context, length=LENGTH)
        expected[name] = [*dict(sorted(full_names(carry).items())).values(), *jax.tree.leaves(ys)]
    export_program(tmp_path / "step.zip", layer, params, xs, context=context, step=True)
    expected["step"] = expected["attention"]
    layer, params, xs, _ = draw("lstm")
    export_program(tmp_path / "params.zip", layer, params, xs, separate_params=True)
    save_params(tmp_path / "model.safetensors", params)
    weights = full_names({"params": recur.train.load_params(tmp_path / "model.safetensors")})
    np.savez(tmp_path / "params.npz", xs=xs, length=LENGTH, **weights)
    expected["params"] = expected["lstm"]
    subprocess.run([sys.executable, "-c", WITHOUT_RECUR], check=True, cwd=tmp_path)
    for name, leaves in expected.items():
        with np.load(tmp_path / f"found {name}.npz") as found:
            for ours, theirs in zip(leaves, found.values(), strict=True):
                np.testing.assert_allclose(ours, theirs, rtol=1e-5, atol=1e-6, err_msg=name)


@pytest.fixture(scope="module")
def steps(tmp_path_factory):
    """One step of an LSTM with a learned initial carry, and its file."""
    path = tmp_path_factory.mktemp("programs") / "step.zip"
    layer, params, xs, _ = draw("lstm")
    export_program(path, layer, params, xs, step=True)
    return load_program(path), path


def test_sessions_start_pause_and_restart_in_any_row(steps):
    program, _ = steps
    layer, params, xs, _ = draw("lstm")
    run = jax.jit(lambda xs: layer.run(params, xs))
    carry, outputs = program.zero_carry(2), []
    flags = [  # the steps that count, and those at which a session starts
        ([True, True], [True, True]),
        ([True, False], [False, False]),
        ([True, True], [True, False]),
        ([True, True], [False, False]),
    ]
    for t, (mask, reset) in enumerate(flags):
        carry, y = program(carry=carry, x=xs[:2, t], mask=np.array(mask), reset=np.array(reset))
        outputs.append(y)
    first, second = run(xs[:1, 2:4]), run(xs[1:2, [0, 2, 3]])
    assert_close(outputs[3], jnp.concatenate([first[1][:, 1], second[1][:, 2]]), 1e-5)
    assert not outputs[1][1].any()
    assert carry.keys() == {"0/hidden", "0/cell"}
    hidden = jnp.concatenate([first[0][0].hidden, second[0][0].hidden])
    assert_close(carry["0/hidden"], hidden, 1e-5)


def test_any_number_of_rows_and_steps(tmp_path):
    layer, params, xs, _ = draw("lstm")
    export_program(tmp_path / "a", layer, params, jax.ShapeDtypeStruct((1, 1, 2), jnp.float32))
    program = load_program(tmp_path / "a")
    assert program.exported.platforms == ("cpu", "cuda", "tpu")
    assert repr(program) == f"Program({layer})"
    for rows, count in ((3, 5), (1, 2), (2, 1)):
        length = LENGTH[:rows].clip(max=count)
        carry, ys = program(xs=xs[:rows, :count], length=list(map(int, length)))
        expected = layer.run(params, xs[:rows, :count], length=length)
        assert_close(ys, expected[1], 1e-5)
        assert_close(carry["0/cell"], expected[0][0].cell, 1e-5)


def test_sizes_that_are_fixed_and_symbolic_sizes_of_the_user(tmp_path):
    layer = recur.batch(recur.truncate(recur.scan(recur.gru(3)), 1, 2))
    params = layer.init(jax.random.key(0), XS)
    export_program(tmp_path / "a", layer, params, XS, symbolic=False, platforms=["cpu"])
    assert [each["shape"] for each in load_program(tmp_path / "a").description["inputs"]] == [
        [3],
        [3, 5, 2],
    ]
    layer, params, xs, context = draw("attention")
    s, t = export.symbolic_shape("s, u")
    source = Padded(jax.ShapeDtypeStruct((3, s), jnp.int32), jax.ShapeDtypeStruct((3,), jnp.int32))
    shape = jax.ShapeDtypeStruct((3, t), jnp.int32)
    export_program(tmp_path / "b", layer, params, shape, context={"source": source})
    program = load_program(tmp_path / "b")
    shapes = {each["name"]: each["shape"] for each in program.description["inputs"]}
    assert shapes["context/source/steps"] == ["b", "s"] and shapes["xs"] == ["b", "u"]
    short = {"source": Padded(IDS[:, :2], np.array([2, 1, 2], np.int32))}
    _, ys = program(xs=xs[:, :3], length=LENGTH.clip(max=3), context=short)
    expected = layer(params, xs[:, :3], length=LENGTH.clip(max=3), context=short)
    assert_close(ys["weights"], expected["weights"], 1e-5)


@pytest.mark.parametrize(
    "layer",
    [
        recur.scan(recur.gru(3, dtype=jnp.bfloat16)),
        recur.scan(recur.lru(3)),
        recur.associative(recur.min_gru(3)),
        recur.chain(nn.Dense(3)),  # without a carry
        recur.batch(recur.batch(recur.scan(recur.elman(3)))),
    ],
    ids=repr,
)
def test_other_layers(tmp_path, layer):
    xs = XS if layer.batch_axes else XS[0]
    xs = xs[None] if layer.batch_axes == 2 else xs
    params = layer.init(jax.random.key(0), xs)
    export_program(tmp_path / "a", layer, params, xs, step=True)
    program = load_program(tmp_path / "a")
    rows = xs.shape[: layer.batch_axes]
    flags = np.ones(rows, bool)
    carry = program.zero_carry(*rows)
    given = {"carry": carry} if carry else {}
    carry, y = program(**given, x=xs[(slice(None),) * len(rows) + (0,)], mask=flags, reset=flags)
    expected = layer(params, xs)[(slice(None),) * len(rows) + (0,)]
    assert y.dtype == expected.dtype
    assert_close(y.astype(jnp.float32), expected.astype(jnp.float32), 1e-5)


def test_the_description_has_the_order_of_the_program(steps):
    program, path = steps
    with zipfile.ZipFile(path) as file:
        description = json.loads(file.read("description.json"))
    assert description == program.description
    assert [
        (tuple(map(str, aval.shape)), aval.dtype.name) for aval in program.exported.in_avals
    ] == [(tuple(map(str, each["shape"])), each["dtype"]) for each in description["inputs"]]
    assert [each["name"] for each in description["inputs"]] == [
        "carry/0/cell",
        "carry/0/hidden",
        "mask",
        "reset",
        "x",
    ]
    assert [each["name"] for each in description["outputs"]] == [
        "carry/0/cell",
        "carry/0/hidden",
        "y",
    ]
    assert len(program.exported.out_avals) == 3


def test_no_damage_goes_unnoticed(steps, tmp_path):
    """A file that is cut or has one wrong bit is an error, or has the same content."""
    _, path = steps
    content, rng, errors = path.read_bytes(), np.random.default_rng(0), 0
    damaged = [content[:size] for size in (0, 30, len(content) // 2, len(content) - 1)]
    with zipfile.ZipFile(path) as file:
        listed = file.start_dir
        same = [file.read(name) for name in ("description.json", "program.bin")]
    for place in [*rng.integers(0, len(content), 60), *rng.integers(listed, len(content), 60)]:
        wrong = bytearray(content)
        wrong[place] ^= 1 << rng.integers(8)
        damaged.append(bytes(wrong))
    for wrong in damaged:
        (tmp_path / "a").write_bytes(wrong)
        try:
            load_program(tmp_path / "a")
        except ValueError as error:
            assert re.match("load_program: .*a: expected a file of export_program, got", str(error))
            errors += 1
        else:
            with zipfile.ZipFile(tmp_path / "a") as file:
                assert [file.read(name) for name in ("description.json", "program.bin")] == same
    assert errors > 80
