"""The benchmarks on a few steps: tables, files, missing peers."""

import dataclasses
import functools
import importlib
import json
import os
import pathlib
import subprocess
import sys

import jax
import numpy as np
import pytest

from recur.runs import run_command

SCRIPTS = pathlib.Path(__file__).parents[2] / "scripts"


@pytest.fixture
def sequences(scripts, monkeypatch):
    module = importlib.import_module("benchmarks.sequences")
    for name, value in {"FEATURES": 4, "WIDTH": 3, "ROWS": 2, "QUICK": (10, 2)}.items():
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


@pytest.fixture
def benchmark(scripts, monkeypatch):
    """Imports a benchmark, with constants of its module replaced."""
    for peer in ("torch", "haiku", "equinox", "keras"):
        monkeypatch.setitem(sys.modules, peer, None)  # not installed

    def load(name, **values):
        module = importlib.import_module(f"benchmarks.{name}")
        for constant, value in values.items():
            monkeypatch.setattr(module, constant, value)
        return module

    return load


@pytest.fixture
def result_of(tmp_path, capsys):
    """Runs a benchmark, and checks the files that every one writes."""

    def run(module, **options):
        file = tmp_path / "new" / "result-2.5ghz.json"
        module.main(module.Options(quick=True, json=file, **options))
        result = json.loads(file.read_text())
        assert result["device"] and result["versions"]["jax"] and result["seed"] == 0
        shown = capsys.readouterr().out
        for part in file.with_suffix(".md").read_text().strip().split("\n\n"):
            assert part in shown
        assert file.with_suffix(".png").read_bytes().startswith(b"\x89PNG")
        return result

    return run


def test_training_compares_every_library_that_is_there(benchmark, result_of):
    shape = (4, 64, 2, 5)
    training = benchmark("training", SHAPES={True: (shape,)}, ROUNDS={True: 2}, PRODUCT=64)
    benchmark("peers", GATES={"elman": 1})
    result = result_of(training)
    assert set(result["data"]) == {"elman"} and set(result["summary"]) == {"elman", "all"}
    [found] = result["data"]["elman"].values()
    names = set(training.rows_of("elman", shape, 0)) - {training.CEILING}
    assert set(found["rows"]) | set(found["skipped"]) == names
    assert {"PyTorch", "Haiku", "Equinox", "Keras on JAX"} <= set(found["skipped"])
    assert {training.ONE, training.TWO, training.LAX, "Flax Linen"} <= set(found["rows"])
    best = found["best_jax_peer"]
    assert found["rows"][best]["times"][best] == 1 and found["ceiling_gflops"] > 0
    for name, row in found["rows"].items():
        assert min(row["forward_ms"], row["gradient_ms"], row["gflops"]) > 0
        assert (row.get("temp_bytes", 0) > 0) is (name != training.TWO)  # compiles by itself
        assert len(row["seconds"]) == 2
    for ratios in result["summary"]["all"].values():
        assert ratios["PyTorch"] is None and ratios["the best JAX peer"] > 0


def test_two_devices_give_the_gradient_of_one(benchmark):
    training = benchmark("training")
    xs = jax.random.normal(jax.random.key(0), (4, 3, 2))
    model = training.peers.of_recur("elman", xs, 5, jax.random.key(1))
    one, two = training.on_one(model, xs), training.on_two(model, xs)
    same = functools.partial(np.testing.assert_allclose, rtol=1e-5, atol=1e-6)
    jax.tree.map(same, one.gradient(), two.gradient())
    same(np.concatenate([np.asarray(half) for half in two.forward()]), one.forward())
    with pytest.raises(training.report.Skip, match="halved"):
        training.on_two(model, xs[:1])


