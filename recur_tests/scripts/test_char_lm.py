"""The character model from the command line: options, errors, killed and resumed runs."""

import dataclasses
import importlib
import io
import json
import os
import pathlib
import random
import shutil
import signal
import subprocess
import sys
import time

import numpy as np
import pytest

from recur.runs import start_run

SCRIPT = "char_lm"
FILE = pathlib.Path(__file__).parents[2] / "scripts" / "char_lm.py"
TINY = "--features 8 --embedding 4 --batch-size 2 --k1 4 --sample-length 5".split()
RUNS = {
    "lstm": "--cell lstm --layers 2 --features 8 --embedding 4 --dropout 0.1 --dtype bfloat16 "
    "--steps 6 --batch-size 2 --k1 4 --k2 6 --optimizer rmsprop --learning-rate 0.01 "
    "--schedule char-rnn --clip average --weight-decay 0.01 --seed 1 --report-every 2 "
    "--checkpoint-every 3 --sample-length 5",
    "ugrnn": "--cell ugrnn --clip none --schedule constant --optimizer adam --steps 3",
    "elman": "--cell elman --clip 0.5 --steps 3",
    "gru": "--cell gru --steps 3 --dtype float32",
}


@pytest.fixture(scope="module")
def char_lm(scripts):
    return importlib.import_module(SCRIPT)


def write_texts(folder):
    draws = random.Random(0)
    words = ["wind", "und", "wellen", "gehen", "über", "das", "land", "\n"]
    for name in ("a.txt", "b.txt"):
        text = " ".join(draws.choices(words, k=300))
        (folder / name).write_text(text, encoding="utf-8")
    return ["--text", str(folder / "a.txt"), str(folder / "b.txt")]


@pytest.fixture
def texts(tmp_path):
    return write_texts(tmp_path)


def records(folder):
    return [json.loads(line) for line in (folder / "metrics.jsonl").read_text().splitlines()]


@pytest.mark.parametrize("name", RUNS)
def test_a_short_run_with_every_option(command, texts, tmp_path, name):
    folder = tmp_path / "run"
    options = RUNS[name].split()
    printed = command(*texts, "--run", folder, *(options if name == "lstm" else TINY + options))
    assert "| this model | " in printed and "| gzip -9 | " in printed and "| xz -9 | " in printed
    assert printed.count("--- a sample after ") == (4 if name == "lstm" else 2)
    last = records(folder)[-1]
    assert last["step"] == (6 if name == "lstm" else 3)
    assert np.isfinite([last["loss"], last["gradient_norm"], last["held_out_bits"]]).all()
    assert (folder / "curve.png").read_bytes().startswith(b"\x89PNG")
    table = json.loads((folder / "results.json").read_text())
    table = {row["bits per character, held out"]: row for row in table}
    assert table["this model"]["file by file"] == last["held_out_bits"]
    assert table["gzip -9"]["as one archive"] < table["gzip -9"]["file by file"]
    saved = json.loads((folder / "options.json").read_text())
    for flag, value in zip(options[::2], options[1::2], strict=True):
        assert str(saved[flag.removeprefix("--").replace("-", "_")]) == value


def test_every_option_is_run_above(char_lm):
    given = {word for options in RUNS.values() for word in options.split() if word[:2] == "--"}
    fields = {f"--{f.name.replace('_', '-')}" for f in dataclasses.fields(char_lm.Options)}
    assert given | {"--text", "--run"} == fields


def test_writes_text_with_a_run(command, complaint, texts, tmp_path):
    folder = tmp_path / "run"
    command(*texts, "--run", folder, *TINY, "--steps", "4")
    write = ["generate", "--run", folder, "--prompt", "wind "]
    write += ["--max-tokens", "20", "--min-tokens", "20"]
    first = command(*write)
    assert first.startswith("wind ") and len(first.removesuffix("\n")) == 25
    assert command(*write) == first
    assert command(*write, "--seed", "1") != first
    for options in (["--temperature", "0"], ["--top-k", "1"], ["--top-p", "0.01"]):
        assert command(*write, *options) == command(*write, "--temperature", "0")
    shutil.copytree(folder, tmp_path / "nothing yet", ignore=lambda *_: ["checkpoints"])
    assert "expected a checkpoint, got none yet" in complaint(
        "generate", "--run", tmp_path / "nothing yet"
    )
    assert "expected characters of the training text, got '!Z'" in complaint(
        "generate", "--run", folder, "--prompt", "Z!"
    )
    assert "expected the folder of a run, with options.json in it" in complaint(
        "generate", "--run", tmp_path / "none"
    )


