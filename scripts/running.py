"""What scripts share: options, resuming, evaluation, progress, mishaps."""

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

# A frozen dataclass with a field `run`, the folder; a path is a file that the run reads.
Options = TypeVar("Options")


# --- Options, and the folder that keeps them -----------------------------------------------------


def read_options(kind: type[Options], folder: pathlib.Path) -> Options | None:
    """The options that a run was begun with."""
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
    """Writes what `read_options` reads."""
    saved = dataclasses.asdict(_map_paths(options, lambda name, path: str(path)))
    write_json(options.run / "options.json", {**saved, "run": None})


def parse(kind: type[Options], arguments: list[str], prog: str, **default: Any) -> Options:
    """Options from the command line, whose numbers and texts are valid."""
    options = tyro.cli(kind, prog=prog, args=arguments, **default)
    check_numbers(options)
    for field in dataclasses.fields(options):
        value = getattr(options, field.name)
        if isinstance(value, str) and not is_unicode(value):
            option = f"--{field.name.replace('_', '-')}"
            raise ValueError(f"{option}: expected text in UTF-8, got {value!r}.")
    return options


def is_unicode(text: str) -> bool:
    """Whether a text has no half of a pair of surrogates, as bytes that are no UTF-8 come to."""
    return not any("\ud800" <= character <= "\udfff" for character in text)


def parse_options(
    default: Options, arguments: list[str], prog: str, may_change: tuple[str, ...]
) -> Options:
    """Options from the command line, over those that the run was begun with, if it was.

    Args:
      default: what is not given.
      arguments: of the command line.
      prog: the script.
      may_change: the options that a run may be resumed with another value of.
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
                    f"got {wanted}. Leave the option out to go on with it, or name another folder."
                )
    return options


def absolute(options: Options) -> Options:
    """Options that mean the same from any folder."""
    return _map_paths(options, lambda name, path: path if name == "run" else path.absolute())


def _map_paths(options: Options, change: Callable[[str, Any], Any]) -> Options:
    """Options with every path, and each of several, changed."""
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
    """Writes what a new run has in its folder; checks that an old one is to read the same text.

    Args:
      options: of the run.
      corpus: its text, as JSON can hold it.
      vocabulary: a fingerprint of what makes ids of the text.
      write: writes into the folder what else the run must know of itself.
    """
    folder = options.run
    text = hashlib.sha256(json.dumps(corpus).encode()).hexdigest()
    now = {"text": text, "vocabulary": vocabulary}
    if (folder / "corpus.json").exists():
        check_corpus(folder, now)
        write(folder)
    else:
        write_options(options)  # the first: with it the run has begun
        write(folder)
        write_json(folder / "corpus.json", now)


def check_corpus(folder: pathlib.Path, now: dict[str, str]) -> None:
    """Raises a ValueError unless a run's text and vocabulary are what it was begun with."""
    begun = read_json(folder / "corpus.json")
    for name, fingerprint in now.items():
        if begun.get(name) != fingerprint:
            raise ValueError(
                f"{folder}: expected the {name} that the run was begun with, got another: a file "
                "has changed since. Put it back, or name another folder to begin again."
            )


def begun_options(kind: type[Options], folder: pathlib.Path, prog: str) -> Options:
    """The options of a run that must be there."""
    begun = read_options(kind, folder)
    if begun is None:
        raise ValueError(
            f"{folder}: expected the folder of a run, with options.json in it, got none. "
            f"Train one: {command_line(prog, '--run', folder)}"
        )
    return begun


def best_checkpoint(folder: pathlib.Path, best: str, like: TrainState) -> Restored:
    """The best checkpoint of a run."""
    path = folder / "checkpoints"
    if path.exists():
        with Checkpoints(path, best=best) as checkpoints:
            restored = checkpoints.restore(like, checkpoints.best_step())
        if restored is not None:
            return restored
    raise ValueError(f"{folder}: expected a checkpoint, got none yet. Let it train longer.")


# --- Evaluation and progress ---------------------------------------------------------------------


