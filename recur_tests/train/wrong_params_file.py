"""Wrong inputs of the functions for files of params, for `test_wrong_input`."""

import functools
import pathlib
import tempfile

import jax
import numpy as np
from safetensors.numpy import save

from recur.train import load_params, read_metadata, save_params, write_model_card
from recur_tests.wrong_input import Row

ONES = np.ones(2, np.float32)
PARAMS = {"a": ONES, "b": {"c": np.zeros((3, 2), np.int32)}}
SAVED = save({"a": ONES, "b/c": PARAMS["b"]["c"]}, {"cell": "gru"})
UNKNOWN = SAVED.replace(b'"F32"', b'"F64"')
KEY = jax.random.key(0)
HOLDS = "expected a dtype that safetensors can hold, got "


def saving(params, metadata=None):
    with tempfile.TemporaryDirectory() as folder:
        path = pathlib.Path(folder) / "model.safetensors"
        try:
            save_params(path, params, metadata)
        finally:
            assert not list(pathlib.Path(folder).iterdir())


def reading(read, content, *like):
    with tempfile.TemporaryDirectory() as folder:
        path = pathlib.Path(folder) / "model.safetensors"
        if content is not None:
            path.write_bytes(content)
        read(path, *like)


def writing(params=PARAMS, title="A GRU", **options):
    with tempfile.TemporaryDirectory() as folder:
        try:
            write_model_card(pathlib.Path(folder) / "README.md", params, title=title, **options)
        finally:
            assert not list(pathlib.Path(folder).iterdir())


CARDS = [
    ({"title": 3}, TypeError, "title: expected a string, got 3."),
    ({"title": " "}, ValueError, "title: expected a name, got an empty string."),
    ({"description": None}, TypeError, "description: expected a string, got None."),
    ({"license": ["mit"]}, TypeError, "license: expected a string, got ['mit']."),
    ({"weights": None}, TypeError, "weights: expected a string, got None."),
    ({"tags": "jax"}, TypeError, "tags: expected a list of strings, got 'jax'."),
    ({"datasets": [3]}, TypeError, "datasets: expected a list of strings, got [3]."),
    ({"metrics": ["loss"]}, TypeError, "metrics: expected numbers by name, got ['loss']."),
    ({"metrics": {"loss": "low"}}, TypeError, "metrics: loss: expected a number, got 'low'."),
    ({"metrics": {"a": np.nan}}, ValueError, "metrics: a: expected a finite number, got nan."),
    ({"layer": "gru"}, TypeError, "layer: expected a layer, got str."),
    ({"params": {"a": "gru"}}, TypeError, f"params: 'a': {HOLDS}str"),
]
DAMAGED = [
    (b"", ValueError, "model.safetensors: expected a safetensors file (Error"),
    (b"not one at all", ValueError, "expected a safetensors file (Error"),
    (b"\x02" + 7 * b"\0" + b"[]", ValueError, "expected a safetensors file (Error"),
    (SAVED[:-1], ValueError, "expected a safetensors file (Error"),
    (UNKNOWN, ValueError, "expected a safetensors file (Error"),
    (None, FileNotFoundError, "model.safetensors"),
]
ROWS = [
    *(
        Row("write_model_card", functools.partial(writing, **options), error, sentence)
        for options, error, sentence in CARDS
    ),
    *(
        Row("save_params", functools.partial(saving, params), error, f"save_params: params{s}")
        for params, error, s in (
            ({"a": np.ones(2, complex)}, TypeError, f": 'a': {HOLDS}complex128. It holds bool, "),
            ((1.0, 1j), TypeError, f": '1': {HOLDS}complex128."),
            ({"a": "lstm"}, TypeError, f": 'a': {HOLDS}str"),
            ({"a": 2**64}, TypeError, f": 'a': {HOLDS}object."),
            ({"a": np.ones(2, jax.numpy.int4)}, TypeError, f": 'a': {HOLDS}int4."),
            ({"a": np.zeros(2, "datetime64[s]")}, TypeError, f": 'a': {HOLDS}datetime64"),
            (
                {"a": KEY},
                TypeError,
                ": 'a': expected an array of numbers, got a typed key. Convert",
            ),
            (
                {"a/b": ONES, "a": {"b": ONES}},
                ValueError,
                ": expected a name of its own for each array, got 'a/b' twice. Rename one",
            ),
            (
                {"__metadata__": ONES},
                ValueError,
                ": expected another name than '__metadata__', which is reserved.",
            ),
        )
    ),
    *(
        Row("save_params", functools.partial(saving, PARAMS, metadata), error, sentence)
        for metadata, error, sentence in (
            (
                {"width": 8},
                TypeError,
                "save_params: metadata: expected a mapping of strings to strings, got {'width': 8}",
            ),
            ({8: "width"}, TypeError, "got {8: 'width'}."),
            ([("a", "b")], TypeError, "got [('a', 'b')]."),
            ("lstm", TypeError, "got 'lstm'."),
            ({"a": "\ud800"}, ValueError, "names and metadata as valid Unicode, got '\\ud800'."),
        )
    ),
    Row(
        "save_params",
        functools.partial(saving, {"\udfff": ONES}),
        ValueError,
        "names and metadata as valid Unicode, got '\\udfff'.",
    ),
    *(
        Row(read.__name__, functools.partial(reading, read, content), error, sentence)
        for read in (load_params, read_metadata)
        for content, error, sentence in DAMAGED
    ),
    *(
        Row("load_params", functools.partial(reading, load_params, SAVED, like), error, sentence)
        for like, error, sentence in (
            (
                PARAMS | {"z": ONES},
                ValueError,
                "expected float32[2] at 'z', as in like, but the file has nothing. Make like with",
            ),
            (
                {"a": ONES},
                ValueError,
                "expected nothing at 'b/c', as in like, but the file has int32[3,2].",
            ),
            ({}, ValueError, "expected nothing at 'a', as in like, but the file has float32[2]."),
            (
                PARAMS | {"a": np.ones(3, np.float32)},
                ValueError,
                "model.safetensors: expected float32[3] at 'a', as in like, but the file has",
            ),
            (
                PARAMS | {"a": jax.ShapeDtypeStruct((2,), np.float16)},
                ValueError,
                "expected float16[2] at 'a', as in like, but the file has float32[2].",
            ),
            (PARAMS | {"a": "lstm"}, TypeError, f"load_params: like: 'a': {HOLDS}str"),
            (
                PARAMS | {"a": KEY},
                TypeError,
                "load_params: like: 'a': expected an array of numbers",
            ),
        )
    ),
    Row(
        "load_params",
        functools.partial(
            reading,
            load_params,
            b'\x40\0\0\0\0\0\0\0{"a":{"dtype":"F4","shape":[2],"data_offsets":[0,1]}}'.ljust(72)
            + b"0",
        ),
        ValueError,
        "'a': expected a dtype of NumPy, got F4. The supported ones are BOOL, U8",
    ),
]
