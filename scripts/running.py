"""Shared code of the scripts: options, resuming, evaluation, progress and error handling."""

from __future__ import annotations

import contextlib
import dataclasses
import hashlib
import json
import logging
import pathlib
import sys
import traceback
import typing
from collections.abc import Callable, Iterator
from typing import Any, TypeVar

import interrupts
import jax
import jax.numpy as jnp
import numpy as np
import tyro
from bounds import check_numbers
from display import command_line, display_safely
from saving import MAKE_ROOM, is_of, read_json, write_json
from tqdm import tqdm

import recur
from recur.files import NO_ROOM
from recur.sequences import Window, whole_rows
from recur.train import Checkpoints, Report, Restored, TrainState

# A frozen dataclass with a field `run`, the folder; other paths are files that the run reads.
Options = TypeVar("Options")


# --- Options and the folder of a run -------------------------------------------------------------


def read_options(kind: type[Options], folder: pathlib.Path) -> Options | None:
    """Reads the options that a run was started with; None for a new folder."""
    path = folder / "options.json"
    if not path.exists():
        return None
    saved = {**read_json(path), "run": str(folder)}
    hints = typing.get_type_hints(kind)
    for name, value in saved.items():
        if name not in hints or not is_of(hints[name], value):
            raise ValueError(
                f"{path}: expected the options of a run of this script, got {name} = "
                f"{value!r:.60}. Name another folder."
            )
    options = _map_paths(kind(**saved), lambda name, path: pathlib.Path(path))
    try:
        check_numbers(options)
    except ValueError as error:
        raise ValueError(f"{path}: {error}") from error
    return options


def write_options(options: Any) -> None:
    """Writes the options of a run, for `read_options`."""
    saved = dataclasses.asdict(_map_paths(options, lambda name, path: str(path)))
    write_json(options.run / "options.json", {**saved, "run": None})


def parse(kind: type[Options], arguments: list[str], prog: str, **default: Any) -> Options:
    """Parses options from the command line, and checks their numbers and texts."""
    options = tyro.cli(kind, prog=prog, args=arguments, **default)
    check_numbers(options)
    for field in dataclasses.fields(options):
        value = getattr(options, field.name)
        if isinstance(value, str) and not is_unicode(value):
            option = f"--{field.name.replace('_', '-')}"
            raise ValueError(f"{option}: expected text in UTF-8, got {value!r}.")
    return options


def is_unicode(text: str) -> bool:
    """Whether a text has no lone surrogates, which bytes that are not UTF-8 are decoded to."""
    return not any("\ud800" <= character <= "\udfff" for character in text)


def parse_options(
    default: Options, arguments: list[str], prog: str, may_change: tuple[str, ...]
) -> Options:
    """Parses options from the command line; the defaults of a resumed run are its saved options.

    Args:
      default: the default options.
      arguments: of the command line.
      prog: the name of the script.
      may_change: the options that may change when a run is resumed.
    """

    def parse_over(default):
        return absolute(parse(type(default), arguments, prog, default=default))

    options = parse_over(default)
    folder = options.run
    begun = folder and read_options(type(default), folder)
    if begun:
        options = parse_over(begun)
        for field in dataclasses.fields(begun):
            was, wanted = getattr(begun, field.name), getattr(options, field.name)
            if was != wanted and field.name not in ("run", *may_change):
                raise ValueError(
                    f"{folder}: expected the {field.name} of the run that is there, {was}, "
                    f"got {wanted}. Leave the option out to resume the run, or name another folder."
                )
    return options


def absolute(options: Options) -> Options:
    """Options with absolute paths, except that of the run."""
    return _map_paths(options, lambda name, path: path if name == "run" else path.absolute())


def _map_paths(options: Options, change: Callable[[str, Any], Any]) -> Options:
    """Options with all paths changed by a function."""
    changed = {}
    for name, annotation in typing.get_type_hints(type(options)).items():
        value = getattr(options, name)
        if value is not None and pathlib.Path in (annotation, *typing.get_args(annotation)):
            is_many = isinstance(value, tuple | list)
            changed[name] = (
                tuple(change(name, v) for v in value) if is_many else change(name, value)
            )
    return dataclasses.replace(options, **changed)


