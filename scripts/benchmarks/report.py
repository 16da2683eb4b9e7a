"""What all benchmarks share: options, rounds in which every row runs once, tables and files."""

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
from display import command_line
from saving import write_json, write_picture, write_text

LIBRARIES = ("recur", "jax", "jaxlib", "flax", "dm-haiku", "equinox", "keras", "torch")
T = TypeVar("T")


@dataclasses.dataclass(frozen=True)
class Options:
    """What every benchmark is told."""

    quick: bool = False
    """Fewer and smaller measurements, to see that everything runs."""
    json: pathlib.Path | None = None
    """Where to write the numbers; the table and the picture go beside them."""
    seed: int = 0
    """Of weights and inputs."""


class Skip(Exception):
    """Why a row is not measured."""


def prepare(rows: Mapping[str, Callable[[], T]]) -> tuple[dict[str, T], dict[str, str]]:
    """What the rows return, and why those are skipped that cannot be measured here."""
    ready: dict[str, T] = {}
    skipped = {}
    for name, row in rows.items():
        try:
            ready[name] = row()
        except (ImportError, Skip) as reason:
            skipped[name] = str(reason)
    return ready, skipped


def time_rounds(runs: Mapping[str, Callable[[], Any]], rounds: int) -> dict[str, list[float]]:
    """Seconds of each run in each round: every row once, in an order that is new each round."""
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
    """As `time_rounds`, of runs that return their seconds."""
    seconds: dict[str, list[float]] = {name: [] for name in runs}
    for number in range(rounds):
        for name in random.Random(number).sample(list(runs), len(runs)):
            seconds[name].append(runs[name]())
    return seconds


def ratio(seconds: Sequence[float], to: Sequence[float]) -> float:
    """How many times faster than `to`, the median over rounds."""
    return statistics.median(b / a for a, b in zip(seconds, to, strict=True))


def times(
    seconds: Mapping[str, Sequence[float]], name: str, rivals: Sequence[str]
) -> dict[str, float]:
    """How many times faster a row is than each rival that was measured."""
    found = [rival for rival in rivals if rival in seconds]
    return {rival: round(ratio(seconds[name], seconds[rival]), 3) for rival in found}


def number(value: float | None) -> str:
    """A ratio, where there is one."""
    return "" if value is None else f"{value:.2f}"


def compiled(function: Callable, *args: Any) -> tuple[Callable, dict[str, Any]]:
    """The compiled function, how long tracing and compiling took, and the memory it needs."""
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
    """A run of the function until it has ended: calls return before that."""
    return lambda: jax.block_until_ready(function(*args))


def device() -> str:
    """What the numbers were measured on."""
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
    """The device's name, as files are called after it."""
    name = re.sub(r"\(\w+\)|processor|cpu|@", " ", device().lower())
    name = re.sub(r"\d+\.\d+", lambda number: f"{float(number[0]):g}", name)
    return "-".join(re.findall(r"[a-z0-9.]+", name))


def versions() -> dict[str, str]:
    """The versions of what was compared."""
    found = {"python": platform.python_version()}
    for name in LIBRARIES:
        try:
            found[name] = importlib.metadata.version(name)
        except importlib.metadata.PackageNotFoundError:
            pass
    return found


def table(header: Sequence[str], rows: Sequence[Sequence[Any]]) -> str:
    """Markdown."""
    lines = [header, ["---"] * len(header), *rows]
    return "\n".join(f"| {' | '.join(map(str, line))} |" for line in lines)


def publish(
    options: Options, result: dict[str, Any], text: str, draw: Callable[[dict[str, Any]], Any]
) -> None:
    """Writes numbers, with what they were measured on, table and picture, when asked to."""
    if options.json is None:
        return
    command = command_line("benchmark.py", *sys.argv[1:])
    facts = {"device": device(), "versions": versions(), "command": command, "seed": options.seed}
    options.json.parent.mkdir(parents=True, exist_ok=True)
    write_json(options.json, facts | result)
    write_text(options.json.with_suffix(".md"), text + "\n")
    write_picture(options.json.with_suffix(".png"), draw(result))


def _read(path: str) -> str:
    try:
        return pathlib.Path(path).read_text()
    except OSError:
        return ""
