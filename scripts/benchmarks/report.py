"""What all benchmarks share: rounds in which every row runs once, the device's name, tables."""

from __future__ import annotations

import importlib.metadata
import json
import os
import pathlib
import platform
import random
import statistics
import time
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import jax

LIBRARIES = ("recur", "jax", "jaxlib", "flax", "dm-haiku", "torch")


def time_rounds(runs: Mapping[str, Callable[[], None]], rounds: int) -> dict[str, list[float]]:
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


def ratio(seconds: Sequence[float], to: Sequence[float]) -> float:
    """How many times faster than `to`, the median over rounds."""
    return statistics.median(b / a for a, b in zip(seconds, to, strict=True))


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


def write(path: pathlib.Path, result: dict[str, Any], text: str) -> None:
    """Writes the numbers as JSON, and beside them the table, with what it was measured on."""
    result = {"device": device(), "versions": versions(), **result}
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps(result, indent=1) + "\n")
    path.with_suffix(".md").write_text(text + "\n")


def _read(path: str) -> str:
    try:
        return pathlib.Path(path).read_text()
    except OSError:
        return ""