def test_learns_pythons_library_by_default(char_lm, command, tmp_path, monkeypatch):
    sources = {f"module{n}.py": f"def f{n}(x):\n    return x + {n}\n" * 5 for n in range(200)}
    monkeypatch.setattr(char_lm, "python_sources", lambda: sources)
    monkeypatch.chdir(tmp_path)
    for number in (1, 2):  # without --run, a new folder each time
        printed = command(*TINY, "--steps", "2")
        assert f"Results are in runs/char_lm-{number}." in printed
        assert pathlib.Path(f"runs/char_lm-{number}/results.json").exists()


def test_the_cost_of_a_text_is_that_of_its_characters_one_by_one(char_lm):
    """The evaluation against the definition, with a text that has a character never learned."""
    vocabulary = char_lm.Characters.of(["abc"])
    options = char_lm.Options(cell="lstm", features=5, embedding=3, batch_size=1)
    model = char_lm.build_model(options, vocabulary)
    params = char_lm.first_state(options, model, char_lm.build_optimizer(options, 1)).params
    texts = {"one": "abcabca", "two": "bZ", "three": "c"}
    documents = char_lm.encode(vocabulary, texts)
    nats = 0.0
    for document in documents:
        logits = np.asarray(model(params, document[None, :-1])[0], np.float64)
        chances = np.exp(logits) / np.exp(logits).sum(-1, keepdims=True)
        nats -= np.log(chances[np.arange(len(document) - 1), document[1:]]).sum()
    nats += np.log(0x110000)  # for the Z
    assert char_lm.make_evaluate(model, documents, width=3)(params) == pytest.approx(nats, 1e-5)


def test_compressors_are_those_of_the_command_line(char_lm):
    held_out = {"a": "ü" * 1000, "b": "b" * 1000}
    table = char_lm.compare(held_out, 1.0)
    table = {row["bits per character, held out"]: row for row in table}
    if shutil.which("gzip"):
        sizes = [
            len(subprocess.run(["gzip", "-9n"], input=text.encode(), capture_output=True).stdout)
            for text in (*held_out.values(), "".join(held_out.values()))
        ]
        assert table["gzip -9"]["file by file"] == 8 * (sizes[0] + sizes[1]) / 2000
        assert table["gzip -9"]["as one archive"] == 8 * sizes[2] / 2000


# --- Mishaps --------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("data", "message"),
    [
        (None, "No such file or directory"),
        (b"", "expected a text, got an empty file"),
        (b"\x89PNG\r\n\x1a\n", "text.txt:1: expected a text in UTF-8, got the byte 0x89"),
        (b"abc\0def" * 9, "text.txt:1: expected a text, got a binary file"),
        (b"short", "expected a text of at least 10 characters, got 5"),
        (b"a little longer", "need at least 8 steps, got"),
    ],
)
def test_what_is_no_text_to_learn(complaint, tmp_path, data, message):
    path = tmp_path / "text.txt"
    if data is not None:
        path.write_bytes(data)
    batch_size = ["--batch-size", "4"] if data == b"a little longer" else []
    found = complaint("--text", path, "--run", tmp_path / "run", *TINY, *batch_size)
    assert message.replace("8 steps", "16 steps") in found and "text.txt" in found + "text.txt"
    assert not (tmp_path / "run").exists()


def test_windows_that_cannot_be(complaint, texts, tmp_path):
    found = complaint(*texts, "--run", tmp_path / "run", *TINY, "--k2", "3")
    assert "k2 >= k1" in found
    assert not (tmp_path / "run").exists()


def contents(folder):
    files = (path for path in folder.rglob("*") if path.is_file() and path.name != ".recur-writer")
    return {path: path.read_bytes() for path in files}


def saved_updates(folder):
    return [int(path.name[len("update_") :]) for path in (folder / "checkpoints").glob("update_*")]


