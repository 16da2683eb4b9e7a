"""What scripts share: a run's folder, options, resuming, evaluation, progress, mishaps."""

from __future__ import annotations

import dataclasses
import hashlib
import itertools
import json
import logging
import pathlib
import sys
import typing
from collections.abc import Callable
from typing import Any, TypeVar

import jax
import jax.numpy as jnp
import numpy as np
import tyro
from bounds import check_numbers
from tqdm import tqdm

import recur
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
    try:
        options = kind(**{**read_json(path), "run": str(folder)})
    except TypeError as error:
        raise ValueError(
            f"{path}: expected the options of a run of this script, got others ({error}). Name "
            "another folder."
        ) from error
    return _map_paths(options, lambda name, path: pathlib.Path(path))


def write_options(options: Any) -> None:
    """Writes what `read_options` reads."""
    saved = dataclasses.asdict(_map_paths(options, lambda name, path: str(path)))
    write_json(options.run / "options.json", {**saved, "run": None})


def parse(kind: type[Options], arguments: list[str], prog: str, **default: Any) -> Options:
    """Options from the command line, whose numbers can be."""
    options = tyro.cli(kind, prog=prog, args=arguments, **default)
    check_numbers(options)
    return options


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
    if folder and not begun and folder.exists() and any(folder.iterdir()):
        raise ValueError(
            f"{folder}: expected a new folder or the folder of a run, got one that holds "
            "something else. Name another."
        )
    if begun:
        options = parse_over(begun)
        for field in dataclasses.fields(begun):
            was, wanted = getattr(begun, field.name), getattr(options, field.name)
            if was != wanted and field.name not in ("run", *may_change):
                raise ValueError(
                    f"{folder}: expected the {field.name} of the run that is there, {was}, "
                    f"got {wanted}. Leave the option out to go on with it, or name another folder."
                )
    name = prog.removesuffix(".py")
    return dataclasses.replace(options, run=folder or free_folder(f"runs/{name}"))


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


def free_folder(name: str) -> pathlib.Path:
    """The first of name-1, -2 ... that is not there."""
    paths = (pathlib.Path(f"{name}-{number}") for number in itertools.count(1))
    return next(path for path in paths if not path.exists())


def new_folder(folder: pathlib.Path | None, name: str) -> pathlib.Path:
    """Makes the folder that is asked for, which must be new, or the first free one of a name."""
    folder = folder or free_folder(name)
    if folder.exists() and any(folder.iterdir()):
        raise ValueError(f"{folder}: expected a new folder, got one with files. Name another.")
    folder.mkdir(parents=True, exist_ok=True)
    return folder


def begin_folder(
    options: Any, corpus: Any, vocabulary: str, write: Callable[[pathlib.Path], None]
) -> None:
    """Makes a new run's folder; checks that an old one is to read the same text.

    Args:
      options: of the run.
      corpus: its text, as JSON can hold it.
      vocabulary: a fingerprint of what makes ids of the text.
      write: writes into the folder what else the run must know of itself.
    """
    folder = options.run
    text = hashlib.sha256(json.dumps(corpus).encode()).hexdigest()
    now = {"text": text, "vocabulary": vocabulary}
    if (folder / "options.json").exists():
        check_corpus(folder, now)
        write(folder)
    else:
        folder.mkdir(parents=True, exist_ok=True)
        write(folder)
        write_json(folder / "corpus.json", now)
        write_options(options)  # the last: with it the run has begun


def check_corpus(folder: pathlib.Path, now: dict[str, str]) -> None:
    """Raises a ValueError unless a run's text and vocabulary are what it was begun with."""
    begun = read_json(folder / "corpus.json")
    for name, fingerprint in now.items():
        if begun.get(name) != fingerprint:
            raise ValueError(
                f"{folder}: expected the {name} that the run was begun with, got another: a file "
                "has changed since. Put it back, or name another folder to begin again."
            )


def read_json(path: pathlib.Path) -> dict[str, Any]:
    """Reads an object that `write_json` wrote."""
    try:
        value = json.loads(path.read_text("utf-8"))
    except ValueError as error:
        raise ValueError(f"{path}: expected JSON, got a damaged file ({error}).") from error
    if not isinstance(value, dict):
        raise ValueError(f"{path}: expected an object of JSON, got {type(value).__name__}.")
    return value


def write_json(path: pathlib.Path, value: Any) -> None:
    """Writes a file that is whole at any moment; paths become texts."""
    fresh = path.with_name(path.name + ".new")
    fresh.write_text(json.dumps(value, indent=1, default=str) + "\n", "utf-8")
    fresh.replace(path)


def begun_options(kind: type[Options], folder: pathlib.Path, prog: str) -> Options:
    """The options of a run that must be there."""
    begun = read_options(kind, folder)
    if begun is None:
        raise ValueError(
            f"{folder}: expected the folder of a run, with options.json in it, got none. "
            f"Train one: {prog} --run {folder}"
        )
    return begun


def best_checkpoint(folder: pathlib.Path, best: str, like: TrainState) -> Restored:
    """The best checkpoint of a run."""
    with Checkpoints(folder / "checkpoints", best=best) as checkpoints:
        restored = checkpoints.restore(like, checkpoints.best_step())
    if restored is None:
        raise ValueError(f"{folder}: expected a checkpoint, got none yet. Let it train longer.")
    return restored


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
) -> TrainState:
    """The state of the last checkpoint, or the first one; the streams are set to it.

    Args:
      options: of the run; they may be for more updates than it was begun with.
      checkpoints: of the run.
      state: the first one.
      streams: with `set_state`.
      steps: updates that the run is to have in the end.
    """
    restored = checkpoints.restore(like=state)
    if restored:
        state = restored.state
        streams.set_state(restored.stream)
    if state.step > steps:
        raise ValueError(
            f"{options.run}: expected at least the {state.step} updates that the run has done, got "
            f"{steps}. Ask for more."
        )
    write_options(options)
    return state


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
        self._count, self._show = count, show
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
        self._bar.update((report.step - report.since) * self._count)

    def close(self) -> None:
        """Leaves the bar as it stands."""
        self._bar.close()


# --- The command line ----------------------------------------------------------------------------


GOES_ON = "The same --run goes on from its last checkpoint, or from the start if there is none."
IS_KEPT = "What was done until then is in the folder of the run."


def run_script(
    name: str, main: Callable[[list[str]], None], arguments: list[str], stopped: str
) -> None:
    """Runs a script; whatever a user can mend is said in one line.

    Args:
      name: of the script.
      main: what it does.
      arguments: of the command line.
      stopped: what is left of a run that was stopped, `GOES_ON` or `IS_KEPT`.
    """
    # Orbax's errors reach us as exceptions; its log and its threads need not repeat them.
    logging.getLogger("absl").setLevel(logging.CRITICAL)
    sys.unraisablehook = lambda unraisable: None
    try:
        main(arguments)
    except KeyboardInterrupt:
        sys.exit(f"{name}: stopped. {stopped}")
    except (FloatingPointError, ImportError, OSError, ValueError) as error:
        sys.exit(f"{name}: {error}")
