"""Benchmarks recur against other libraries, all in one run, as ratios.

    python scripts/benchmark.py training                         a training step of one layer
    python scripts/benchmark.py steps                            any step, against lax.scan of it
    python scripts/benchmark.py long                             memory and time of long sequences
    python scripts/benchmark.py generation                       characters per second
    python scripts/benchmark.py parallel                         scan, associative, newton
    python scripts/benchmark.py compile                          tracing and compiling deep models
    python scripts/benchmark.py sequences                        lengths drawn from a distribution
    python scripts/benchmark.py sequences --tokens FILE          lengths from a file of tokens
    python scripts/benchmark.py sequences --text FILE            lengths from a file of sentences
    python scripts/benchmark.py all --results DIR                all of them, into files by device

All take --quick, a smaller run as a check; --seed; and --json FILE, which writes the numbers, with
a table and a picture next to them. On CPU, JAX has two devices.

Install: pip install -e ".[train,bench]". A library that is not installed is skipped; the table says
so. Cost on two busy CPU cores: training 13 minutes, long 2, generation 2, parallel 9, compile 2,
sequences with two corpora 16. Results: scripts/results/, named by device.
"""

from __future__ import annotations

import interrupts

if __name__ == "__main__":
    interrupts.end_at_once()

import dataclasses
import functools
import pathlib

import jax
import tyro
from benchmarks import compiling, generation, long, parallel, report, sequences, steps, training

from recur import runs

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
    """The folder of the results, with a file for each benchmark and device."""
    tokens: tuple[pathlib.Path, ...] = ()
    """See `sequences`."""
    text: tuple[pathlib.Path, ...] = ()
    """See `sequences`."""
    quick: bool = False
    """Fewer and smaller measurements, to check that everything runs."""
    seed: runs.Seed = 0
    """Seed of weights and inputs."""


def run_all(options: All) -> None:
    """Runs all benchmarks, and writes their results as `<benchmark>-<device>`."""
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
            runs.check_options(options)
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
    runs.run_command("benchmark", main, interrupted="The results of this run are lost.")
