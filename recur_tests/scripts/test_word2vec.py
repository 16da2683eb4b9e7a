"""Word vectors from the command line: options, errors, resumed runs, a stand-in for gensim."""

import dataclasses
import importlib
import importlib.machinery
import json
import random
import sys
import types

import numpy as np
import pytest

from recur.classic import WordVectors

SCRIPT = "word2vec"
TINY = "--features 4 --epochs 1 --batch-size 64 --min-count 2 --window 2"
RUNS = {
    "cbow": "--model cbow --negatives 2 --sample 0.1 --learning-rate 0.1 --seed 3 "
    "--report-every 2 --checkpoint-every 3",
    "skip-gram": "--model skip-gram",
}


@pytest.fixture(scope="module")
def word2vec(scripts):
    return importlib.import_module("word2vec")


@pytest.fixture
def text(tmp_path):
    draws = random.Random(0)
    words = ["Wind", "und", "Wellen", "gehen", "über", "das", "Land", ",", "7"]
    lines = [" ".join(draws.choices(words, k=6)) + "." for _ in range(80)]
    path = tmp_path / "text.txt"
    path.write_text("\n".join([*lines[:40], "", *lines[40:]]) + "\neinmal\n", encoding="utf-8")
    return path


@pytest.fixture
def gensim(monkeypatch):
    """A stand-in that knows each word by its place among all that it was given."""
    trained = []

    class Model:
        def __init__(self, sentences, **settings):
            trained.append((sentences, settings))
            words = sorted({word for sentence in sentences for word in sentence})
            draws = np.random.default_rng(settings["seed"])
            shape = (len(words), settings["vector_size"])
            key_to_index = {word: n for n, word in enumerate(words)}
            vectors, self.syn1neg = draws.standard_normal((2, *shape)).astype(np.float32)
            self.wv = types.SimpleNamespace(key_to_index=key_to_index, vectors=vectors)

    module = types.ModuleType("gensim")
    module.__spec__ = importlib.machinery.ModuleSpec("gensim", None)
    module.models = types.SimpleNamespace(Word2Vec=Model)
    monkeypatch.setitem(sys.modules, "gensim", module)
    return trained


@pytest.mark.parametrize("name", RUNS)
def test_a_short_run(command, text, tmp_path, name):
    run = tmp_path / "new" / "run"
    printed = command("--text", text, "--run", run, *TINY.split(), *RUNS[name].split())
    words = {"wind", "und", "wellen", "gehen", "über", "das", "land"}
    vectors = WordVectors.load(run / "vectors.npz")
    assert set(vectors.words) == words and vectors.matrix.shape == (7, 4)
    for picture in ("picture.png", "curve.png"):
        assert (run / picture).read_bytes().startswith(b"\x89PNG")
    assert "7 distinct ones; 4 held-out sentences" in printed and "gensim" not in printed
    [row] = json.loads((run / "results.json").read_text())
    assert row[name] == "recur" and 0 <= row["random words below"] <= 1 and row["seconds"] > 0
    assert (run / "table.md").read_text() in printed
    saved = json.loads((run / "options.json").read_text())
    for flag, value in zip(RUNS[name].split()[::2], RUNS[name].split()[1::2], strict=True):
        assert str(saved[flag.removeprefix("--").replace("-", "_")]) == value


def test_a_run_that_was_stopped_ends_with_the_same_numbers(
    word2vec, command, complaint, text, tmp_path, monkeypatch
):
    def stop(report):
        if report.step == 4:
            raise KeyboardInterrupt

    def fit(run, *arguments, **settings):
        return whole_fit(run, *arguments, **settings, callbacks=[stop])

    begin = ["--text", text, *TINY.split(), "--sample", "None"]
    often = ["--report-every", "2", "--checkpoint-every", "2"]
    whole_fit = word2vec.runs.Run.fit
    with monkeypatch.context() as patch:
        patch.setattr(word2vec.runs.Run, "fit", fit)
        message = complaint(*begin, *often, "--run", tmp_path / "run")
    assert message.startswith("word2vec: stopped. The same --run resumes")
    command("--run", tmp_path / "run")
    command(*begin, *often, "--run", tmp_path / "whole")
    run, whole = (WordVectors.load(tmp_path / name / "vectors.npz") for name in ("run", "whole"))
    np.testing.assert_array_equal(run.matrix, whole.matrix)
    logs = [(tmp_path / name / "metrics.jsonl").read_text() for name in ("run", "whole")]
    assert logs[0] == logs[1] and logs[0].count("\n") == 3


