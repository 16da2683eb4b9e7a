"""Runs: options, the folder of a run, resuming, results, and the command line of a script."""

from recur.runs.command_line import command_line, parse_options, run_command
from recur.runs.curves_file import Curves
from recur.runs.folders import new_folder
from recur.runs.options import (
    Count,
    Finite,
    NonNegative,
    Positive,
    Range,
    Rate,
    Seed,
    Size,
    between,
    check_options,
)
from recur.runs.progress import Progress
from recur.runs.results import markdown_table
from recur.runs.run import Run, start_run
from recur.runs.run_files import read_json, write_figure, write_json, write_text
from recur.serialization import register_namedtuples

register_namedtuples()

__all__ = [
    "Count",
    "Curves",
    "Finite",
    "NonNegative",
    "Positive",
    "Progress",
    "Range",
    "Rate",
    "Run",
    "Seed",
    "Size",
    "between",
    "check_options",
    "command_line",
    "markdown_table",
    "new_folder",
    "parse_options",
    "read_json",
    "run_command",
    "start_run",
    "write_figure",
    "write_json",
    "write_text",
]
