"""Measures recur beside its peers, all in one run, as ratios.

    python scripts/benchmark.py sequences                        lengths drawn from a distribution
    python scripts/benchmark.py sequences --tokens FILE          a word a line, sentences apart
    python scripts/benchmark.py sequences --text FILE            a sentence a line
    python scripts/benchmark.py sequences --quick                in about a minute
    python scripts/benchmark.py sequences --json FILE            writes the numbers, and a table

Install: pip install -e ".[train,bench]". Cost: five minutes a data set on two CPU cores. To expect
there: recur's packed rows train 3.2 times as many real tokens a second as Flax on the sentence
lengths of UD English EWT, 2.0 times on those of Multi30k German. A peer that is not installed is
skipped, and the table says so. What was measured, on which device, is under scripts/results/.
"""

from __future__ import annotations

import tyro
from benchmarks import sequences

if __name__ == "__main__":
    tyro.extras.subcommand_cli_from_dict(
        {"sequences": sequences.main},
        description=__doc__,
        config=(tyro.conf.OmitArgPrefixes,),
    )
