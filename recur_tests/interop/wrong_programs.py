"""Wrong inputs of exported programs, for `test_wrong_input`."""

import functools
import json
import pathlib
import tempfile
import zipfile

import jax
import numpy as np
from flax import linen as nn

import recur
from recur.interop import export_onnx, export_program, load_program
from recur_tests.wrong_input import NO_LAYERS, Row

XS = np.ones((2, 5, 3), np.float32)
LAYER = recur.batch(recur.scan(recur.gru(4)))
PARAMS = jax.tree.map(
    lambda leaf: np.ones(leaf.shape, leaf.dtype), jax.eval_shape(LAYER.init, jax.random.key(0), XS)
)
NAN = PARAMS._replace(recurrent_bias=np.array([1, 1, np.nan, 1], np.float32))
BACK = recur.batch(recur.scan(recur.gru(4), reverse=True))
POOLED = recur.batch(recur.pooled(recur.scan(recur.gru(4)), recur.sequences.pool.last))
FOLDER = tempfile.TemporaryDirectory()
PATH = pathlib.Path(FOLDER.name) / "program.zip"


def exporting(export, layer=LAYER, params=PARAMS, xs=XS, **options):
    path = pathlib.Path(FOLDER.name) / "new.zip"
    try:
        export(path, layer, params, xs, **options)
    finally:
        assert not path.exists()


def shared_rows(export):
    """Rows of both functions that export."""
    name = export.__name__
    cases = [
        *(({"layer": layer}, TypeError, s) for layer, s in NO_LAYERS.values()),
        ({"params": NAN}, ValueError, "recurrent_bias has 1 of 4 entries that are NaN or infinite"),
        ({"params": "gru"}, TypeError, "params: expected an array of numbers or flags, got str."),
        ({"params": None}, TypeError, "expected params as `init` of the layer returns them, got"),
        ({"params": {"a": XS}}, TypeError, "gru: expected params as GRUParams, got dict."),
        ({"step": 1}, TypeError, "step: expected True or False, got 1."),
        ({"symbolic": "b"}, TypeError, "symbolic: expected True or False, got 'b'."),
        (
            {"layer": BACK, "step": True},
            ValueError,
            "step=True: expected a layer that reads forward",
        ),
        (
            {"layer": POOLED, "step": True},
            ValueError,
            ", which needs whole sequences. Export it with",
        ),
        ({"xs": [1.0, 2.0]}, TypeError, "xs: expected arrays or their shapes, got float."),
        ({"xs": XS[0, 0]}, ValueError, "expected xs of shape [B, T, ...], got [3]"),
        ({"xs": {}}, ValueError, "xs holds no array, so it has no steps."),
        ({"context": XS}, TypeError, "expected the context as a mapping of names to values"),
        (
            {"context": {"m": XS[:1]}},
            ValueError,
            "expected one entry of the context for each row of xs, [2], got the shape [1, 5, 3].",
        ),
    ]
    for options, error, sentence in cases:
        yield Row(name, functools.partial(exporting, export, **options), error, sentence)


def running(steps, changes, **zero):
    """Calls the program of whole sequences or of one step with changed inputs."""
    if not PATH.exists():
        export_program(PATH, LAYER, PARAMS, XS)
        export_program(PATH.with_name("step.zip"), LAYER, PARAMS, XS, step=True)
    program = load_program(PATH.with_name("step.zip") if steps else PATH)
    if zero:
        program.zero_carry(*zero["rows"])
    flags = np.ones(2, bool)
    inputs = {"xs": XS, "length": [5, 5]}
    if steps:
        inputs = {"x": XS[:, 0], "mask": flags, "reset": flags, "carry": {"value": XS[:, 0, :1]}}
    inputs |= changes
    program(**{name: value for name, value in inputs.items() if value is not None})


