"""Word vectors from the command line: options, errors, a stand-in for gensim."""

import dataclasses
import importlib
import importlib.machinery
import random
import sys
import types

import numpy as np
import pytest

from recur.classic import WordVectors

SCRIPT = "word2vec"
TINY = "--features 4 --epochs 1 --batch-size 64 --min-count 2 --window 2"
RUNS = {
    "cbow": "--model cbow --negatives 2 --sample 0.1 --learning-rate 0.1 --seed 3",
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
    assert (run / "picture.png").read_bytes().startswith(b"\x89PNG")
    assert "7 distinct ones; 4 held-out sentences" in printed and "   loss " in printed
    [row] = [line for line in printed.splitlines() if line.startswith("| held out: random")]
    assert 0 <= float(row.split("|")[2].strip(" %")) <= 100
    assert "| | recur |" in printed and "gensim" not in printed


def test_what_was_learned_until_it_is_stopped_is_kept(
    word2vec, complaint, text, tmp_path, monkeypatch
):
    def stop(report):
        raise KeyboardInterrupt

    def fit(*arguments, callbacks, **options):
        return learn(*arguments, callbacks=[*callbacks, stop], **options)

    learn = word2vec.fit
    monkeypatch.setattr(word2vec, "fit", fit)
    told = complaint("--text", text, "--run", tmp_path / "run", *TINY.split())
    assert told == f"word2vec: stopped. {importlib.import_module('running').IS_KEPT}"
    assert len(WordVectors.load(tmp_path / "run" / "vectors.npz")) == 7


def test_beside_gensim_on_the_same_words(command, text, gensim, tmp_path):
    questions = tmp_path / "questions.txt"
    questions.write_text(": section\nwind und WIND wellen\n\nwind und das land\nno such das land\n")
    printed = command(
        *("--text", text, "--run", tmp_path / "run", *TINY.split(), "--peer", "gensim"),
        *("--analogy", "Wind", "und", "das", "das", "land", "wind", "--questions", questions),
    )
    assert printed.count(" is to: ") == 2 and "wind is to und as das is to: " in printed
    assert "| | recur | gensim |" in printed and "right answers to 2 analogies |" in printed
    assert "ten nearest shared with gensim of another seed | 100.0% | 100.0% |" in printed
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
        assert word2vec.held_out_scores(options, corpus, knowing) == (1, 1)
        below, reciprocal = word2vec.held_out_scores(
            options, corpus, word2vec.Word2Vec(np.eye(40), np.zeros((40, 40)))
        )
        assert below == pytest.approx(0.5) and reciprocal < 0.03


def test_without_a_text_it_reads_the_documentation(word2vec, monkeypatch):
    monkeypatch.setattr(word2vec, "documentation", lambda: {"a.py": "One is here. Two is there."})
    assert word2vec.read_sentences(word2vec.Options()) == ["One is here.", "Two is there."]


def test_mishaps_are_told_in_one_line(complaint, text, tmp_path, monkeypatch):
    monkeypatch.setitem(sys.modules, "gensim", None)  # not installed
    assert "--peer gensim: expected it to be installed" in complaint("--peer", "gensim")
    assert "none.txt" in complaint("--text", tmp_path / "none.txt")
    run = ("--text", text, *TINY.split(), "--run", text.parent)
    assert "expected a new folder, got one with other files" in complaint(*run)
    told = complaint("--text", text, "--batch-size", 10_000_000_000)
    assert "--batch-size: expected from 1 to 1,000,000, got 10000000000" in told
    told = complaint("--text", text, *TINY.split(), "--batch-size", 1_000_000)
    assert "expected a batch_size of at most" in told and "a smaller batch_size" in told
    few = complaint("--text", text, "--min-count", 1000)
    assert "words that occur 1000 times" in few and "lower --min-count" in few
    questions = tmp_path / "questions.txt"
    questions.write_text("a b c\n")
    tiny = ("--text", text, *TINY.split())
    told = complaint(*tiny, "--questions", questions)
    assert f"{questions}:1: expected four words, got 'a b c'" in told
    questions.write_text("no such das land\n")
    told = complaint(*tiny, "--questions", questions)
    assert "expected analogies of the 7 words of the text, got none among 1" in told
    told = complaint(*tiny, "--analogy", "wind", "und", "lant")
    assert "'lant' is none of the 7 words with a vector. Did you mean 'land'" in told