def begin_folder(
    options: Any, corpus: Any, vocabulary: str, write: Callable[[pathlib.Path], None]
) -> None:
    """Writes the files of a new run to its folder; checks that a resumed run reads the same text.

    Args:
      options: of the run.
      corpus: its text, as a value for JSON.
      vocabulary: a fingerprint of the vocabulary.
      write: writes further files of the run to the folder.
    """
    folder = options.run
    text = hashlib.sha256(json.dumps(corpus).encode()).hexdigest()
    now = {"text": text, "vocabulary": vocabulary}
    if (folder / "corpus.json").exists():
        check_corpus(folder, now)
        write(folder)
    else:
        write_options(options)  # first: a folder with options is that of a run
        write(folder)
        write_json(folder / "corpus.json", now)


def check_corpus(folder: pathlib.Path, now: dict[str, str]) -> None:
    """Raises a ValueError if the text or vocabulary of a run has changed since its start."""
    begun = read_json(folder / "corpus.json")
    for name, fingerprint in now.items():
        if begun.get(name) != fingerprint:
            raise ValueError(
                f"{folder}: expected the {name} that the run was started with, got another: a file "
                "has changed. Restore it, or name another folder to start a new run."
            )


def begun_options(kind: type[Options], folder: pathlib.Path, prog: str) -> Options:
    """Reads the options of an existing run."""
    begun = read_options(kind, folder)
    if begun is None:
        raise ValueError(
            f"{folder}: expected the folder of a run, with options.json in it, got none. "
            f"Train one: {command_line(prog, '--run', folder)}"
        )
    return begun


def best_checkpoint(folder: pathlib.Path, best: str, like: TrainState) -> Restored:
    """Restores the best checkpoint of a run."""
    path = folder / "checkpoints"
    if path.exists():
        with Checkpoints(path, best=best) as checkpoints:
            restored = checkpoints.restore(like, checkpoints.best_step())
        if restored is not None:
            return restored
    raise ValueError(f"{folder}: expected a checkpoint, got none yet. Train it longer.")


# --- Evaluation and progress ---------------------------------------------------------------------