CALLS = [
    (False, {"xs": None}, "program: missing xs. Expected length, xs."),
    (False, {"ys": XS, "z": XS}, "program: unexpected ys, z. Expected length, xs."),
    (False, {"xs": {"a": XS}}, "program: missing xs. Expected"),
    (False, {"xs": XS[:, 0]}, "xs: expected float32[b, t, 3] with b = 2, got float32[2, 3]."),
    (False, {"xs": XS[..., :2]}, "xs: expected float32[b, t, 3] with b = 2, t = 5, got float32[2,"),
    (False, {"xs": XS[:1]}, "xs: expected float32[b, t, 3] with b = 2, got float32[1, 5, 3]."),
    (False, {"xs": XS.astype(int)}, "got int64[2, 5, 3]."),
    (False, {"xs": XS.astype(float)}, "got float64[2, 5, 3]."),
    (
        False,
        {"length": [5, 6]},
        "length of row 1: expected from 0 to 5, the number of steps, got 6",
    ),
    (False, {"length": [5.0, 2.0]}, "length: expected int32[b] with b = 2, got float64[2]."),
    (
        False,
        {"xs": XS[:, :0], "length": [0, 0]},
        "program: xs: expected t >= 1, got the shape [2, 0, 3]. Leave out calls without rows",
    ),
    (False, {"xs": XS[:0], "length": np.zeros(0, int)}, "expected b >= 1, got the shape [0]."),
    (True, {"carry": None}, "program: missing carry/value. Expected carry/value, mask, reset, x."),
    (True, {"carry": {"hidden": XS[:, 0]}}, "program: missing carry/value."),
    (True, {}, "carry/value: expected float32[b, 4] with b = 2, got float32[2, 1]."),
    (
        True,
        {"carry": {"value": np.ones((2, 4), np.float32)}, "mask": [1, 1]},
        "mask: expected bool[b",
    ),
]


def loading(content, **changes):
    path = pathlib.Path(FOLDER.name) / "other.zip"
    if content is None:
        description = {"format": "recur program", "format_version": 1, "step": False, "layer": ""}
        description |= {"versions": {"recur": "9.1", "jax": "9.2"}} | changes
        with zipfile.ZipFile(path, "w") as file:
            file.writestr("description.json", json.dumps(description))
            file.writestr("program.bin", b"not a program")
    else:
        path.write_bytes(content)
    load_program(path)


FILES = [
    (b"", {}, "expected a file of export_program, got another or a damaged one (File is not a zip"),
    (b"PK\5\6" + bytes(18), {}, "(\"There is no item named 'description.json' in the archive\")"),
    (None, {"format": "model"}, "expected the format 'recur program', got 'model'."),
    (None, {"format_version": 2}, "expected version 1 of the format, got 2 of recur 9.1. Update"),
    (None, {"versions": 3}, "expected a file of export_program, got another or a damaged one"),
    (None, {}, f"JAX {jax.__version__} cannot read a program of JAX 9.2 ("),
]
PLATFORMS = ("cpu", [], ["gpu"], ["cpu", "tpus"], None, [3])
ROWS = [
    *shared_rows(export_program),
    *shared_rows(export_onnx),
    *(
        Row(
            "export_program",
            functools.partial(exporting, export_program, platforms=platforms),
            ValueError,
            "export_program: expected platforms as a list of cpu, cuda, tpu, rocm, got",
        )
        for platforms in PLATFORMS
    ),
    Row(
        "export_program",
        functools.partial(exporting, export_program, separate_params=0),
        TypeError,
        "separate_params: expected True or False, got 0.",
    ),
    Row(
        "export_program",
        lambda: exporting(
            export_program, recur.batch(recur.truncate(recur.scan(recur.gru(4)), 1, 2))
        ),
        ValueError,
        "truncate: expected a known number of steps, got the symbolic dimension t.",
    ),
    Row(
        "export_program",
        lambda: exporting(
            export_program,
            recur.batch(recur.chain(nn.Embed(3, 3), recur.scan(recur.gru(4)))),
            ({"params": {"a/b": XS, "a": {"b": XS}}}, PARAMS),
            XS[..., 0].astype(np.int32),
            separate_params=True,
        ),
        ValueError,
        "expected a name of its own for each array, got",
    ),
    *(
        Row("load_program", functools.partial(running, steps, changes), ValueError, sentence)
        for steps, changes, sentence in CALLS
    ),
    Row(
        "load_program",
        functools.partial(running, False, {"xs": "abc"}),
        TypeError,
        "program: xs: expected an array of numbers, got str.",
    ),
    Row(
        "load_program",
        functools.partial(running, True, {}, rows=()),
        ValueError,
        "zero_carry: expected the numbers of rows ['b'], one for each batch axis, got [].",
    ),
    Row(
        "load_program",
        functools.partial(running, False, {}, rows=(2,)),
        ValueError,
        "zero_carry: expected the program of one step, as export_program writes with step=True",
    ),
    *(
        Row("load_program", functools.partial(loading, content, **changes), ValueError, sentence)
        for content, changes, sentence in FILES
    ),
    Row("load_program", lambda: load_program("no such file"), FileNotFoundError, "no such file"),
]
