"""Damages files of checkpoints, one at a time, and counts wrong restores without an error.

    python scripts/damage.py                       400 damaged files
    python scripts/damage.py --files 20 --seed 1

Install: pip install -e ".[train]". The script saves checkpoints of a small model. In each round it
truncates, empties or deletes one file of a copy, or flips a bit or zeros 16 bytes, and restores all
checkpoints. Each must be refused, or equal what was saved bit for bit; anything else counts as
silent, and the exit status is 1. The last line printed has the counts.
"""

from __future__ import annotations

import interrupts

if __name__ == "__main__":
    interrupts.end_at_once()

import collections
import dataclasses
import pathlib
import shutil
import sys
import tempfile
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import optax

import recur
from recur import runs
from recur.train import Checkpoints, init_state

STEPS = (10, 20, 30)


@dataclasses.dataclass(frozen=True)
class Options:
    """Damage files of checkpoints, one at a time, and restore them."""

    files: runs.Size = 400
    """Number of files to damage."""
    seed: runs.Seed = 0
    """Seed of the files and kinds of damage."""


def save_run(folder: pathlib.Path) -> list[Any]:
    """Saves a checkpoint for each of STEPS, and returns their contents."""
    layer = recur.scan(recur.lstm(16))
    params = layer.init(jax.random.key(0), jnp.ones((2, 8)))
    state = init_state(params, optax.adam(0.1), jax.random.key(1))
    saved = []
    with Checkpoints(folder, best="valid") as checkpoints:
        for step in STEPS:
            state = state._replace(
                step=jnp.asarray(step, jnp.int32),
                params=jax.tree.map(lambda leaf: leaf + 0.5, state.params),
            )
            stream = {"position": 7 * step}
            checkpoints.save(state, stream, {"valid": 1 / step})
            saved.append((state, stream))
    return saved


def damage(file: pathlib.Path, draws: np.random.Generator) -> str:
    """Damages a file, and returns the kind of damage."""
    data = bytearray(file.read_bytes())
    kind = draws.choice(["a bit flipped", "cut short", "emptied", "deleted", "zeros"])
    if kind == "deleted":
        file.unlink()
        return kind
    at = int(draws.integers(len(data))) if data else 0
    if kind == "a bit flipped" and data:
        data[at] ^= 1 << int(draws.integers(8))
    if kind == "zeros" and data:
        data[at : at + 16] = bytes(len(data[at : at + 16]))
    kept = {"cut short": at, "emptied": 0}.get(kind, len(data))
    file.write_bytes(data[:kept])
    return kind


def restore_all(folder: pathlib.Path, saved: list[Any]) -> collections.Counter:
    """Restores all checkpoints of a folder, and counts the outcomes."""
    found: collections.Counter = collections.Counter()
    for step, (state, stream) in zip(STEPS, saved, strict=True):
        try:
            with Checkpoints(folder, best="valid") as checkpoints:
                restored = checkpoints.restore(like=saved[0][0], step=step)
        except (ValueError, OSError) as error:
            found["refused"] += 1
            assert str(folder) in str(error), error
            continue
        assert restored is not None
        is_whole = restored.stream == stream and _equal(restored.state, state)
        found["whole" if is_whole else "silent"] += 1
    return found


def _equal(state: Any, other: Any) -> bool:
    def bits(tree):
        return [
            np.asarray(jax.random.key_data(leaf) if leaf is tree.key else leaf).tobytes()
            for leaf in jax.tree.leaves(tree)
        ]

    return bits(state) == bits(other)


def main(arguments: list[str]) -> None:
    """Damages the given number of files, one at a time."""
    options = runs.parse_options(Options, arguments, "damage.py")
    draws = np.random.default_rng(options.seed)
    counts: collections.Counter = collections.Counter()
    with tempfile.TemporaryDirectory() as place:
        whole, copy = pathlib.Path(place) / "whole", pathlib.Path(place) / "copy"
        saved = save_run(whole)
        for number in range(options.files):
            shutil.copytree(whole, copy)
            files = sorted(path for path in copy.rglob("*") if path.is_file())
            file = files[int(draws.integers(len(files)))]
            name = file.relative_to(copy)
            kind = damage(file, draws)
            found = restore_all(copy, saved)
            counts += found
            if found["silent"]:
                print(f"{number}: {name}, {kind}: restored wrong without an error")
            shutil.rmtree(copy)
    print(
        f"{options.files} damaged files, {3 * options.files} restores: {counts['whole']} whole, "
        f"{counts['refused']} refused, {counts['silent']} silent"
    )
    sys.exit(counts["silent"] > 0)


if __name__ == "__main__":
    runs.run_command("damage", main, interrupted="The results of this run are lost.")