def make_evaluate(
    layer: recur.Layer,
    losses: Callable[[Any, Any, Window], jax.Array],
    documents: list[np.ndarray],
    width: int = 256,
) -> Callable[[Any], float]:
    """`evaluate(params)` -> the loss of all documents, each read from its start, noise off.

    Args:
      layer: a batched layer that reads tokens.
      losses: `losses(params, ys, window)`, `[B, width]`, 0 at masked steps.
      documents: integer arrays, as of `recur.sequences.whole_rows`.
      width: how many steps have outputs at a time.

    Returns:
      A function of the layer's params, and of the params that `losses` asks for.
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
    """Where the run goes on: at its last checkpoint, or at its start; the streams are set to it.

    Args:
      options: of the run; they may be for more updates than it was begun with.
      checkpoints: of the run.
      state: the first one.
      streams: with `get_state` and `set_state`.
      steps: updates that the run is to have in the end.
    """
    begun = checkpoints.restore(like=state) or Restored(state, streams.get_state())
    if begun.state.step > steps:
        raise ValueError(
            f"{options.run}: expected at least the {begun.state.step} updates that the run has "
            f"done, got {steps}. Ask for more."
        )
    streams.set_state(begun.stream)
    write_options(options)
    return begun


@contextlib.contextmanager
def at_the_end(show: Callable[[], None]) -> Iterator[None]:
    """Calls `show` after what is within, also after an error, which no further one then hides."""
    try:
        yield
    except BaseException:
        with contextlib.suppress(OSError, ValueError):
            show()
        raise
    show()


class Progress:
    """A callback that shows how far a run is, how fast, and what the loss is.

    Args:
      unit: what is counted, as "char".
      count: how many of them an update reads.
      steps: updates in all.
      done: updates before.
      show: from metrics to what is shown of them.
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
        """Moves the bar."""
        self._bar.set_postfix_str(self._show(report.metrics), False)
        self._bar.update((report.step - self._done) * self._count)
        self._done = report.step

    def close(self) -> None:
        """Leaves the bar as it stands."""
        self._bar.close()


# --- The command line ----------------------------------------------------------------------------


GOES_ON = "The same --run goes on from its last checkpoint, or from the start if there is none."
IS_KEPT = "What was done until then is in the folder of the run."
IS_LOST = "What was being measured is lost."
A_DEFECT = (
    "This is a defect of recur, and no mistake of yours. Please report it as an issue of the "
    "project, with these lines and the command line."
)
_OWN = (pathlib.Path(__file__).parent, pathlib.Path(recur.__file__).parent)


def run_script(
    name: str, main: Callable[[list[str]], None], arguments: list[str], stopped: str
) -> None:
    """Runs a script; a user's mistake is said in one line, and a defect of ours is a traceback.

    Args:
      name: of the script.
      main: what it does.
      arguments: of the command line.
      stopped: what is left of a run that was stopped: `GOES_ON`, `IS_KEPT` or `IS_LOST`.
    """
    display_safely()
    interrupts.raise_again()
    # Orbax's errors reach us as exceptions; its log and its threads need not repeat them.
    sys.unraisablehook = report_unraisable
    for log in ("absl", "asyncio"):
        logging.getLogger(log).setLevel(logging.CRITICAL)
    try:
        main(arguments)
    except KeyboardInterrupt:
        interrupts.end_at_once()  # all is saved: a further one need not wait for Python's end
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
    """Reports what a destructor or a thread raises, but for threads of a write that has failed."""
    if str(unraisable.exc_value) != "Event loop is closed":
        sys.__unraisablehook__(unraisable)


def remedy_for(error: Exception) -> str:
    """What to do where the system says that a disk is full, and no more."""
    return f". {MAKE_ROOM}" if isinstance(error, OSError) and error.errno in NO_ROOM else ""


def is_out_of_memory(error: Exception) -> bool:
    """Whether memory was asked for that is not there."""
    return isinstance(error, MemoryError) or str(error).startswith("RESOURCE_EXHAUSTED")  # by XLA


def is_for_the_user(error: Exception) -> bool:
    """Whether an error says what a user can mend.

    Those of the system and of missing packages do, and a loss that is not finite. A ValueError does
    where recur or a script raised it, for a value that was given; what another library raises, or
    Python, was not foreseen.
    """
    if isinstance(error, FloatingPointError | ImportError | OSError):
        return True
    raised = traceback.extract_tb(error.__traceback__)[-1]
    is_own = any(pathlib.Path(raised.filename).is_relative_to(folder) for folder in _OWN)
    return isinstance(error, ValueError) and is_own and str(raised.line).startswith("raise ")


def _first_line(error: Exception) -> str:
    return (str(error) or type(error).__name__).split("\n")[0]
