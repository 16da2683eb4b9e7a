"""The command `python -m recur.diagnose RUN`, which writes the report of a run."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence

from recur.diagnose.run_report import write_report


def main(arguments: Sequence[str] | None = None) -> None:
    """Writes the report and prints the path of its page."""
    parser = argparse.ArgumentParser(
        prog="python -m recur.diagnose",
        description="Write the report of a training run: an HTML page, and its pictures as PNGs.",
    )
    parser.add_argument("run", help="the folder of a run, such as runs/char_lm-1")
    parser.add_argument("--out", help="where to write; default: the folder report of the run")
    given = parser.parse_args(arguments)
    try:
        page = write_report(given.run, given.out)
    except (ImportError, OSError, ValueError) as error:
        sys.exit(f"python -m recur.diagnose: {str(error).splitlines()[0]}")
    print(page)


if __name__ == "__main__":
    main()