def test_a_folder_that_is_not_this_run(command, complaint, texts, tmp_path):
    folder = tmp_path / "run"
    begin = [*texts, "--run", folder, *TINY, "--steps", "2"]
    command(*begin)
    before = contents(folder)
    assert "expected the features of the run that is there, 8, got 9" in complaint(
        *begin, "--features", "9"
    )
    assert "expected at least the 2 updates that the run has done, got 1" in complaint(
        "--run", folder, "--steps", "1"
    )
    pathlib.Path(texts[1]).write_text("another text " * 99)
    assert "expected the text that the run was started with" in complaint("--run", folder)
    assert contents(folder) == before
    other = tmp_path / "other"
    other.mkdir()
    (other / "thesis.tex").write_text("precious")
    assert "got one with other files. Name another" in complaint(*texts, "--run", other)
    assert [path.name for path in other.iterdir()] == ["thesis.tex"]


def test_a_damaged_checkpoint(command, complaint, texts, tmp_path, capsys):
    folder = tmp_path / "run"
    begin = [*texts, "--run", folder, *TINY, "--steps", "4", "--report-every", "2"]
    command(*begin, "--checkpoint-every", "2")
    damaged = folder / "checkpoints" / "update_4"
    for file in damaged.glob("state/**/d/*"):
        file.write_bytes(file.read_bytes()[:20])
    capsys.readouterr()
    assert "checkpoints/update_4: " in complaint("--run", folder)
    assert "Traceback" not in capsys.readouterr().err
    damaged.rename(tmp_path / "update_4")  # the remedy that it names
    assert "resumes after update 2" in command("--run", folder)


OPTIONS = {
    "null": "expected JSON of a dict, got NoneType",
    "5": "expected JSON of a dict, got int",
    "[" * 100_000: "expected JSON, got a damaged file",
    '{"cell": "abacus"}': "expected the options of a run of this script, got cell = 'abacus'",
    '{"features": "8"}': "got features = '8'",
    '{"features": true}': "got features = True",
    '{"features": -1}': "--features: expected from 1 to 1,000,000, got -1",
    '{"seed": null}': "got seed = None",
    '{"text": "a.txt"}': "got text = 'a.txt'",
    '{"text": ["a\\u0000"]}': "got text = ",
    '{"clip": NaN}': "--clip: expected above 0, got nan",
    '{"pieces": 3}': "got pieces = 3",
}


def test_options_that_are_none(complaint, tmp_path):
    for written, message in OPTIONS.items():
        (tmp_path / "options.json").write_text(written)
        for arguments in (["--run", tmp_path], ["generate", "--run", tmp_path]):
            assert f"options.json: {message}" in complaint(*arguments).replace(
                "options.json: expected the options of a run of this script, got",
                "options.json: got" if message.startswith("got") else
                "options.json: expected the options of a run of this script, got",
            )  # fmt: skip


def test_what_a_run_wrote_and_somebody_changed(command, complaint, texts, tmp_path):
    folder = tmp_path / "a run"
    printed = command(*texts, "--run", folder, *TINY, "--steps", "2")
    assert f"generate --run '{folder}' --prompt 'def '" in printed
    log, table = folder / "metrics.jsonl", (folder / "results.json").read_text()
    kept = log.read_text()
    log.write_text(kept.replace('"bits"', '"bits": "x", "lost"'))
    assert "metrics.jsonl, line 1: expected a number as bits, got 'x'" in complaint("--run", folder)
    log.unlink()
    assert "metrics.jsonl: expected held_out_bits, got none. Train" in complaint("--run", folder)
    log.write_text(kept)
    command("--run", folder)
    assert (folder / "results.json").read_text() == table
    (folder / "vocabulary.json").write_text("5")
    assert "expected JSON of a str, got int" in complaint("generate", "--run", folder)
    assert "--prompt: expected text in UTF-8" in complaint(
        "generate", "--run", folder, "--prompt", "\udcff"
    )


@pytest.mark.parametrize("error", [MemoryError(), ValueError("RESOURCE_EXHAUSTED: 4 TB")])
def test_a_failed_start_leaves_no_folder(char_lm, complaint, texts, tmp_path, monkeypatch, error):
    def fail(*_):
        raise error

    monkeypatch.setattr(char_lm, "first_state", fail)
    found = complaint(*texts, "--run", tmp_path / "run", *TINY)
    assert "expected sizes that fit into memory, got larger ones" in found
    assert not (tmp_path / "run").exists()


