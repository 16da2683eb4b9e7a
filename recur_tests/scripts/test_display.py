"""Errors of printing never end a run."""

import importlib
import io
import os
import pathlib
import shlex
import signal
import subprocess
import sys

import pytest

SCRIPTS = pathlib.Path(__file__).parents[2] / "scripts"


@pytest.fixture(scope="module")
def display(scripts):
    return importlib.import_module("display")


@pytest.mark.parametrize("encoding", ["ascii", "cp1252", "utf-8"])
def test_what_cannot_be_shown_is_replaced(display, encoding):
    console = io.TextIOWrapper(io.BytesIO(), encoding)
    text = "für 你 \ud800\n"
    print(text, end="", file=display.Display(console), flush=True)
    assert console.buffer.getvalue() == text.encode(encoding, "replace")


def test_a_closed_pipe_and_a_full_disk_end_nothing(display):
    reading, writing = os.pipe()
    os.close(reading)
    with open(writing, "w", buffering=1, closefd=False) as pipe:
        shown = display.Display(pipe)
        print("x" * 100_000, file=shown, flush=True)
        shown.flush()
        assert shown.fileno() == writing and not shown.isatty()
        os.dup2(os.open(os.devnull, os.O_WRONLY), writing)  # so that it can be closed
    os.close(writing)


def test_a_command_line_can_be_typed_as_it_is_shown(display):
    command = display.command_line("char_lm.py", "--run", pathlib.Path("my runs/$x"), 3)
    assert shlex.split(command) == ["python", "scripts/char_lm.py", "--run", "my runs/$x", "3"]


MAINS = "benchmark char_lm kill memory music_lm structure_figure word_lm".split()


@pytest.mark.parametrize("script", MAINS)
def test_ctrl_c_during_imports_is_silent(tmp_path, script):
    stop = "import os, signal\nos.kill(os.getpid(), signal.SIGINT)\n"
    for module in ("jax", "matplotlib"):
        (tmp_path / f"{module}.py").write_text(stop)
    done = subprocess.run(
        [sys.executable, SCRIPTS / f"{script}.py"],
        env={**os.environ, "PYTHONPATH": str(tmp_path)},
        capture_output=True,
    )
    assert (done.returncode, done.stdout, done.stderr) == (-signal.SIGINT, b"", b"")