def test_a_finished_run_solves_analogies_and_goes_on(command, complaint, text, tmp_path):
    run = tmp_path / "run"
    command("--text", text, *TINY.split(), "--sample", "None", "--run", run)
    vectors = WordVectors.load(run / "vectors.npz")
    asked = ("--analogy", "wind", "und", "das", "das", "land", "Wind")
    for _ in range(2):  # they are defaults now
        printed = command("--run", run, *asked)
        assert (
            f"wind is to und as das is to: {vectors.analogy('wind', 'und', 'das')[0][0]}" in printed
        )
        assert "das is to land as wind is to: " in printed
        np.testing.assert_array_equal(WordVectors.load(run / "vectors.npz").matrix, vectors.matrix)
        asked = ()
    [row] = json.loads((run / "results.json").read_text())
    assert "seconds" not in row  # only those of this process are known
    command("--run", run, "--epochs", "2")
    assert (WordVectors.load(run / "vectors.npz").matrix != vectors.matrix).any()
    assert "expected the features of the run that is there, 4, got 5" in complaint(
        "--run", run, "--features", "5"
    )
    text.write_text("another text " * 99)
    assert "expected the text that the run was started with" in complaint("--run", run)


def test_beside_gensim_on_the_same_words(command, text, gensim, tmp_path):
    questions = tmp_path / "questions.txt"
    questions.write_text(": section\nwind und WIND wellen\n\nwind und das land\nno such das land\n")
    printed = command(
        *("--text", text, "--run", tmp_path / "run", *TINY.split(), "--peer", "gensim"),
        *("--analogy", "Wind", "und", "das", "das", "land", "wind", "--questions", questions),
    )
    assert printed.count(" is to: ") == 2 and "wind is to und as das is to: " in printed
    assert "of 2 analogies |" in printed
    rows = json.loads((tmp_path / "run" / "results.json").read_text())
    assert [row["skip-gram"] for row in rows] == ["recur", "gensim"]
    assert [row["nearest shared"] for row in rows] == [1, 1]  # six of seven words
    assert [settings["seed"] for _, settings in gensim] == [0, 1]
    sentences, settings = gensim[0]
    assert len(sentences) == 77 and not {"7", ",", "."} & set(sum(sentences, []))
    assert (settings["sg"], settings["window"], settings["min_count"]) == (1, 2, 1)


def test_every_option_is_run_above(word2vec):
    given = " ".join([TINY, *RUNS.values()]).split()
    above = {"text", "run", "analogy", "questions", "peer"}
    fields = {f.name for f in dataclasses.fields(word2vec.Options)}
    assert {w[2:].replace("-", "_") for w in given if w[:2] == "--"} | above == fields


def test_held_out_words_are_ranked(word2vec):
    """Vectors that know which words follow each other, and vectors that know nothing."""
    sentence = np.array([0, 1])
    pairs = [sentence + 2 * n for n in range(20) for _ in range(30)]
    corpus = word2vec.Corpus(tuple(map(str, range(40))), pairs, pairs)
    swapped = np.arange(40).reshape(20, 2)[:, ::-1].ravel()
    for model in ("skip-gram", "cbow"):
        options = word2vec.Options(model=model, window=1)
        knowing = word2vec.Word2Vec(np.eye(40)[swapped], np.eye(40))
        found = word2vec.rank_held_out(options, corpus, knowing)
        assert found == {"random words below": 1, "1 / rank": 1}
        ignorant = word2vec.Word2Vec(np.eye(40), np.zeros((40, 40)))
        below, reciprocal = word2vec.rank_held_out(options, corpus, ignorant).values()
        assert below == pytest.approx(0.5) and reciprocal < 0.03


