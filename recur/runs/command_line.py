"""The command line of a script: its options, and errors in one line."""

from __future__ import annotations

import inspect
import logging
import pathlib
import shlex
import signal
import sys
import traceback
from collections.abc import Callable, Sequence
from typing import Any

import recur
from recur.files import NO_ROOM
from recur.runs.display import display_safely
from recur.runs.folders import OPTIONS
from recur.runs.options import Options, check_options, load_options, map_paths
from recur.runs.run_files import MAKE_ROOM

_RESUMES = "The same --run resumes from its last checkpoint, or from the start if there is none."
_A_BUG = (
    "This is a bug in recur, not a mistake of yours. Please report it as an issue of the project, "
    "with these lines and the command line."
)


def parse_options(
    default: type[Options] | Options,
    arguments: Sequence[str],
    name: str,
    *,
    resume: bool = False,
) -> Options:
    """Parses options from the command line, as fields of a dataclass, and checks them.

    The docstrings of the fields are the help, by tyro.

    Args:
      default: a dataclass, whose numbers may have a `Range`; or an instance, whose values are the
        defaults.
      arguments: of the command line.
      name: the command, for the help.
      resume: whether the option `run` may name the folder of a run; options that are not given are
        then those that the run was started with.

    Returns:
      The options. Paths are absolute, except that of the run.

    Raises:
      ValueError: if an option is not in its range, or the file of saved options is damaged.
      ImportError: if tyro is not installed.

    Example:
      >>> import dataclasses
      >>> from recur.runs import parse_options
      >>> @dataclasses.dataclass(frozen=True)
      ... class Options:
      ...     features: int = 128
      ...     cell: str = "gru"
      >>> parse_options(Options, ["--features", "64"], "train.py")
      Options(features=64, cell='gru')
    """
    import tyro

    kind = default if isinstance(default, type) else type(default)
    defaults = {} if isinstance(default, type) else {"default": default}

    def parse(**defaults: Any) -> Options:
        options = tyro.cli(kind, prog=name, args=arguments, **defaults)
        check_options(options)
        return map_paths(options, lambda name, path: path if name == "run" else path.absolute())

    options = parse(**defaults)
    folder = getattr(options, "run", None)
    if not (resume and folder and (folder / OPTIONS).exists()):
        return options
    return parse(default=load_options(folder / OPTIONS, kind))


def command_line(*arguments: Any) -> str:
    """Formats a command that runs the present script with other arguments, quoted for a shell.

    Args:
      *arguments: such as strings and paths.

    Returns:
      One line, such as `python scripts/char_lm.py generate --run runs/char_lm-1`.
    """
    return shlex.join(["python", sys.argv[0], *map(str, arguments)])


def run_command(
    name: str,
    main: Callable[[list[str]], None],
    arguments: Sequence[str] | None = None,
    *,
    interrupted: str = _RESUMES,
) -> None:
    """Runs a script: mistakes of the user are printed in one line, bugs with a traceback.

    Mistakes are a ValueError that recur or the script raises about a given value, errors of the
    operating system, a package that is not installed, a loss that is not finite, and exhausted
    memory. Errors of printing, such as a closed pipe, are ignored.

    Args:
      name: of the script, which begins the line.
      main: `main(arguments)`.
      arguments: of the command line; `sys.argv[1:]` by default.
      interrupted: the message on Ctrl-C.

    Raises:
      SystemExit: with the line, after a mistake or Ctrl-C.
      Exception: any other error, with a note that asks to report it.
    """
    display_safely()
    if signal.getsignal(signal.SIGINT) is signal.SIG_DFL:  # a script may set it for its imports
        signal.signal(signal.SIGINT, signal.default_int_handler)
    # Errors of Orbax are raised as exceptions; its log and its threads need not repeat them.
    sys.unraisablehook = _report_unraisable
    for log in ("absl", "asyncio"):
        logging.getLogger(log).setLevel(logging.CRITICAL)
    files = [recur.__file__, getattr(inspect.getmodule(main), "__file__", None)]
    own = [pathlib.Path(file).parent for file in files if file]
    try:
        main(list(sys.argv[1:] if arguments is None else arguments))
    except KeyboardInterrupt:
        if signal.getsignal(signal.SIGINT) is signal.default_int_handler:
            signal.signal(signal.SIGINT, signal.SIG_DFL)  # all is saved: another may end at once
        sys.exit(f"{name}: stopped. {interrupted}")
    except Exception as error:
        if _is_out_of_memory(error):
            sys.exit(
                f"{name}: expected sizes that fit into memory, got larger ones "
                f"({_first_line(error)}). Choose smaller ones."
            )
        if _is_for_the_user(error, own):
            sys.exit(f"{name}: {_first_line(error)}{_remedy_for(error)}")
        error.add_note(_A_BUG)
        raise


def _report_unraisable(unraisable: Any) -> None:
    """Reports errors of destructors and threads, except in threads of a write that has failed."""
    if str(unraisable.exc_value) != "Event loop is closed":
        sys.__unraisablehook__(unraisable)


def _remedy_for(error: Exception) -> str:
    """The remedy if the error is that a disk is full."""
    return f". {MAKE_ROOM}" if isinstance(error, OSError) and error.errno in NO_ROOM else ""


def _is_out_of_memory(error: Exception) -> bool:
    return isinstance(error, MemoryError) or str(error).startswith("RESOURCE_EXHAUSTED")  # by XLA


def _is_for_the_user(error: Exception, own: Sequence[pathlib.Path]) -> bool:
    """Whether the user can correct an error, so that its message suffices without a traceback.

    A ValueError is one if it was raised in the folders `own`; others are bugs.
    """
    if isinstance(error, FloatingPointError | ImportError | OSError):
        return True
    raised = traceback.extract_tb(error.__traceback__)[-1]
    is_own = any(pathlib.Path(raised.filename).is_relative_to(folder) for folder in own)
    return isinstance(error, ValueError) and is_own and str(raised.line).startswith("raise ")


def _first_line(error: Exception) -> str:
    return (str(error) or type(error).__name__).split("\n")[0]