@pytest.mark.parametrize("cell", ["lstm", "gru", "elman"])
def test_peers_have_the_outputs_they_should(benchmark, cell):
    peers = benchmark("peers")

    def outputs(of, xs):
        model = of(cell, xs, 5, jax.random.key(1))
        return model.outputs(model.params, xs)

    xs = jax.ShapeDtypeStruct((4, 3, 2), jax.numpy.float32)
    for of in (peers.of_recur, peers.of_lax, peers.of_linen, peers.of_nnx):
        assert jax.eval_shape(functools.partial(outputs, of), xs).shape == (4, 3, 5)


def test_long_sequences_need_less_memory_in_segments(benchmark, result_of):
    segments = {True: {64: (4, 4), 1024: (8, 16)}}
    long = benchmark("long", UNITS=4, SEGMENTS=segments, ROUNDS={True: 1})
    result = result_of(long)
    for found in result["data"].values():
        assert set(found["rows"]) == {long.SCAN, long.ROOT, long.NESTED} and not found["skipped"]
    assert set(result["slopes"]) == {long.SCAN, long.ROOT, long.NESTED}
    assert result["slopes"][long.ROOT] < result["slopes"][long.SCAN]


def test_generation_counts_characters(benchmark, result_of):
    generation = benchmark("generation", STREAMS=(1, 3), UNITS=(4,), STEPS={True: 5})
    result = result_of(generation)
    assert set(result["data"]) == {"4 units, one stream", "4 units, 3 streams"}
    for found in result["data"].values():
        assert set(found["rows"]) == set(generation.ROWS) - {generation.TORCH}
        assert set(found["skipped"]) == {generation.TORCH}
        assert found["rows"][generation.LOOP]["times"] == {generation.LOOP: 1}
        assert all(row["characters_per_second"] > 0 for row in found["rows"].values())


PARALLEL = {"COUNTS": {True: (8,)}, "UNITS": {True: (2,)}, "ROUNDS": {True: 1}}


def test_parallel_rows_stand_beside_the_scan(benchmark, result_of):
    parallel = benchmark("parallel", **PARALLEL)
    result = result_of(parallel)
    for cell, rows in parallel.ROWS.items():
        [found] = result["data"][cell]
        assert set(found["rows"]) == set(rows) and not found["skipped"]
        assert found["rows"][parallel.SCAN]["gradient"]["times_scan"] == 1
        for row in found["rows"].values():
            assert row["outputs"]["ms"] > 0 and row["gradient"]["ms"] > 0
    newton = found["rows"]["recur.newton, full"]
    assert newton["converged"] and 0 < newton["rounds"] <= 8


def test_parallel_rows_that_need_too_much_are_skipped(benchmark, result_of):
    parallel = benchmark("parallel", **PARALLEL)
    benchmark("parallel", ROWS={"leaky integrators": parallel.ROWS["leaky integrators"]})
    [found] = result_of(parallel, limit=0)["data"]["leaky integrators"]
    assert set(found["rows"]) == {parallel.SCAN}
    assert "GB" in found["skipped"]["recur.associative"]


def test_compiling_is_timed_by_layers_and_by_steps(benchmark, result_of):
    sizes = {"ROWS": 2, "STEPS": 3, "UNITS": 4, "LAYERS_OF_COUNTS": 1}
    counts = {"LAYERS": {True: (1,)}, "COUNTS": {True: (2,)}}
    result = result_of(benchmark("compiling", **sizes, **counts))
    by_layers = {(each["row"], each["size"]) for each in result["data"]["layers"]}
    assert by_layers == {("recur", 1), ("Flax Linen", 1)}
    assert [each["size"] for each in result["data"]["steps"]] == [2]
    for each in result["data"]["layers"] + result["data"]["steps"]:
        assert each["lower_seconds"] > 0 and each["compile_seconds"] > 0


