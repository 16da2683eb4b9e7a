"""Files of scripts: written atomically, and damage is an error that names the file."""

import errno
import importlib
import os
import pathlib
import random
import typing

import jax
import numpy as np
import pytest


@pytest.fixture(scope="module")
def saving(scripts):
    return importlib.import_module("saving")


def test_a_file_that_cannot_be_written_is_named_and_stays_as_it_was(saving, tmp_path):
    path = tmp_path / "a.json"
    saving.write_json(path, {"a": tmp_path})
    assert saving.read_json(path) == {"a": str(tmp_path)}
    for code in (errno.ENOSPC, errno.EIO):
        with pytest.raises(OSError, match="a.json: it could not be written") as raised:
            with saving.writing(path) as file:
                file.write("half")
                raise OSError(code, "")
        assert f"({os.strerror(code)})." in str(raised.value)
        assert ("Make room" in str(raised.value)) == (code == errno.ENOSPC)
    assert saving.read_json(path) == {"a": str(tmp_path)}
    assert [each.name for each in tmp_path.iterdir()] == ["a.json"]


@pytest.mark.parametrize("text", ["", "{", "[" * 100_000, "\ud800", "5", "null"])
def test_what_is_no_json_object(saving, tmp_path, text):
    (tmp_path / "a.json").write_bytes(text.encode("utf-8", "surrogatepass"))
    with pytest.raises(ValueError, match="a.json: expected JSON"):
        saving.read_json(tmp_path / "a.json")


@pytest.mark.parametrize(
    ("hint", "right", "wrong"),
    [
        (int, [3, -1], [True, 3.0, "3", None]),
        (float, [3, 0.5], [False, "0.5", None]),
        (bool, [True], [1, None]),
        (int | None, [3, None], ["3"]),
        (float | typing.Literal["average"], [1.0, 2, "average"], ["none", None]),
        (pathlib.Path | None, ["a", None], [3, "a\0"]),
        (tuple[pathlib.Path, ...], [[], ["a"]], ["a", [3], None]),
    ],
)
def test_what_a_type_hint_allows(saving, hint, right, wrong):
    assert all(saving.is_of(hint, value) for value in right)
    assert not any(saving.is_of(hint, value) for value in wrong)


@pytest.mark.parametrize(
    ("line", "message"),
    [
        ('{"loss": 1.0}', "line 2: expected a number as step, got None"),
        ('{"step": 2}', "line 2: expected a number as loss, got None"),
        ('{"step": 2, "loss": 1, "bits": "x"}', "line 2: expected a number as bits, got 'x'"),
        (f'{{"step": {10**400}, "loss": 1}}', "line 2: expected a number as step, got 1000"),
    ],
)
def test_metrics_that_are_none(saving, tmp_path, line, message):
    path = tmp_path / "metrics.jsonl"
    path.write_text('{"step": 1, "loss": NaN}\n' + line + "\n")
    with pytest.raises(ValueError, match=message):
        saving.read_metrics(path, "loss")


def test_arrays_come_back_or_are_told_to_be_damaged(saving, tmp_path):
    arrays = [np.arange(6, dtype=np.float32).reshape(2, 3), np.ones((), np.int32), np.zeros((0, 2))]
    like = [jax.ShapeDtypeStruct(each.shape, each.dtype) for each in arrays]
    path = tmp_path / "a.npz"
    saving.write_arrays(path, arrays)
    found = saving.read_arrays(path, like)
    assert all(
        a.dtype == b.dtype and np.array_equal(a, b) for a, b in zip(arrays, found, strict=True)
    )
    with pytest.raises(ValueError, match="a.npz: expected the weights of this model"):
        saving.read_arrays(path, [*like, like[0]])
    with pytest.raises(ValueError, match=r"arr_0.npy is float32\[2, 3\], not float32\[2, 4\]"):
        saving.read_arrays(path, [jax.ShapeDtypeStruct((2, 4), np.float32)])
    whole, draws = path.read_bytes(), random.Random(0)
    for number in range(100):
        data = bytearray(whole[: draws.randrange(len(whole))] if number % 2 else whole)
        if data:
            data[draws.randrange(len(data))] ^= 1 << draws.randrange(8)
        path.write_bytes(data)
        try:
            found = saving.read_arrays(path, like)
        except ValueError as error:
            assert "expected the weights of this model" in str(error)
        else:  # of a byte that no reader looks at
            assert all(map(np.array_equal, arrays, found))
