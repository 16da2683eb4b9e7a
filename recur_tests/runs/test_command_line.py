"""A mistake of the user is one line, a bug is a traceback with a note."""

import dataclasses
import errno
import importlib
import json
import pathlib
import shlex
import sys

import numpy as np
import pytest

from recur.runs import Seed, Size, check_options, command_line, parse_options, run_command
from recur.sequences import Streams


@pytest.fixture(autouse=True)
def restored(monkeypatch):
    """`run_command` wraps the streams of the process."""
    for name in ("stdout", "stderr", "unraisablehook"):
        monkeypatch.setattr(sys, name, getattr(sys, name))


def raises(error):
    raise error


@dataclasses.dataclass(frozen=True)
class Options:
    """Train."""

    run: pathlib.Path | None = None
    text: tuple[pathlib.Path, ...] = ()
    features: Size = 8
    seed: Seed = 0
    name: str = "x"


MISTAKES = {
    "of the library": (lambda: Streams([np.arange(3)], 4, 4), "need at least 16 steps, got 2"),
    "of the system": (lambda: open("/none"), "No such file or directory: '/none'"),
    "of what is not installed": (lambda: importlib.import_module("abacus"), "No module named"),
    "a loss": (lambda: raises(FloatingPointError("update 3: the loss is nan.")), "update 3"),
    "a full disk": (lambda: raises(OSError(errno.ENOSPC, "No space")), "No space. Make room, or"),
    "memory of NumPy": (lambda: np.ones((10**6, 10**6, 10**4)), "sizes that fit into memory"),
    "memory of XLA": (lambda: raises(ValueError("RESOURCE_EXHAUSTED: 4 TB")), "larger ones ("),
    "of two lines": (lambda: raises(OSError("first\nsecond")), "test: first"),
    "of the script": (lambda: raises(ValueError("expected a")), "test: expected a"),
    "an option": (lambda: check_options(Options(seed=-1)), "--seed: expected from 0 to 4,294"),
}


@pytest.mark.parametrize("name", MISTAKES)
def test_a_mistake_is_one_line(name):
    run, message = MISTAKES[name]
    with pytest.raises(SystemExit) as stopped:
        run_command("test", lambda arguments: run(), [])
    assert message in stopped.value.code and stopped.value.code.startswith("test: ")
    assert "\n" not in stopped.value.code


BUGS = {
    "a key": (lambda: {}["loss"], KeyError),
    "a type": (lambda: len(5), TypeError),
    "a ValueError of Python": (lambda: int("x"), ValueError),
    "a ValueError of NumPy": (lambda: np.zeros(3) + np.zeros(4), ValueError),
    "a ValueError of the standard library": (lambda: json.loads("{"), ValueError),
    "a number too large": (lambda: np.int64(2**63), OverflowError),
}


@pytest.mark.parametrize("name", BUGS)
def test_a_bug_is_a_traceback_that_says_where_to_report_it(name):
    run, kind = BUGS[name]
    with pytest.raises(kind) as raised:
        run_command("test", lambda arguments: run(), [])
    [note] = raised.value.__notes__
    assert note.startswith("This is a bug in recur")


def test_ctrl_c_is_one_line():
    with pytest.raises(SystemExit, match="test: stopped. All is lost."):
        run_command("test", lambda _: raises(KeyboardInterrupt), [], interrupted="All is lost.")


def test_arguments_are_those_of_the_process(monkeypatch):
    monkeypatch.setattr(sys, "argv", ["test.py", "--seed", "1"])
    seen = []
    run_command("test", seen.extend)
    assert seen == ["--seed", "1"]


def test_a_command_line_can_be_typed_as_it_is_shown(monkeypatch):
    monkeypatch.setattr(sys, "argv", ["scripts/char_lm.py", "--seed", "1"])
    command = command_line("--run", pathlib.Path("my runs/$x"), 3)
    assert shlex.split(command) == ["python", "scripts/char_lm.py", "--run", "my runs/$x", "3"]


def test_paths_are_absolute_except_that_of_the_run(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    options = parse_options(Options, "--run a --text b c".split(), "test.py")
    texts = (tmp_path / "b", tmp_path / "c")
    assert options == Options(run=pathlib.Path("a"), text=texts)


def test_an_instance_has_the_defaults():
    options = parse_options(Options(features=3), ["--seed", "5"], "test.py")
    assert options == Options(features=3, seed=5)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--features", "0"], "--features: expected from 1 to 1,000,000, got 0"),
        (["--seed", "-1"], "--seed: expected from 0 to 4,294,967,295, got -1"),
        (["--name", "\udcff"], "--name: expected text in UTF-8, got"),
    ],
)
def test_options_out_of_range(arguments, message):
    with pytest.raises(ValueError, match=message):
        parse_options(Options, arguments, "test.py")


def test_saved_options_are_the_defaults_of_a_resumed_run(tmp_path, monkeypatch):
    saved = {"run": None, "text": [], "features": 5, "seed": 7, "name": "y"}
    (tmp_path / "options.json").write_text(json.dumps(saved))
    arguments = ["--run", str(tmp_path), "--seed", "9"]
    resumed = parse_options(Options, arguments, "test.py", resume=True)
    assert resumed == Options(run=tmp_path, features=5, seed=9, name="y")
    assert parse_options(Options, arguments, "test.py") == Options(run=tmp_path, seed=9)
    monkeypatch.chdir(tmp_path)  # options.json here is not of a run that is not named
    assert parse_options(Options, [], "test.py", resume=True) == Options()
