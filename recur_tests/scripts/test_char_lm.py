"""The main job from its command line: every option, every mishap, killed and resumed."""

import dataclasses
import importlib
import json
import os
import pathlib
import random
import shutil
import signal
import subprocess
import sys
import time

import jax
import numpy as np
import pytest

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
        assert f"All of it is in runs/char_lm-{number}." in printed
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
    table = char_lm.compare(held_out, {"held_out_bits": 1.0})
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
    assert "expected whole numbers k2 >= k1 >= 1, got k1=4 and k2=3" in found
    assert not (tmp_path / "run").exists()


def test_a_folder_that_is_not_this_run(command, complaint, texts, tmp_path):
    folder = tmp_path / "run"
    begin = [*texts, "--run", folder, *TINY, "--steps", "2"]
    command(*begin)
    before = {path: path.read_bytes() for path in folder.rglob("*") if path.is_file()}
    assert "expected the features of the run that is there, 8, got 9" in complaint(
        *begin, "--features", "9"
    )
    assert "expected at least the 2 updates that the run has done, got 1" in complaint(
        "--run", folder, "--steps", "1"
    )
    pathlib.Path(texts[1]).write_text("another text " * 99)
    assert "expected the text that the run was begun with" in complaint("--run", folder)
    after = {path: path.read_bytes() for path in folder.rglob("*") if path.is_file()}
    assert after == before
    other = tmp_path / "other"
    other.mkdir()
    (other / "thesis.tex").write_text("precious")
    assert "got one that holds something else. Name another" in complaint(*texts, "--run", other)
    assert [path.name for path in other.iterdir()] == ["thesis.tex"]


@pytest.mark.parametrize("damage", ["cut short", "without metadata"])
def test_a_damaged_checkpoint(command, complaint, texts, tmp_path, capsys, damage):
    folder = tmp_path / "run"
    begin = [*texts, "--run", folder, *TINY, "--steps", "4", "--report-every", "2"]
    command(*begin, "--checkpoint-every", "2")
    damaged = folder / "checkpoints" / "4"
    if damage == "cut short":
        for file in damaged.glob("state/**/d/*"):
            file.write_bytes(file.read_bytes()[:20])
    else:
        (damaged / "state" / "_METADATA").unlink()
    capsys.readouterr()
    assert "checkpoints/4: expected a whole checkpoint" in complaint("--run", folder)
    assert "Traceback" not in capsys.readouterr().err
    shutil.rmtree(damaged)  # the remedy that it names
    assert "resumes after update 2" in command("--run", folder)


def test_a_loss_that_is_not_finite(complaint, texts, tmp_path):
    folder = tmp_path / "run"
    options = [*TINY, "--steps", "50", "--checkpoint-every", "1", "--report-every", "1"]
    found = complaint(*texts, "--run", folder, *options, "--learning-rate", "1e38",
                      "--clip", "none", "--schedule", "constant")  # fmt: skip
    assert "is nan" in found or "is inf" in found
    update = int(found.split("update ")[1].split(":")[0])
    assert max(int(path.name) for path in (folder / "checkpoints").iterdir()) == update - 1
    assert records(folder)[-1]["step"] == update - 1


# --- Killed and resumed, as processes -------------------------------------------------------------

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


def wait_for_lines(process, folder, more):
    """Waits until the run has written so many more lines of metrics, or has ended."""
    path = folder / "metrics.jsonl"
    lines = path.read_text().count("\n") if path.exists() else 0
    seen = None
    while process.poll() is None:
        now = path.read_text().count("\n") if path.exists() else 0
        seen = now if seen is None or now < seen else seen  # a resumed run takes lines out first
        if now >= seen + more and now != lines:
            return
        time.sleep(0.005)


def final_state(char_lm, folder):
    options = char_lm.running.read_options(char_lm.Options, folder)
    vocabulary = char_lm.Characters(json.loads((folder / "vocabulary.json").read_text("utf-8")))
    model = char_lm.build_model(options, vocabulary)
    like = char_lm.first_state(options, model, char_lm.build_optimizer(options, 1))
    with char_lm.Checkpoints(folder / "checkpoints") as checkpoints:
        state = checkpoints.restore(like).state
    return jax.tree.leaves(state._replace(key=jax.random.key_data(state.key)))


def test_killed_at_random_moments_it_ends_as_if_it_had_not_been(char_lm, texts, tmp_path):
    whole, killed = tmp_path / "whole", tmp_path / "killed"
    log, options = tmp_path / "log.txt", [*texts, *LONG, "--dropout", "0.1"]
    assert start(log, *options, "--run", whole).wait() == 0, log.read_text()
    draws = random.Random()
    kills = 0
    for _ in range(3):
        process = start(log, *options, "--run", killed)
        wait_for_lines(process, killed, more=draws.randrange(1, 12))
        time.sleep(draws.random() * 0.05)
        process.kill()
        kills += process.wait() == -signal.SIGKILL
    assert kills >= 2
    assert start(log, "--run", killed).wait() == 0, log.read_text()
    for name in ("metrics.jsonl", "results.json", "samples/000400.txt"):
        assert (killed / name).read_text() == (whole / name).read_text()
    for one, other in zip(final_state(char_lm, killed), final_state(char_lm, whole), strict=True):
        assert np.array_equal(one, other)


def test_ctrl_c_saves_before_it_leaves(texts, tmp_path):
    folder = tmp_path / "run"
    log = tmp_path / "log.txt"
    process = start(log, *texts, "--run", folder, *LONG, "--checkpoint-every", "100000")
    wait_for_lines(process, folder, more=5)
    process.send_signal(signal.SIGINT)
    assert process.wait() == 1
    printed = log.read_text()
    assert printed.splitlines()[-1].startswith("char_lm: stopped. The same --run goes on")
    assert "Traceback" not in printed
    (saved,) = (int(path.name) for path in (folder / "checkpoints").iterdir())
    assert saved == records(folder)[-1]["step"] > 0
