"""Classification from the command line: kinds of data, resuming, errors, and its own functions."""

import importlib
import itertools
import json
import math
import random
import signal
import types

import jax
import numpy as np
import pytest

from recur.sequences import Example, make_batches, pad

SCRIPT = "classify"
QUICK = ["--quick", "--batch-size", "8"]


@pytest.fixture(scope="module")
def classify(scripts):
    return importlib.import_module(SCRIPT)


@pytest.fixture(scope="module")
def data(scripts):
    return importlib.import_module("classify_data")


@pytest.fixture(scope="module")
def models(scripts):
    return importlib.import_module("classify_models")


def names(folder):
    draws = random.Random(0)
    endings = {"Greek": ["opoulos", "akis"], "Polish": ["ski", "wicz"], "Irish": ["O'", "Mc"]}
    folder.mkdir()
    for label, parts in endings.items():
        lines = {"".join(draws.choices("abdegiklmnor", k=4)) for _ in range(20)}
        texts = [line + draws.choice(parts) for line in sorted(lines)]
        (folder / f"{label}.txt").write_text("\n".join(texts), "utf-8")
    return folder


def write_series(path, count, seed=0):
    draws, lines = np.random.default_rng(seed), ["series,label,x,y"]
    for number in range(count):
        label = ["rise", "fall"][number % 2]
        for step in range(int(draws.integers(3, 6))):
            sign = 1 if label == "rise" else -1
            lines.append(f"{number},{label},{sign * step + draws.normal():.3f},7")
    path.write_text("\n".join(lines))
    return path


def results(folder):
    return {row["model"]: row for row in json.loads((folder / "results.json").read_text())}


# --- Runs -----------------------------------------------------------------------------------------


