"""Ctrl-C during the imports of a script."""

import os
import pathlib
import signal
import subprocess
import sys

import pytest

SCRIPTS = pathlib.Path(__file__).parents[2] / "scripts"
MAINS = sorted(
    path.stem for path in SCRIPTS.glob("*.py") if "import interrupts" in path.read_text("utf-8")
)


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


def test_scripts_that_take_seconds_to_import():
    assert {"benchmark", "char_lm", "kill", "memory", "music_lm", "word_lm"} <= set(MAINS)
