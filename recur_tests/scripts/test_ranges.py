"""Every number among the options of a script has a valid range."""

import importlib
import typing

import pytest

from recur.runs.options import _ranges

OPTIONS = {
    "benchmark": ["All"],
    "benchmarks.parallel": ["Options"],
    "benchmarks.report": ["Options"],
    "caption": ["Options", "DescribeOptions"],
    "char_lm": ["Options", "GenerateOptions"],
    "classify": ["Options", "PredictOptions"],
    "damage": ["Options"],
    "digits": ["Options"],
    "handwrite": ["Options", "WriteOptions"],
    "kill": ["Options"],
    "memory": ["Options"],
    "music_lm": ["Options", "GenerateOptions"],
    "tag": ["Options"],
    "transcribe": ["Options"],
    "translate": ["Options"],
    "trees": ["Options"],
    "word2vec": ["Options"],
    "word_lm": ["Options", "GenerateOptions"],
}
WITHOUT = {("char_lm", "top_p"), ("tag", "columns")}  # the library checks them


def has_number(hint):
    return hint in (int, float) or any(map(has_number, typing.get_args(hint)))


@pytest.mark.parametrize("script", OPTIONS)
def test_every_number_has_a_range(scripts, script):
    for kind in OPTIONS[script]:
        kind = getattr(importlib.import_module(script), kind)
        for name, hint in typing.get_type_hints(kind, include_extras=True).items():
            if has_number(hint) and (script, name) not in WITHOUT:
                assert list(_ranges(hint)), name
