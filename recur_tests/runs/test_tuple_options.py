"""Options that are tuples, saved as lists and loaded as tuples again."""

import dataclasses
import json
import pathlib

import pytest

from recur.runs import Run, parse_options, start_run


@dataclasses.dataclass(frozen=True)
class Options:
    run: pathlib.Path | None = None
    triples: tuple[tuple[str, str, int], ...] = ()
    pair: tuple[int, float] | None = None
    files: tuple[pathlib.Path, ...] = ()
    both: tuple[pathlib.Path, pathlib.Path] | None = None


def test_they_are_defaults_of_the_resumed_run(tmp_path):
    given = ["--run", str(tmp_path / "run"), "--pair", "3", "0.5", "--files", "a", "b"]
    given += ["--both", "c", "d"]
    options = parse_options(Options, [*given, "--triples", "a", "b", "1", "c", "d", "2"], "test")
    assert options.both == (pathlib.Path("c").absolute(), pathlib.Path("d").absolute())
    assert options.triples == (("a", "b", 1), ("c", "d", 2)) and options.pair == (3, 0.5)
    with start_run(options.run, options):
        pass
    assert Run(options.run).options(Options) == options
    resumed = parse_options(Options, given[:2], "test", resume=True)
    assert resumed == options
    with start_run(resumed.run, resumed):
        pass


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("triples", [["a", "b"]]),
        ("triples", [["a", 1, 1]]),
        ("triples", ["abc"]),
        ("pair", [1]),
        ("pair", [1, "2"]),
    ],
)
def test_other_values_are_refused(tmp_path, name, value):
    (tmp_path / "options.json").write_text(json.dumps({name: value}))
    with pytest.raises(
        ValueError, match=f"expected the options of a run of this script, got {name}"
    ):
        Run(tmp_path).options(Options)
