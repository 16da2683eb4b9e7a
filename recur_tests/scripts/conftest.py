"""Scripts run as in the process of a user."""

import builtins
import importlib
import pathlib
import sys

import jax
import pytest

from recur.runs import run_command

SCRIPTS = pathlib.Path(__file__).parents[2] / "scripts"


@pytest.fixture(autouse=True)
def usual(strict):
    """What a user's process has: 32 bits, and jax's usual promotion."""
    with (
        jax.enable_x64(False),
        jax.numpy_dtype_promotion("standard"),
        jax.numpy_rank_promotion("allow"),
    ):
        yield


@pytest.fixture(scope="session", autouse=True)
def scripts():
    """Scripts import modules of their folder, and tyro."""
    with pytest.MonkeyPatch.context() as patch:
        patch.syspath_prepend(str(SCRIPTS))
        # A doctest that ran before left its last value there; tyro hashes all builtins.
        patch.delattr(builtins, "_", raising=False)
        importlib.import_module("tyro")
        yield


@pytest.fixture
def command(request, monkeypatch, capsys):
    """Runs the module's SCRIPT with arguments, as its command does; returns what it printed."""
    name = request.module.SCRIPT
    script = importlib.import_module(name)

    def run(*arguments):
        for its_own in ("stdout", "stderr", "unraisablehook"):
            monkeypatch.setattr(sys, its_own, getattr(sys, its_own))
        run_command(name, script.main, list(map(str, arguments)))
        return capsys.readouterr().out

    return run


@pytest.fixture
def complaint(request, command):
    """Runs the module's SCRIPT with arguments; returns the one line with which it gives up."""

    def run(*arguments):
        with pytest.raises(SystemExit) as stopped:
            command(*arguments)
        message = stopped.value.code
        assert message.startswith(f"{request.module.SCRIPT}: ") and "\n" not in message
        return message

    return run
