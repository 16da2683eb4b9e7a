"""A mistake of the user is one line, a bug is a traceback with a note."""

import dataclasses
import errno
import importlib
import json
import sys

import numpy as np
import pytest

from recur.sequences import Streams


@pytest.fixture
def running(scripts, monkeypatch):
    for its_own in ("stdout", "stderr", "unraisablehook"):
        monkeypatch.setattr(sys, its_own, getattr(sys, its_own))
    return importlib.import_module("running")


def raises(error):
    raise error


MISTAKES = {
    "of the library": (lambda: Streams([np.arange(3)], 4, 4), "need at least 16 steps, got 2"),
    "of the system": (lambda: open("/none"), "No such file or directory: '/none'"),
    "of what is not installed": (lambda: importlib.import_module("abacus"), "No module named"),
    "a loss": (lambda: raises(FloatingPointError("update 3: the loss is nan.")), "update 3"),
    "a full disk": (lambda: raises(OSError(errno.ENOSPC, "No space")), "No space. Make room, or"),
    "NumPy's memory": (lambda: np.ones((10**6, 10**6, 10**4)), "sizes that fit into memory"),
    "XLA's memory": (lambda: raises(ValueError("RESOURCE_EXHAUSTED: 4 TB")), "got larger ones ("),
    "of two lines": (lambda: raises(OSError("first\nsecond")), "test: first"),
}


@pytest.mark.parametrize("name", MISTAKES)
def test_a_mistake_is_one_line(running, name):
    run, message = MISTAKES[name]
    with pytest.raises(SystemExit) as stopped:
        running.run_script("test", lambda arguments: run(), [], running.IS_KEPT)
    assert message in stopped.value.code and stopped.value.code.startswith("test: ")
    assert "\n" not in stopped.value.code


def test_a_mistake_that_a_script_finds(running):
    bounds = importlib.import_module("bounds")
    options = dataclasses.make_dataclass("Options", [("seed", int)])(-1)
    with pytest.raises(SystemExit, match="--seed: expected from 0 to 4,294,967,295, got -1"):
        running.run_script("test", lambda _: bounds.check_numbers(options), [], running.IS_KEPT)


DEFECTS = {
    "a key": (lambda: {}["loss"], KeyError),
    "a type": (lambda: len(5), TypeError),
    "a ValueError of Python": (lambda: int("x"), ValueError),
    "a ValueError of NumPy": (lambda: np.zeros(3) + np.zeros(4), ValueError),
    "a ValueError of the standard library": (lambda: json.loads("{"), ValueError),
    "a number too large": (lambda: np.int64(2**63), OverflowError),
}


@pytest.mark.parametrize("name", DEFECTS)
def test_a_defect_is_a_traceback_that_says_where_to_report_it(running, name):
    run, kind = DEFECTS[name]
    with pytest.raises(kind) as raised:
        running.run_script("test", lambda arguments: run(), [], running.IS_KEPT)
    assert raised.value.__notes__ == [running.A_DEFECT]


def test_ctrl_c_is_one_line(running):
    with pytest.raises(SystemExit, match=f"test: stopped. {running.IS_KEPT}"):
        running.run_script("test", lambda _: raises(KeyboardInterrupt), [], running.IS_KEPT)


def test_what_is_shown_at_the_end_hides_no_error(running):
    shown = []
    with running.at_the_end(lambda: shown.append(1)):
        pass
    with pytest.raises(KeyError), running.at_the_end(lambda: raises(OSError("full"))):
        raise KeyError
    with pytest.raises(OSError, match="full"), running.at_the_end(lambda: raises(OSError("full"))):
        pass
    assert shown == [1]


def test_progress_counts_every_update_once(running, capsys):
    progress = running.Progress("char", 2, steps=10, done=3, show=lambda metrics: "")
    for step, since in ((4, 2), (9, 4), (10, 10)):  # the first report has updates before `done`
        progress(running.Report(step, since, None, {}))
    progress.close()
    assert progress._bar.n == 20