def test_ranks_are_those_of_the_pairs_one_by_one(word2vec):
    draws = np.random.default_rng(0)
    params = word2vec.Word2Vec(*draws.standard_normal((2, 9, 3)))
    training = [draws.integers(9, size=50)]
    held_out = [draws.integers(9, size=5), draws.integers(9, size=1), draws.integers(9, size=4)]
    corpus = word2vec.Corpus(tuple("abcdefghi"), training, held_out)
    chances = np.bincount(training[0], minlength=9) / 50
    rivals = np.random.default_rng(0).choice(9, (10, word2vec.RIVALS), p=chances)
    settings = {"window": 2, "sample": None}
    centers, contexts, mask = next(word2vec.Contexts(held_out, 10, **settings))
    for model in ("skip-gram", "cbow"):
        below, reciprocal = [], []
        for center, around, others in zip(
            centers, map(np.extract, mask, contexts), rivals, strict=True
        ):
            around = [around] if model == "cbow" else around[:, None]
            for hidden in (params.input[words].mean(0) for words in around):
                others = others[others != center]
                above = sum(hidden @ params.output[center] < params.output[others] @ hidden)
                below.append(1 - above / len(others))
                reciprocal.append(1 / (1 + above))
        found = word2vec.rank_held_out(word2vec.Options(model=model, window=2), corpus, params)
        expected = [np.mean(below), np.mean(reciprocal)]
        np.testing.assert_allclose(list(found.values()), expected, rtol=1e-12)


def test_words_are_those_that_are_frequent_in_the_training_sentences(word2vec):
    lines = ["Often, often twice.", "often TWICE 7 7 once"] + [""] * 17 + ["often once once twice"]
    corpus = word2vec.build_corpus(lines, 2)
    assert corpus.words == ("often", "twice")
    assert [each.tolist() for each in corpus.training] == [[0, 0, 1], [0, 1]] + [[]] * 17
    assert [each.tolist() for each in corpus.held_out] == [[0, 1]]


def test_without_a_text_it_reads_the_documentation(word2vec, monkeypatch):
    monkeypatch.setattr(word2vec, "documentation", lambda: {"a.py": "One is here. Two is there."})
    assert word2vec.read_sentences(word2vec.Options()) == ["One is here.", "Two is there."]


def test_mistakes_are_one_line(complaint, text, tmp_path, monkeypatch):
    monkeypatch.setitem(sys.modules, "gensim", None)  # not installed
    assert "gensim" in complaint("--peer", "gensim")
    assert "none.txt" in complaint("--text", tmp_path / "none.txt")
    run = ("--text", text, *TINY.split(), "--run", text.parent)
    assert "expected a new folder or the folder of a run, got one with other files" in complaint(
        *run
    )
    found = complaint("--text", text, "--batch-size", 10_000_000_000)
    assert "--batch-size: expected from 1 to 1,000,000, got 10000000000" in found
    found = complaint("--text", text, *TINY.split(), "--batch-size", 1_000_000)
    assert "expected a batch_size of at most" in found and "a smaller batch_size" in found
    few = complaint("--text", text, "--min-count", 1000)
    assert "words that occur 1000 times" in few and "lower --min-count" in few
    questions = tmp_path / "questions.txt"
    questions.write_text("a b c\n")
    tiny = ("--text", text, *TINY.split())
    found = complaint(*tiny, "--questions", questions)
    assert f"{questions}:1: expected four words, got 'a b c'" in found
    questions.write_text("no such das land\n")
    found = complaint(*tiny, "--questions", questions)
    assert "expected analogies of the 7 words of the text, got none among 1" in found
    found = complaint(*tiny, "--analogy", "wind", "und", "lant")
    assert "'lant' is none of the 7 words with a vector. Did you mean 'land'" in found
