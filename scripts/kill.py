"""Kills training runs at random moments, resumes them, and compares them with runs never killed.

    python scripts/kill.py                 100 kills of char_lm and word_lm
    python scripts/kill.py --kills 10      as CI does

Half of the kills (SIGKILL) wait until a checkpoint is being written; the others come at any moment
after the start of the process. A killed run is resumed until it ends; then its metrics and all its
checkpoints must equal those of a run that was never killed, bit for bit. Otherwise it is lost, and
the exit status is 1. The last line printed has the counts.

Install: pip install -e ".[text,train]". Cost: ten minutes on two CPU cores. Expected: 0 lost.
"""

from __future__ import annotations

import interrupts

if __name__ == "__main__":
    interrupts.end_at_once()

import contextlib
import dataclasses
import itertools
import multiprocessing
import os
import pathlib
import random
import signal
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from typing import Any, Literal, NamedTuple

import char_lm
import jax
import numpy as np
import word_lm
import word_models

from recur import runs
from recur.text import Characters, Tokenizer
from recur.train import Checkpoints, TrainState

SIZES = "--features 8 --embedding 4 --batch-size 2 --report-every 7 --checkpoint-every 13".split()
WRITES_FOR = 0.03  # approximate seconds of writing a checkpoint
WORDS = "wind und wellen gehen über das weite land".split()


@dataclasses.dataclass(frozen=True)
class Options:
    """Kill runs, resume them, and check that nothing is lost."""

    kills: runs.Size = 100
    """Number of kills, divided among the scripts."""
    scripts: tuple[Literal["char_lm", "word_lm"], ...] = ("char_lm", "word_lm")
    """The scripts whose runs are killed."""
    seed: runs.Seed = 0
    """Seed of the moments. What a process does at a moment varies between repetitions."""


class Subject(NamedTuple):
    """A script that is killed."""

    name: str
    main: Callable[[list[str]], None]
    arguments: list[str]
    first_state: Callable[[pathlib.Path], TrainState]


class Tally(NamedTuple):
    """The counts."""

    kills: int = 0
    in_checkpoints: int = 0  # kills while a checkpoint was being written
    runs: int = 0
    lost: int = 0  # runs that could not be resumed, or ended with other numbers


# --- Runs to kill --------------------------------------------------------------------------------


def subjects(folder: pathlib.Path) -> list[Subject]:
    """Small runs of both scripts, on random texts."""
    draws = random.Random(0)
    texts = {}
    for name, lines in {"train": 60, "valid": 8, "test": 8}.items():
        texts[name] = folder / f"{name}.txt"
        sentences = [" ".join(draws.choices(WORDS, k=6)) for _ in range(lines)]
        texts[name].write_text("\n".join(sentences) + "\n", "utf-8")
    characters = ["--text", str(texts["train"]), "--k1", "4", "--steps", "200"]
    characters += ["--sample-length", "5", "--dropout", "0.1"]
    words = [word for name, path in texts.items() for word in (f"--{name}", str(path))]
    words += ["--unroll", "4", "--epochs", "4", "--vocabulary", "None", "--dropout", "0.1"]
    return [
        Subject("char_lm", char_lm.main, characters + SIZES, state_of_char_lm),
        Subject("word_lm", word_lm.main, words + SIZES, state_of_word_lm),
    ]


def state_of_char_lm(folder: pathlib.Path) -> TrainState:
    """The first state of a run, for its structure."""
    options = runs.Run(folder).options(char_lm.Options)
    vocabulary = Characters(runs.read_json(folder / "vocabulary.json", str))
    model = char_lm.build_model(options, vocabulary)
    return char_lm.first_state(options, model, char_lm.build_optimizer(options, 1))


def state_of_word_lm(folder: pathlib.Path) -> TrainState:
    """The first state of a run, for its structure."""
    options = runs.Run(folder).options(word_models.Options)
    model = word_models.build_model(options, len(Tokenizer.load(folder / "tokenizer.json")))
    return word_lm.first_state(options, model, word_models.build_optimizer(options, 1))


# --- Processes -----------------------------------------------------------------------------------


def run_quietly(subject: Subject, folder: pathlib.Path, log: pathlib.Path) -> None:
    """Runs the script in this process, which prints to a file."""
    with log.open("w") as file:
        os.dup2(file.fileno(), 1)
        os.dup2(file.fileno(), 2)
    arguments = [*subject.arguments, "--run", str(folder)]
    runs.run_command(subject.name, subject.main, arguments)


def forking_context() -> Any:
    """A context whose processes are forked from one that has imported the scripts.

    All processes run the same code, even if a file is edited meanwhile, and start at once.
    """
    scripts, others = str(pathlib.Path(__file__).parent), os.environ.get("PYTHONPATH", "")
    paths = dict.fromkeys([scripts, *filter(None, others.split(os.pathsep))])
    os.environ["PYTHONPATH"] = os.pathsep.join(paths)  # for the server, which imports them
    context = multiprocessing.get_context("forkserver")
    context.set_forkserver_preload(["char_lm", "word_lm"])
    return context


def start(subject: Subject, folder: pathlib.Path) -> Any:
    """Starts or resumes a run in a new process."""
    arguments = (subject, folder, log_of(folder))
    process = forking_context().Process(target=run_quietly, args=arguments)
    process.start()
    return process


def finish(subject: Subject, folder: pathlib.Path) -> bool:
    """Runs a run to its end; returns whether it succeeded."""
    process = start(subject, folder)
    process.join()
    return process.exitcode == 0


def log_of(folder: pathlib.Path) -> pathlib.Path:
    """The file of the output of the last process of a run."""
    return folder.with_name(folder.name + ".log")


