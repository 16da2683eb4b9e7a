"""The valid ranges of options."""

import dataclasses
import importlib
import typing

import pytest

SCRIPTS = {
    "char_lm": ["Options", "GenerateOptions"],
    "memory": ["Options"],
    "music_lm": ["Options", "GenerateOptions"],
    "word2vec": ["Options"],
    "word_lm": ["Options", "GenerateOptions"],
}
UNBOUNDED = {("char_lm", "top_p")}  # the library tells it as it should be


@pytest.fixture(scope="module")
def bounds(scripts):
    return importlib.import_module("bounds")


def numbers_of(kind):
    for name, hint in typing.get_type_hints(kind).items():
        if {int, float} & {hint, *typing.get_args(hint)}:
            yield name


@pytest.mark.parametrize("script", SCRIPTS)
def test_every_number_has_a_bound(bounds, script):
    for kind in SCRIPTS[script]:
        for name in numbers_of(getattr(importlib.import_module(script), kind)):
            assert name in bounds.BOUNDS or (script, name) in UNBOUNDED


@pytest.mark.parametrize(
    ("name", "wrong", "message"),
    [
        ("batch_size", 0, "--batch-size: expected from 1 to 1,000,000, got 0"),
        ("features", 10**12, "--features: expected from 1 to 1,000,000, got 1000000000000"),
        ("steps", 10**10, "--steps: expected from 1 to 1,000,000,000, got 10000000000"),
        ("layers", 10**5, "--layers: expected from 1 to 1,000, got 100000"),
        ("seed", -1, "--seed: expected from 0 to 4,294,967,295, got -1"),
        ("seed", 2**63, "--seed: expected from 0 to 4,294,967,295, got 9223372036854775808"),
        ("learning_rate", 0.0, "--learning-rate: expected above 0, got 0.0"),
        ("learning_rate", float("inf"), "--learning-rate: expected above 0, got inf"),
        ("weight_decay", float("nan"), "--weight-decay: expected at least 0, got nan"),
        ("dropout", 1.0, "--dropout: expected from 0 to below 1, got 1.0"),
        ("length_penalty", float("nan"), "--length-penalty: expected a finite number, got nan"),
        ("beats_per_minute", 1e9, "--beats-per-minute: expected from 4 to 1,000, got 10000"),
    ],
)
def test_an_error_names_the_option_of_an_invalid_number(bounds, name, wrong, message):
    def options(value):
        return dataclasses.make_dataclass("Options", [(name, float)])(value)

    with pytest.raises(ValueError, match=message):
        bounds.check_numbers(options(wrong))
    for fine in (None, "average", {"batch_size": 1, "dropout": 0.0}.get(name, 5)):
        bounds.check_numbers(options(fine))