def make_evaluate(
    layer: recur.Layer,
    losses: Callable[[Any, Any, Window], jax.Array],
    documents: list[np.ndarray],
    width: int = 256,
) -> Callable[[Any], float]:
    """Makes a function that sums the loss over documents, each read from its start, without noise.

    Args:
      layer: a batched layer of tokens.
      losses: `losses(params, ys, window)`, `[B, width]`, 0 at masked steps.
      documents: integer arrays, as for `recur.sequences.whole_rows`.
      width: the number of steps whose outputs are in memory at a time.

    Returns:
      A function of the params of the layer and the params of `losses`.
    """
    longest = max(len(document) for document in documents)
    rows = whole_rows(documents, max(1, sum(map(len, documents)) // longest))
    pad = [(0, 0), (0, -rows.inputs.shape[1] % width)]
    windows = Window(
        *(np.pad(a, pad).reshape(len(a), -1, width).swapaxes(0, 1) for a in rows)  # [N, B, width]
    )

    @jax.jit
    def evaluate(params, of_losses, windows):
        bound = layer.bind(params, windows.inputs[0])

        def add(state, window):
            carry, total = state
            mask = recur.Mask(reset=window.reset)
            carry, ys = layer.apply(bound, carry, window.inputs, mask, None)
            return (carry, total + losses(of_losses, ys, window).sum()), None

        state = (layer.begin(bound, windows.inputs[0]), jnp.zeros(()))
        return jax.lax.scan(add, state, windows)[0][1]

    return lambda params, of_losses: float(evaluate(params, of_losses, windows))


def resume(
    options: Any, checkpoints: Checkpoints, state: TrainState, streams: Any, steps: int
) -> Restored:
    """Restores the last checkpoint of a run, or its start, and sets the streams to its position.

    Args:
      options: of the run; the number of updates may be larger than at its start.
      checkpoints: of the run.
      state: the initial state.
      streams: with `get_state` and `set_state`.
      steps: the total number of updates of the run.
    """
    begun = checkpoints.restore(like=state) or Restored(state, streams.get_state())
    if begun.state.step > steps:
        raise ValueError(
            f"{options.run}: expected at least the {begun.state.step} updates that the run has "
            f"done, got {steps}. Pass a larger number."
        )
    streams.set_state(begun.stream)
    write_options(options)
    return begun


@contextlib.contextmanager
def at_the_end(show: Callable[[], None]) -> Iterator[None]:
    """Calls `show` at the end of the block, also after an error, which it does not hide."""
    try:
        yield
    except BaseException:
        with contextlib.suppress(OSError, ValueError):
            show()
        raise
    show()


class Progress:
    """A callback that shows a progress bar with the speed and the loss.

    Args:
      unit: the name of what is counted, such as "char".
      count: the number of units per update.
      steps: the total number of updates.
      done: the number of updates already done.
      show: `show(metrics) -> str`, the text after the bar.
    """

    def __init__(self, unit: str, count: int, steps: int, done: int, show: Callable[[dict], str]):
        self._count, self._show, self._done = count, show, done
        self._bar = tqdm(
            total=steps * count,
            initial=done * count,
            unit=unit,
            unit_scale=True,
            dynamic_ncols=True,
        )

    def __call__(self, report: Report) -> None:
        """Updates the bar."""
        self._bar.set_postfix_str(self._show(report.metrics), False)
        self._bar.update((report.step - self._done) * self._count)
        self._done = report.step

    def close(self) -> None:
        """Closes the bar, which stays on the screen."""
        self._bar.close()


# --- The command line ----------------------------------------------------------------------------


GOES_ON = "The same --run resumes from its last checkpoint, or from the start if there is none."
IS_KEPT = "The results so far are in the folder of the run."
IS_LOST = "The results of this run are lost."
A_DEFECT = (
    "This is a bug in recur, not a mistake of yours. Please report it as an issue of the project, "
    "with these lines and the command line."
)
_OWN = (pathlib.Path(__file__).parent, pathlib.Path(recur.__file__).parent)


def run_script(
    name: str, main: Callable[[list[str]], None], arguments: list[str], stopped: str
) -> None:
    """Runs a script; errors of the user are printed in one line, bugs with a traceback.

    Args:
      name: of the script.
      main: `main(arguments)`.
      arguments: of the command line.
      stopped: the message on Ctrl-C: `GOES_ON`, `IS_KEPT` or `IS_LOST`.
    """
    display_safely()
    interrupts.raise_again()
    # Errors of Orbax are raised as exceptions; its log and its threads need not repeat them.
    sys.unraisablehook = report_unraisable
    for log in ("absl", "asyncio"):
        logging.getLogger(log).setLevel(logging.CRITICAL)
    try:
        main(arguments)
    except KeyboardInterrupt:
        interrupts.end_at_once()  # all is saved, so another Ctrl-C may end Python at once
        sys.exit(f"{name}: stopped. {stopped}")
    except Exception as error:
        if is_out_of_memory(error):
            sys.exit(
                f"{name}: expected sizes that fit into memory, got larger ones "
                f"({_first_line(error)}). Choose smaller ones."
            )
        if is_for_the_user(error):
            sys.exit(f"{name}: {_first_line(error)}{remedy_for(error)}")
        error.add_note(A_DEFECT)
        raise


def report_unraisable(unraisable: Any) -> None:
    """Reports errors of destructors and threads, except in threads of a write that has failed."""
    if str(unraisable.exc_value) != "Event loop is closed":
        sys.__unraisablehook__(unraisable)


def remedy_for(error: Exception) -> str:
    """The remedy if the error is that a disk is full."""
    return f". {MAKE_ROOM}" if isinstance(error, OSError) and error.errno in NO_ROOM else ""


def is_out_of_memory(error: Exception) -> bool:
    """Whether an error is that memory is exhausted."""
    return isinstance(error, MemoryError) or str(error).startswith("RESOURCE_EXHAUSTED")  # by XLA


def is_for_the_user(error: Exception) -> bool:
    """Whether the user can correct an error, so that its message suffices without a traceback.

    This holds for errors of the system, missing packages and a loss that is not finite, and for a
    ValueError that recur or a script raises about a given value. Errors of other libraries or of
    Python are bugs.
    """
    if isinstance(error, FloatingPointError | ImportError | OSError):
        return True
    raised = traceback.extract_tb(error.__traceback__)[-1]
    is_own = any(pathlib.Path(raised.filename).is_relative_to(folder) for folder in _OWN)
    return isinstance(error, ValueError) and is_own and str(raised.line).startswith("raise ")


def _first_line(error: Exception) -> str:
    return (str(error) or type(error).__name__).split("\n")[0]