def is_writing(folder: pathlib.Path, began: float) -> bool:
    """Whether there is an unfinished checkpoint that was begun after a time."""
    with contextlib.suppress(FileNotFoundError):
        found = (folder / "checkpoints").glob("*tmp*")
        return any(path.stat().st_mtime > began for path in found)
    return False


class End(NamedTuple):
    """How a process ended."""

    was_killed: bool
    was_writing: bool  # a checkpoint
    has_failed: bool


def start_and_kill(
    subject: Subject, folder: pathlib.Path, draws: random.Random, longest: float
) -> End:
    """Starts or resumes a run, and kills it at a random moment, unless it ends before.

    Args:
      subject: the script.
      folder: of the run.
      draws: the random numbers for the moment.
      longest: the approximate seconds of a run.
    """
    began = time.time()
    process = start(subject, folder)
    earliest = began + draws.uniform(0, 0.8 * longest)
    waits_for_checkpoint = draws.random() < 0.5
    while process.is_alive():
        if time.time() > earliest and (not waits_for_checkpoint or is_writing(folder, began)):
            time.sleep(draws.uniform(0, WRITES_FOR))
            break
        time.sleep(0.001)
    process.kill()
    process.join()
    was_killed = process.exitcode == -signal.SIGKILL
    return End(was_killed, is_writing(folder, began), process.exitcode not in (0, -signal.SIGKILL))


# --- Comparison ----------------------------------------------------------------------------------


def contents(subject: Subject, folder: pathlib.Path) -> dict[str, bytes]:
    """The metrics and all checkpoints of a finished run, as bytes by name."""
    found = {"metrics.jsonl": (folder / "metrics.jsonl").read_bytes()}
    like = subject.first_state(folder)
    with Checkpoints(folder / "checkpoints") as checkpoints:
        for step in checkpoints.steps():
            restored = checkpoints.restore(like, step)
            found[f"{step}: stream"] = repr((restored.stream, restored.unread)).encode()
            state = restored.state._replace(key=jax.random.key_data(restored.state.key))
            for path, leaf in jax.tree_util.tree_leaves_with_path(state):
                found[f"{step}: {jax.tree_util.keystr(path)}"] = np.asarray(leaf).tobytes()
    return found


def differences(expected: dict[str, bytes], found: dict[str, bytes]) -> list[str]:
    """The names of values that are missing or differ.

    Additional ones are not a difference: a run that is killed after its last checkpoint, before old
    checkpoints are deleted, keeps them.
    """
    return [name for name in expected if expected[name] != found.get(name)]


def killed_runs(subject: Subject, folder: pathlib.Path, kills: int, seed: int) -> Iterator[Tally]:
    """Kills runs of a script until there were `kills` kills; yields the counts of each run."""
    whole, again = (folder / f"{subject.name}-{name}" for name in ("whole", "again"))
    if not finish(subject, whole):  # it compiles, so that the others start from the cache
        raise RuntimeError(f"{subject.name} has failed: {log_of(whole).read_text()}")
    expected = contents(subject, whole)
    began = time.monotonic()
    if is_lost(subject, again, expected):
        raise RuntimeError(f"two runs of {subject.name} differ")
    longest = time.monotonic() - began
    draws = random.Random(seed)
    for number in itertools.count(1):
        run, found = folder / f"{subject.name}-{number}", Tally(runs=1)
        while kills:
            end = start_and_kill(subject, run, draws, longest)
            if end.has_failed:
                print(f"{run.name} is lost: {log_of(run).read_text()}")
            if not end.was_killed:
                break
            kills -= 1
            found = found._replace(
                kills=found.kills + 1,
                in_checkpoints=found.in_checkpoints + end.was_writing,
            )
        yield found._replace(lost=int(end.has_failed or is_lost(subject, run, expected)))
        if not kills:
            return


def is_lost(subject: Subject, run: pathlib.Path, expected: dict[str, bytes]) -> bool:
    """Whether a run fails, or ends with other values than expected; prints why."""
    if not finish(subject, run):
        print(f"{run.name} is lost: {log_of(run).read_text()}")
        return True
    try:
        wrong = differences(expected, contents(subject, run))
    except ValueError as error:  # of a damaged checkpoint
        wrong = [str(error)]
    if wrong:
        print(f"{run.name} is lost, by {', '.join(wrong)}")
    return bool(wrong)


def main(arguments: list[str]) -> None:
    """Kills runs, and prints the counts."""
    options = runs.parse_options(Options, arguments, "kill.py")
    os.environ |= {
        "JAX_DISABLE_MOST_OPTIMIZATIONS": "1",
        "JAX_PERSISTENT_CACHE_MIN_COMPILE_TIME_SECS": "0",
        "PYTHONWARNINGS": "ignore:resource_tracker",  # about semaphores of killed processes
    }
    total = Tally()
    with tempfile.TemporaryDirectory() as folder:
        os.environ["JAX_COMPILATION_CACHE_DIR"] = str(pathlib.Path(folder) / "compiled")
        chosen = [each for each in subjects(pathlib.Path(folder)) if each.name in options.scripts]
        for number, subject in enumerate(chosen):
            kills = (options.kills - total.kills) // (len(chosen) - number)
            for found in killed_runs(subject, pathlib.Path(folder), kills, options.seed):
                total = Tally(*map(sum, zip(total, found, strict=True)))
                print(
                    f"{subject.name}: {total.kills} kills of {total.runs} runs, "
                    f"{total.in_checkpoints} in the middle of a checkpoint, {total.lost} lost",
                    flush=True,
                )
    if total.lost:
        sys.exit(1)


if __name__ == "__main__":
    runs.run_command("kill", main, interrupted="The results of this run are lost.")
