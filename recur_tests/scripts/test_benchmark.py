"""The benchmark's script on a handful of sequences: its table, its file, its missing peers."""

import importlib
import json
import os
import pathlib
import subprocess
import sys

import numpy as np
import pytest

SCRIPTS = pathlib.Path(__file__).parents[2] / "scripts"


@pytest.fixture
def sequences(monkeypatch):
    monkeypatch.syspath_prepend(str(SCRIPTS))
    module = importlib.import_module("benchmarks.sequences")
    for name, value in {"FEATURES": 4, "WIDTH": 3, "ROWS": 2, "QUICK": (20, 2)}.items():
        monkeypatch.setattr(module, name, value)
    return module


def test_all_rows_see_real_tokens_and_none_is_left_out(sequences, tmp_path, capsys, monkeypatch):
    monkeypatch.setitem(sys.modules, "torch", None)  # not installed
    text = tmp_path / "text"
    text.write_text("a b c\nd\n" + 6 * "e f g h\n" + "\n")
    file = tmp_path / "new" / "result.json"
    sequences.main(sequences.Options(text=(text,), quick=True, json=file))
    result = json.loads(file.read_text())
    found = result["data"][str(text)]
    assert set(found["rows"]) | set(found["skipped"]) == set(sequences.rows_of(np.array([4])))
    assert {"PyTorch, packed", "PyTorch, padded to the batch's longest"} <= set(found["skipped"])
    assert found["rows"][sequences.RIVAL]["times_the_rival"] == 1
    for row in found["rows"].values():
        assert row["real_tokens_per_second"] > 0 and 0 <= row["padding"] < 1
        assert len(row["seconds"]) == 2
    assert result["device"] and result["versions"]["jax"]
    assert file.with_suffix(".md").read_text().strip() in capsys.readouterr().out
    assert "skipped: " in file.with_suffix(".md").read_text()


def test_lengths_of_files(sequences, tmp_path):
    tokens = tmp_path / "tokens"
    tokens.write_text("# text = a b\na\tX\nb\tY\n\nc\tX\n\n\n#\tX\ne\tX\nf\tX")
    assert sequences.token_lengths(tokens).tolist() == [2, 1, 3]
    text = tmp_path / "text"
    text.write_text("a b\nc\n")
    assert sequences.text_lengths(text).tolist() == [2, 1]
    stated = sequences.stated_lengths(0)
    assert stated.max() <= 128 and 14 < stated.mean() < 18


def test_padding_is_what_the_lengths_say(sequences):
    source = sequences.Source(np.array([1, 3]), 0)
    [batch] = sequences.first_batches(source, sequences.pad(), 99, None)
    assert (sequences.real_steps([batch]), sequences.all_steps([batch])) == (4, 6)


def test_the_command_lists_its_benchmarks():
    command = [sys.executable, str(SCRIPTS / "benchmark.py"), "sequences", "--help"]
    environment = {**os.environ, "PYTHONPATH": str(SCRIPTS.parent)}
    shown = subprocess.run(command, capture_output=True, text=True, env=environment).stdout
    assert all(option in shown for option in ("--tokens", "--text", "--quick", "--json", "--seed"))
