"""Killed runs, also while a checkpoint is written, end with the same numbers after a resume."""

import importlib
import os
import pathlib
import subprocess
import sys

SCRIPTS = pathlib.Path(__file__).parents[2] / "scripts"


def test_a_few_kills_lose_nothing():
    done = subprocess.run(
        [sys.executable, SCRIPTS / "kill.py", "--kills", "2", "--scripts", "char_lm"],
        env={**os.environ, "PYTHONPATH": str(SCRIPTS.parent)},
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    last = done.stdout.splitlines()[-1]
    assert last.startswith("char_lm: 2 kills of ") and last.endswith(", 0 lost")


def test_processes_are_forked_where_the_scripts_are_imported(tmp_path):
    # A process that imports them itself may read a file that is being edited.
    out = tmp_path / "imported"
    look = f"import sys; open({str(out)!r}, 'w').write(str('word_lm' in sys.modules))"
    code = (
        f"import sys; sys.path.append({str(SCRIPTS)!r}); import kill\n"
        f"process = kill.forking_context().Process(target=exec, args=({look!r},))\n"
        "process.start(); process.join()"
    )
    subprocess.run([sys.executable, "-c", code], cwd=tmp_path, check=True)
    assert out.read_text() == "True"


def test_differences_are_named(scripts):
    kill = importlib.import_module("kill")
    expected = {"a": b"1", "b": b"2", "c": b"3"}
    assert kill.differences(expected, {"a": b"1", "b": b"3", "more": b""}) == ["b", "c"]
