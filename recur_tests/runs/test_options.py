"""The valid ranges of options, and their file."""

import dataclasses
import json
import pathlib
import typing
from typing import Annotated, Literal

import pytest

from recur.runs import (
    Count,
    Finite,
    NonNegative,
    Positive,
    Rate,
    Seed,
    Size,
    between,
    check_options,
)
from recur.runs.options import check_unchanged, is_of, load_options, save_options

INFINITE, NAN = float("inf"), float("nan")


@pytest.mark.parametrize(
    ("kind", "right", "wrong", "message"),
    [
        (Size, [1, 10**6], [0, -1, 10**12], "expected from 1 to 1,000,000"),
        (Count, [1, 10**9], [0, 10**10], "expected from 1 to 1,000,000,000"),
        (Seed, [0, 2**32 - 1], [-1, 2**63], "expected from 0 to 4,294,967,295"),
        (Rate, [0.0, 0.99], [1.0, -0.1, NAN], "expected from 0 to below 1"),
        (Positive, [1e-9, 5], [0.0, -1.0, INFINITE, NAN], "expected above 0"),
        (NonNegative, [0.0, 5], [-1.0, INFINITE, NAN], "expected at least 0"),
        (Finite, [-1.0, 0], [INFINITE, NAN], "expected a finite number"),
        (Size | None, [1, None], [0], "expected from 1 to 1,000,000"),
        (Positive | Literal["average"], [1.0, "average"], [0.0], "expected above 0"),
        (Annotated[int, between(4, 1000)], [4, 1000], [3, 1001], "expected from 4 to 1,000"),
        (int, [-5, 10**20], [], ""),
    ],
)
def test_an_error_names_the_option_and_its_range(kind, right, wrong, message):
    made = dataclasses.make_dataclass("Options", [("batch_size", kind)])
    for value in right:
        check_options(made(value))
    for value in wrong:
        with pytest.raises(ValueError, match=f"--batch-size: {message}, got {value}."):
            check_options(made(value))


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
def test_what_a_type_hint_allows(hint, right, wrong):
    assert all(is_of(hint, value) for value in right)
    assert not any(is_of(hint, value) for value in wrong)


@dataclasses.dataclass(frozen=True)
class Options:
    """Of a run."""

    run: pathlib.Path | None = None
    text: tuple[pathlib.Path, ...] = ()
    test: pathlib.Path | None = None
    features: Size = 8
    clip: Positive | Literal["none"] = 1.0


def test_saved_options_are_loaded(tmp_path):
    options = Options(tmp_path, (pathlib.Path("/a"), pathlib.Path("/b")), None, 3, "none")
    save_options(tmp_path / "options.json", options)
    assert json.loads((tmp_path / "options.json").read_text())["run"] is None  # it may be moved
    assert load_options(tmp_path / "options.json", Options) == options


@pytest.mark.parametrize(
    ("changed", "message"),
    [
        ({"features": "8"}, "expected the options of a run of this script, got features = '8'"),
        ({"pieces": 3}, "got pieces = 3"),
        ({"features": 0}, "--features: expected from 1 to 1,000,000, got 0"),
    ],
)
def test_a_damaged_file_of_options(tmp_path, changed, message):
    path = tmp_path / "options.json"
    save_options(path, Options())
    path.write_text(json.dumps(json.loads(path.read_text()) | changed))
    with pytest.raises(ValueError, match=f"options.json: .*{message}"):
        load_options(path, Options)


def test_options_that_differ(tmp_path):
    path = tmp_path / "options.json"
    save_options(path, Options(features=8))
    check_unchanged(path, Options(run=tmp_path, features=8), ())
    check_unchanged(path, Options(features=9), ["features"])
    with pytest.raises(ValueError, match="expected the features of the run that is there, 8, got"):
        check_unchanged(path, Options(features=9), ["clip"])
    with pytest.raises(ValueError, match="the units of the run that is there, None, got 3"):
        check_unchanged(path, {**dataclasses.asdict(Options()), "units": 3}, ())
