"""Shared code of the benchmarks: options, timing in rounds, tables and files."""

from __future__ import annotations

import dataclasses
import importlib.metadata
import os
import pathlib
import platform
import random
import re
import statistics
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from typing import Any, TypeVar

import jax

from recur.runs import Seed, command_line, write_figure, write_json, write_text

LIBRARIES = ("recur", "jax", "jaxlib", "flax", "dm-haiku", "equinox", "keras", "torch")
T = TypeVar("T")


@dataclasses.dataclass(frozen=True)
class Options:
    """Options of all benchmarks."""

    quick: bool = False
    """Fewer and smaller measurements, to check that everything runs."""
    json: pathlib.Path | None = None
    """A file for the numbers; the table and the picture get the same name."""
    seed: Seed = 0
    """Seed of weights and inputs."""


class Skip(Exception):
    """Raised with the reason why a row is not measured."""


def prepare(rows: Mapping[str, Callable[[], T]]) -> tuple[dict[str, T], dict[str, str]]:
    """Calls all rows; returns their results, and the reasons of skipped rows."""
    ready: dict[str, T] = {}
    skipped = {}
    for name, row in rows.items():
        try:
            ready[name] = row()
        except (ImportError, Skip) as reason:
            skipped[name] = str(reason)
    return ready, skipped


def time_rounds(runs: Mapping[str, Callable[[], Any]], rounds: int) -> dict[str, list[float]]:
    """Seconds of each run in each round; a round runs every row once, in random order."""
    for run in runs.values():
        run()  # compiles
    seconds: dict[str, list[float]] = {name: [] for name in runs}
    for number in range(rounds):
        for name in random.Random(number).sample(list(runs), len(runs)):
            begin = time.perf_counter()
            runs[name]()
            seconds[name].append(time.perf_counter() - begin)
    return seconds


def rounds_of(runs: Mapping[str, Callable[[], float]], rounds: int) -> dict[str, list[float]]:
    """As `time_rounds`, for runs that return their seconds."""
    seconds: dict[str, list[float]] = {name: [] for name in runs}
    for number in range(rounds):
        for name in random.Random(number).sample(list(runs), len(runs)):
            seconds[name].append(runs[name]())
    return seconds


def ratio(seconds: Sequence[float], to: Sequence[float]) -> float:
    """How many times faster than `to`, as the median over rounds."""
    return statistics.median(b / a for a, b in zip(seconds, to, strict=True))


def times(
    seconds: Mapping[str, Sequence[float]], name: str, rivals: Sequence[str]
) -> dict[str, float]:
    """How many times faster a row is than each rival that was measured."""
    found = [rival for rival in rivals if rival in seconds]
    return {rival: round(ratio(seconds[name], seconds[rival]), 3) for rival in found}


def number(value: float | None) -> str:
    """Formats a ratio; empty for None."""
    return "" if value is None else f"{value:.2f}"


def compiled(function: Callable, *args: Any) -> tuple[Callable, dict[str, Any]]:
    """Compiles a function; also returns the seconds of tracing and compiling, and its memory."""
    begin = time.perf_counter()
    lowered = jax.jit(function).lower(*args)
    middle = time.perf_counter()
    found = lowered.compile()
    end = time.perf_counter()
    return found, {
        "lower_seconds": round(middle - begin, 3),
        "compile_seconds": round(end - middle, 3),
        "temp_bytes": found.memory_analysis().temp_size_in_bytes,
    }


def run_of(function: Callable, *args: Any) -> Callable[[], Any]:
    """A function that waits for the results of a call."""
    return lambda: jax.block_until_ready(function(*args))


def device() -> str:
    """The name of the device."""
    first = jax.devices()[0]
    if first.platform != "cpu":
        return first.device_kind
    models = [
        line.split(":", 1)[1].strip()
        for line in _read("/proc/cpuinfo").splitlines()
        if line.startswith("model name")
    ]
    return f"{models[0] if models else platform.processor()}, {os.cpu_count()} cores"


def slug() -> str:
    """The name of the device, for file names."""
    name = re.sub(r"\(\w+\)|processor|cpu|@", " ", device().lower())
    name = re.sub(r"\d+\.\d+", lambda number: f"{float(number[0]):g}", name)
    return "-".join(re.findall(r"[a-z0-9.]+", name))


def versions() -> dict[str, str]:
    """The versions of the compared libraries."""
    found = {"python": platform.python_version()}
    for name in LIBRARIES:
        try:
            found[name] = importlib.metadata.version(name)
        except importlib.metadata.PackageNotFoundError:
            pass
    return found


def table(header: Sequence[str], rows: Sequence[Sequence[Any]]) -> str:
    """Formats a Markdown table."""
    lines = [header, ["---"] * len(header), *rows]
    return "\n".join(f"| {' | '.join(map(str, line))} |" for line in lines)


def publish(
    options: Options, result: dict[str, Any], text: str, draw: Callable[[dict[str, Any]], Any]
) -> None:
    """Writes numbers with device and versions, the table and the picture, if --json is given."""
    if options.json is None:
        return
    command = command_line(*sys.argv[1:])
    facts = {"device": device(), "versions": versions(), "command": command, "seed": options.seed}
    options.json.parent.mkdir(parents=True, exist_ok=True)
    write_json(options.json, facts | result)
    write_text(options.json.with_suffix(".md"), text + "\n")
    write_figure(options.json.with_suffix(".png"), draw(result))


def _read(path: str) -> str:
    try:
        return pathlib.Path(path).read_text()
    except OSError:
        return ""
