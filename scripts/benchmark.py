"""Measures recur beside its peers, all in one run, as ratios.

    python scripts/benchmark.py training                         a training step of one layer
    python scripts/benchmark.py steps                            any step, beside lax.scan of it
    python scripts/benchmark.py long                             memory and time of long sequences
    python scripts/benchmark.py generation                       characters a second
    python scripts/benchmark.py parallel                         scan, associative, newton
    python scripts/benchmark.py compile                          tracing and compiling deep models
    python scripts/benchmark.py sequences                        lengths drawn from a distribution
    python scripts/benchmark.py sequences --tokens FILE          a word a line, sentences apart
    python scripts/benchmark.py sequences --text FILE            a sentence a line
    python scripts/benchmark.py all --results DIR                all of them, into files by device

Each takes --quick, to see that it runs; --seed; and --json FILE, which writes the numbers, and
beside them a table and a picture. On CPU, JAX sees two devices.

Install: pip install -e ".[train,bench]". A peer that is not installed is skipped, and the table
says so. On two busy CPU cores: training 13 minutes, long 2, generation 2, parallel 9, compile 2,
sequences with two corpora 16. What was measured: see scripts/results/, named by device.
"""

from __future__ import annotations

import interrupts

if __name__ == "__main__":
    interrupts.end_at_once()

import dataclasses
import functools
import pathlib
import sys

import jax
import running
import tyro
from benchmarks import compiling, generation, long, parallel, report, sequences, steps, training
from bounds import check_numbers

BENCHMARKS = {
    "training": training,
    "steps": steps,
    "long": long,
    "generation": generation,
    "parallel": parallel,
    "compile": compiling,
    "sequences": sequences,
}


@dataclasses.dataclass(frozen=True)
class All:
    """All benchmarks, one after the other."""

    results: pathlib.Path
    """The folder of the results, a file for each benchmark and device."""
    tokens: tuple[pathlib.Path, ...] = ()
    """As of `sequences`."""
    text: tuple[pathlib.Path, ...] = ()
    """As of `sequences`."""
    quick: bool = False
    """As of each."""
    seed: int = 0
    """As of each."""


def run_all(options: All) -> None:
    """Runs each, and writes what it found as `<benchmark>-<device>`."""
    for path in (*options.tokens, *options.text):
        path.open().close()  # an OSError now, and not after half an hour
    for name, benchmark in BENCHMARKS.items():
        print(f"# {name}\n")
        more = {"tokens": options.tokens, "text": options.text} if name == "sequences" else {}
        file = options.results / f"{name}-{report.slug()}.json"
        benchmark.main(benchmark.Options(quick=options.quick, seed=options.seed, json=file, **more))


def main(arguments: list[str]) -> None:
    """Runs a subcommand."""

    def checked(run):
        @functools.wraps(run)
        def run_checked(options):
            check_numbers(options)
            run(options)

        return run_checked

    commands = {name: benchmark.main for name, benchmark in BENCHMARKS.items()} | {"all": run_all}
    tyro.extras.subcommand_cli_from_dict(
        {name: checked(run) for name, run in commands.items()},
        prog="benchmark.py",
        description=__doc__,
        args=arguments,
        config=(tyro.conf.OmitArgPrefixes,),
    )


if __name__ == "__main__":
    jax.config.update("jax_num_cpu_devices", 2)
    running.run_script("benchmark", main, sys.argv[1:], running.IS_LOST)