def test_a_second_process_is_refused_and_changes_nothing(command, complaint, texts, tmp_path):
    folder = tmp_path / "run"
    command(*texts, "--run", folder, *TINY, "--steps", "2")
    with start_run(folder):
        before = contents(folder)
        found = complaint("--run", folder, "--steps", "4")
        assert f"process {os.getpid()} on " in found and "is writing here" in found
        assert contents(folder) == before
    command("--run", folder, "--steps", "4")


@pytest.mark.parametrize("encoding", ["ascii", "cp1252"])
def test_what_a_console_cannot_show_is_whole_in_files(
    char_lm, command, tmp_path, monkeypatch, encoding
):
    (tmp_path / "a.txt").write_text("Привет, мир! 你好 😀 " * 20, "utf-8")
    console = io.TextIOWrapper(io.BytesIO(), encoding)
    monkeypatch.setattr(sys, "stdout", console)
    monkeypatch.setattr(sys, "stderr", console)
    options = ["--text", tmp_path / "a.txt", "--run", tmp_path / "run", *TINY, "--steps", "2"]
    command(*options, "--sample-length", "40")
    console.flush()
    shown = console.buffer.getvalue().decode(encoding)
    sample = (tmp_path / "run" / "samples" / "000002.txt").read_text("utf-8")
    assert not sample.isascii() and sample.encode(encoding, "replace").decode(encoding) in shown


def test_a_loss_that_is_not_finite(complaint, texts, tmp_path):
    folder = tmp_path / "run"
    options = [*TINY, "--steps", "50", "--checkpoint-every", "1", "--report-every", "1"]
    found = complaint(*texts, "--run", folder, *options, "--learning-rate", "1e38",
                      "--clip", "none", "--schedule", "constant")  # fmt: skip
    assert "is nan" in found or "is inf" in found
    update = int(found.split("update ")[1].split(":")[0])
    assert max(saved_updates(folder)) == update - 1
    assert records(folder)[-1]["step"] == update - 1


# --- Stopped and resumed, as processes ------------------------------------------------------------

LONG = [*TINY, "--steps", "400", "--checkpoint-every", "40", "--report-every", "10"]


def start(log, *arguments):
    quickly_compiled = {
        "JAX_DISABLE_MOST_OPTIMIZATIONS": "1",
        "JAX_COMPILATION_CACHE_DIR": str(log.parent / "compiled"),
        "JAX_PERSISTENT_CACHE_MIN_COMPILE_TIME_SECS": "0",
    }
    environment = {**os.environ, **quickly_compiled, "PYTHONPATH": str(FILE.parents[1])}
    with log.open("w") as file:
        return subprocess.Popen(
            [sys.executable, FILE, *map(str, arguments)],
            env=environment,
            stdout=file,
            stderr=file,
        )


def wait_for_lines(process, folder, lines):
    """Waits until the run has written so many lines of metrics, or has ended."""
    path = folder / "metrics.jsonl"
    while process.poll() is None:
        if path.exists() and path.read_text().count("\n") >= lines:
            return
        time.sleep(0.005)


def test_ctrl_c_once_and_twice_saves_and_changes_no_number(texts, tmp_path):
    folder, log = tmp_path / "run", tmp_path / "log.txt"
    options = [*texts, *LONG, "--checkpoint-every", "100000"]
    for signals, lines in ((1, 5), (2, 20)):
        process = start(log, *options, "--run", folder)
        wait_for_lines(process, folder, lines)
        for _ in range(signals):
            process.send_signal(signal.SIGINT)
            time.sleep(0.01)
        assert process.wait() == 1
        printed = log.read_text()
        assert printed.splitlines()[-1].startswith("char_lm: stopped. The same --run resumes")
        assert "Traceback" not in printed
        saved = max(saved_updates(folder))
        assert records(folder)[-1]["step"] <= saved < records(folder)[-1]["step"] + 10
    for each in (folder, tmp_path / "whole"):
        assert start(log, *options, "--run", each).wait() == 0, log.read_text()
    for name in ("metrics.jsonl", "results.json", "samples/000400.txt"):
        assert (folder / name).read_text() == (tmp_path / "whole" / name).read_text()
