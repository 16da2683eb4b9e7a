"""Type checkers accept a program that uses recur, and find its mistakes."""

import importlib.util
import pathlib
import re
import subprocess
import sys

import pytest

import recur

HERE = pathlib.Path(__file__).parent
ROOT = HERE.parents[1]
COMMANDS = {
    "mypy": ["mypy", "--show-error-codes", "--no-error-summary"],
    "pyright": ["pyright", "--pythonpath", sys.executable],
}


def errors_of(checker, file):
    """The lines in which a checker finds errors."""
    if importlib.util.find_spec(checker) is None:
        pytest.skip(f"{checker} is not installed")
    command = [sys.executable, "-m", *COMMANDS[checker], str(HERE / file)]
    found = subprocess.run(command, cwd=ROOT, capture_output=True, text=True).stdout
    lines = re.findall(rf"{re.escape(file)}:(\d+)(?::\d+)?(?::| -) error", found)
    return {int(line) for line in lines}


@pytest.mark.parametrize("checker", COMMANDS)
def test_a_program_that_uses_recur_has_no_error(checker):
    assert errors_of(checker, "downstream.py") == set()


@pytest.mark.parametrize("checker", COMMANDS)
def test_mistakes_are_found(checker):
    lines = (HERE / "mistakes.py").read_text().splitlines()
    marked = {number for number, line in enumerate(lines, 1) if line.endswith("# error")}
    assert errors_of(checker, "mistakes.py") == marked


def test_the_package_says_that_it_is_typed():
    assert pathlib.Path(recur.__file__).with_name("py.typed").exists()