def test_classifies_pythons_documentation_by_default(command, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    printed = command("--quick")
    folder = tmp_path / "runs" / "classify-1"
    assert "Results and pictures are in runs/classify-1." in printed and "10 classes" in printed
    for picture in ("curve.png", "confusion.png", "steps.png"):
        assert (folder / picture).read_bytes().startswith(b"\x89PNG")
    table = results(folder)
    assert table.keys() == {"this model", "most frequent class", "naive Bayes"}
    assert table["naive Bayes"]["accuracy"] > table["most frequent class"]["accuracy"]
    said = command("predict", "--run", folder, "--text", "A widget has a window.").splitlines()
    assert len(said) == 3 and set(line.split()[1] for line in said) <= set(
        json.loads((folder / "classes.json").read_text())
    )


def test_two_folds_of_names(command, complaint, tmp_path):
    folder = tmp_path / "run"
    options = ["--unit", "characters", "--data", names(tmp_path / "names"), "--folds", "2"]
    printed = command("--task", "text", *options, *QUICK, "--readout", "last", "--run", folder)
    rows = json.loads((folder / "results.json").read_text())
    for model in ("this model", "5-grams", "most frequent class"):
        own = {row["test set"]: row["accuracy"] for row in rows if row["model"] == model}
        assert own.keys() == {"fold-1", "fold-2", "mean"}
        assert own["mean"] == pytest.approx((own["fold-1"] + own["fold-2"]) / 2)
    assert (folder / "fold-2" / "steps.png").exists() and printed.count("a new run") == 2
    assert "expected a run with one fold and a task of texts, got 2 folds" in complaint(
        "predict", "--run", folder, "--text", "Papadakis"
    )


def test_series_with_a_test_set(command, tmp_path):
    training = write_series(tmp_path / "a.csv", 24)
    test = write_series(tmp_path / "b.csv", 10, seed=1)
    options = ["--task", "series", "--data", training, "--test", test, "--readout", "mean"]
    printed = command(*options, *QUICK, "--run", tmp_path / "run", "--cell", "min_gru")
    assert "22 training, 2 validation, 10 test examples" in printed
    assert results(tmp_path / "run").keys() == {"this model", "most frequent class"}


@pytest.mark.parametrize("cell", ["conv_gru", "elman"])
def test_frames(command, tmp_path, cell):
    options = ["--task", "frames", "--cell", cell, "--readout", "max", "--no-bidirectional"]
    command(*options, *QUICK, "--run", tmp_path / "run")
    assert (tmp_path / "run" / "steps.png").read_bytes().startswith(b"\x89PNG")
    assert 0 <= results(tmp_path / "run")["this model"]["accuracy"] <= 1


def test_stopped_and_resumed_it_gives_the_same_numbers(
    classify, command, complaint, tmp_path, monkeypatch
):
    options = [
        "--task",
        "text",
        "--unit",
        "characters",
        "--data",
        names(tmp_path / "names"),
        *QUICK,
    ]
    calls = itertools.count()

    def stop_at_the_second_report(metrics):
        if next(calls) == 1:
            signal.raise_signal(signal.SIGINT)
        return ""

    with monkeypatch.context() as patch:
        patch.setattr(classify, "show_progress", stop_at_the_second_report)
        patch.setattr(signal, "getsignal", lambda _: signal.default_int_handler)
        assert "stopped. The same --run resumes" in complaint(*options, "--run", tmp_path / "a")
    assert not (tmp_path / "a" / "results.json").exists()
    assert "resumes after update" in command("--run", tmp_path / "a")
    command(*options, "--run", tmp_path / "b")
    for name in ("results.json", "metrics.jsonl"):
        assert (tmp_path / "a" / name).read_text() == (tmp_path / "b" / name).read_text()
    (tmp_path / "names" / "Greek.txt").write_text("Zeus\nHera\nAres\n")
    assert "expected the data that the run was started with" in complaint("--run", tmp_path / "a")


# --- Wrong input ----------------------------------------------------------------------------------

TEXT, SERIES = ["--task", "text"], ["--task", "series"]
GOOD = "good\tpos\nbad\tneg\nfine\tpos\npoor\tneg\n"
WRONG = [
    (TEXT, "a.tsv", "good\tpos\nbad\n", "a.tsv:2: expected a text and its class, separated by a"),
    (TEXT, "a.tsv", "good\tpos\tx\n", "a.tsv:1: expected a text and its class"),
    (TEXT, "a.tsv", "good\t \n", "a.tsv:1: expected a text and its class"),
    (TEXT, "a.tsv", "", "a.tsv: expected a text, got an empty file"),
    (TEXT, "a.tsv", "a\tpos\nb\tpos\nc\tneg\n", "a.tsv:3: expected at least 2 different examples"),
    (TEXT, "a.tsv", "a\tpos\nb\tpos\nc\tpos\n", "a.tsv:1: expected at least 2 classes"),
    (TEXT, "a.tsv", GOOD, "expected enough examples for a validation set, got none"),
    (SERIES, "a.csv", "x,y\n1,2\n", "a.csv:1: expected the columns series,label,CHANNEL"),
    (SERIES, "a.csv", "series,label,x\n1,a,1\n1,a\n", "a.csv:3: expected 1 finite numbers, got ''"),
    (SERIES, "a.csv", "series,label,x\n1,a,one\n", "a.csv:2: expected 1 finite numbers, got 'one'"),
    (SERIES, "a.csv", "series,label,x\n1,a,nan\n", "a.csv:2: expected 1 finite numbers"),
    (SERIES, "a.csv", "series,label,x\n1,a,1\n1,b,1\n", "a.csv:3: expected the class of"),
    (SERIES, "a.train", "1 2\n\n3 4\n", "a.train: expected 270 or 370 blocks, as in the Japanese"),
    (SERIES, "a.train", "1 2\n3\n\n" + "1 2\n\n" * 269, "a.train:2: expected 2 finite numbers"),
]  # fmt: skip


@pytest.mark.parametrize(("task", "name", "content", "message"), WRONG)
def test_wrong_files(complaint, tmp_path, task, name, content, message):
    path = tmp_path / name
    path.write_text(content)
    assert message in complaint(*task, "--data", path, "--run", tmp_path / "run")
    assert not (tmp_path / "run").exists()


def test_wrong_combinations(complaint, tmp_path):
    folder, table = names(tmp_path / "names"), tmp_path / "test.tsv"
    table.write_text("Ivanov\tRussian\n")
    given = ["--run", tmp_path / "run", *TEXT, "--data", folder]
    for arguments, message in {
        (*given, "--test", table): "test.tsv:1: expected a class of the training set (Greek, Irish",
        (*given, "--test", table, "--folds", 2): "--test: expected it with --data and with --folds",
        (*TEXT,): "--data: expected files for --task text, got 0",
        ("--data", table): "--data: expected no files for --task docs, got 1",
        (*TEXT, "--data", tmp_path): "expected at least 2 files NAME.txt, one for each class, got",
        (*TEXT, "--data", tmp_path / "none"): "No such file",
        ("--folds", 11): "--folds: expected from 1 to 10, got 11",
    }.items():
        assert message in complaint(*arguments)
    assert not (tmp_path / "run").exists()


# --- Its own functions ----------------------------------------------------------------------------


def test_the_bayes_classifier_sums_over_all_positions(data):
    for item in data.make_dna(30, seed=3):
        scores = {}
        for label, (before, site, after) in data.SITES.items():
            likelihoods = []
            for begin in range(len(item.value) - len(site) + 1):
                tables = [before] * begin + list(site)
                tables += [after] * (len(item.value) - len(tables))
                chances = [
                    table["ACGT".index(base)]
                    for table, base in zip(tables, item.value, strict=True)
                ]
                likelihoods.append(math.prod(chances))
            scores[label] = sum(likelihoods) / len(likelihoods)
        assert data.bayes_class(item.value) == max(scores, key=scores.get)


def test_dna_has_the_drawn_frequencies(data):
    for chances in (data.DONOR, data.ACCEPTOR, [data.EXON, data.INTRON]):
        np.testing.assert_allclose(np.sum(chances, 1), 1)
    items = data.make_dna(3000, seed=0)
    bases = "".join(item.value for item in items if item.label == "neither")
    shares = [bases.count(base) / len(bases) for base in "ACGT"]
    np.testing.assert_allclose(shares, data.EXON, atol=0.01)
    assert {len(item.value) for item in items} == set(range(50, 81))
    is_right = [data.bayes_class(item.value) == item.label for item in items]
    assert 0.88 < np.mean(is_right) < 0.94


def test_no_frame_alone_shows_the_movement(data):
    """The pixels of a video that is played backwards are those of the opposite class."""
    videos = {}
    for item in data.make_frames(800, seed=0):
        videos.setdefault(item.label, []).append(item.value)
    for one, other in (("left", "right"), ("up", "down"), ("growing", "shrinking")):
        means = [np.mean([video.mean() for video in videos[label]]) for label in (one, other)]
        assert abs(means[0] - means[1]) < 0.02
        middles = [np.mean([v[len(v) // 2] for v in videos[label]], 0) for label in (one, other)]
        assert abs(middles[0] - middles[1]).mean() < 0.06
    at = [np.argmax(np.mean([v[0] for v in videos[label]], 0).mean(0)[:, 0]) for label in videos]
    assert dict(zip(videos, at, strict=True))["right"] < dict(zip(videos, at, strict=True))["left"]


def test_folds_share_no_value_and_cover_all(data):
    draws = random.Random(0)
    items = [
        data.Item(str(draws.randrange(60)), draws.choice("aaaab"), f"line {n}") for n in range(300)
    ]
    unique = {(item.value, item.label) for item in items}
    tested = []
    for fold in range(data.FOLDS):
        split = data.split(items, None, fold)
        values = [{item.value for item in part} for part in split]
        assert not values[0] & values[1] and not (values[0] | values[1]) & values[2]
        assert {(item.value, item.label) for part in split for item in part} == unique
        assert sum(map(len, split)) == len(unique)
        tested += [(item.value, item.label) for item in split.test]
    assert sorted(tested) == sorted(unique)
    given = [data.Item("new", "a", "")]
    split = data.split(items, given, 0)
    assert split.test == given and len(split.training) > 8 * len(split.validation)


def test_naive_bayes_counts_words(classify, data):
    texts = ["good film", "a good good one", "bad film", "a bad one", "bad bad good"]
    items = [data.Item(t, "neg" if "bad" in t else "pos", "") for t in texts]
    options = classify.Options(min_count=1)
    encoder = classify.make_encoder(options, items)
    test = [data.Item(t, "neg", "") for t in ("good one", "bad", "a film", "good bad film")]
    found = classify.baselines(options.task, encoder, data.Split(items, [], test))["naive Bayes"]
    size = len(encoder.vocabulary)
    for item, label in zip(test, found, strict=True):
        scores = []
        for name in encoder.classes:
            own = [i.value.split() + ["end"] for i in items if i.label == name]
            words = sum(own, [])
            score = math.log(len(own) / len(items))
            for word in item.value.split() + ["end"]:
                score += math.log((words.count(word) + 1) / (len(words) + size))
            scores.append(score)
        assert label == np.argmax(scores)


@pytest.mark.parametrize("readout", ["attention", "max", "last", "mean"])
def test_step_weights(classify, models, readout):
    """Attention sums to 1; other weights are derivatives by factors, against differences."""
    options = classify.Options(task="series", features=4, readout=readout)
    encoder = types.SimpleNamespace(vocabulary=None, classes=["a", "b", "c"])
    model = models.build_model(options, encoder)
    draws = np.random.default_rng(0)
    values = [draws.standard_normal((n, 3)).astype(np.float32) for n in (5, 3)]
    [batch] = make_batches([Example(value, np.int32(0)) for value in values], pad(7))
    params = model.init(jax.random.key(0), values[0][None])
    weights = np.asarray(models.make_step_weights(options, encoder)(params, batch))
    assert weights.shape == (2, 7) and not weights[~batch.mask].any()
    if readout == "attention":
        np.testing.assert_allclose(weights.sum(1), 1, rtol=1e-5)
        return

    def log_chance(value):
        return jax.nn.log_softmax(model(params, value[None])[0])

    for row, value in enumerate(values):
        best = int(log_chance(value).argmax())
        for step in range(len(value)):
            factor = np.ones((len(value), 1), np.float32)
            factor[step] += 1e-2
            up, down = (float(log_chance(value * f)[best]) for f in (factor, 2 - factor))
            assert weights[row, step] == pytest.approx((up - down) / 2e-2, abs=2e-3)