def test_files_are_called_after_the_device(benchmark, monkeypatch):
    report = benchmark("report")
    for name, slug in {
        "Intel(R) Xeon(R) Processor @ 2.50GHz, 2 cores": "intel-xeon-2.5ghz-2-cores",
        "Intel(R) Core(TM) i7 CPU @ 3.00GHz, 8 cores": "intel-core-i7-3ghz-8-cores",
        "NVIDIA H200": "nvidia-h200",
    }.items():
        monkeypatch.setattr(report, "device", lambda name=name: name)
        assert report.slug() == slug


def test_all_writes_a_file_for_each(benchmark, tmp_path, monkeypatch):
    script = importlib.import_module("benchmark")
    told = {}
    (tmp_path / "tokens").write_text("a")
    for name, module in script.BENCHMARKS.items():
        monkeypatch.setattr(module, "main", lambda options, name=name: told.update({name: options}))
    script.run_all(script.All(results=tmp_path, tokens=(tmp_path / "tokens",), quick=True, seed=3))
    assert set(told) == set(script.BENCHMARKS) and told["sequences"].tokens
    for name, options in told.items():
        assert options.quick and options.seed == 3 and options.json.parent == tmp_path
        assert options.json.name == f"{name}-{script.report.slug()}.json"


@pytest.mark.parametrize("name", ["training", "long", "generation", "parallel", "compile"])
def test_every_benchmark_takes_the_same_options(benchmark, name):
    script = importlib.import_module("benchmark")
    fields = {field.name for field in dataclasses.fields(script.BENCHMARKS[name].Options)}
    assert {"quick", "json", "seed"} <= fields


def test_the_command_lists_its_benchmarks():
    command = [sys.executable, str(SCRIPTS / "benchmark.py"), "sequences", "--help"]
    environment = {**os.environ, "PYTHONPATH": str(SCRIPTS.parent)}
    shown = subprocess.run(command, capture_output=True, text=True, env=environment).stdout
    assert all(option in shown for option in ("--tokens", "--text", "--quick", "--json", "--seed"))


def test_labels_of_pictures_are_shown_as_they_are(benchmark, tmp_path):
    pictures = benchmark("pictures")
    names = ["recur", "_peer", "$^$"]
    drawn = [
        pictures.dots({"$^$": {"$^$": dict.fromkeys(names, 1.0)}}, x="$$"),
        pictures.lines({"$^$": {name: ([1, 2], [1.0, 2.0]) for name in names}}, x="$$"),
        pictures.bars({"_$^$": dict.fromkeys(names, 1.0), "b": dict.fromkeys(names, 2.0)}, x="$$"),
    ]
    for number, figure in enumerate(drawn):
        figure.savefig(tmp_path / f"{number}.png")
        for legend in figure.legends:
            assert [text.get_text() for text in legend.get_texts()] == names
    bars = drawn[-1].axes[0]
    assert [text.get_text() for text in bars.get_yticklabels()] == names


@pytest.fixture
def told(scripts, monkeypatch):
    """Runs the command with arguments; returns the one line with which it gives up."""
    for its_own in ("stdout", "stderr", "unraisablehook"):
        monkeypatch.setattr(sys, its_own, getattr(sys, its_own))
    script = importlib.import_module("benchmark")

    def run(*arguments):
        with pytest.raises(SystemExit) as stopped:
            run_command("benchmark", script.main, [*map(str, arguments)])
        return stopped.value.code

    return run


def test_mistakes_are_told_in_one_line(told, tmp_path):
    assert "none" in told("sequences", "--tokens", tmp_path / "none")
    assert "none" in told("all", "--results", tmp_path, "--text", tmp_path / "none")
    assert "--seed: expected from 0 to 4,294,967,295, got -1" in told("training", "--seed", -1)
    for content, message in {
        b"": "expected a text, got an empty file",
        b"\xff\xfe": "expected text in utf-8, got the byte 0xff",
        b"# only\n# comments\n": "expected sentences, got comments only",
    }.items():
        (tmp_path / "tokens").write_bytes(content)
        assert message in told("sequences", "--quick", "--tokens", tmp_path / "tokens")
