"""Translation from the command line: data, models, runs that are resumed, wrong files."""

import importlib
import io
import json
import sys

import jax
import numpy as np
import pytest

from recur.sequences import Padded

SCRIPT = "translate"
TINY = (
    "--features 6 --embedding 4 --buckets 1 --batch-size 4 --epochs 2 --schedule constant".split()
)
SENTENCES = ["ein hund", "der hund bellt", "ein haus", "das haus ist groß", "ein mann geht", "er"]
TRANSLATIONS = ["a dog", "the dog barks", "a house", "the house is big", "a man walks", "he"]


@pytest.fixture(scope="module")
def translate(scripts):
    return importlib.import_module(SCRIPT)


@pytest.fixture(scope="module")
def data(scripts):
    return importlib.import_module("translate_data")


@pytest.fixture(scope="module")
def models(scripts):
    return importlib.import_module("translate_models")


def write(path, lines):
    path.write_text("\n".join(lines) + "\n", encoding="utf-8")
    return path


@pytest.fixture
def files(tmp_path):
    paths = [write(tmp_path / "a.de", SENTENCES), write(tmp_path / "a.en", TRANSLATIONS)]
    return [str(each) for name in ("--train", "--valid", "--test") for each in (name, *paths)]


def results(folder):
    return json.loads((folder / "results.json").read_text())


# --- Runs ----------------------------------------------------------------------------------------


def test_quick_run_on_dates_and_its_interactive_mode(command, tmp_path, monkeypatch):
    folder = tmp_path / "run"
    printed = command("--quick", "--run", folder, "--epochs", "1")
    assert "BLEU: nrefs:1|case:mixed|eff:no|tok:13a|smooth:exp|version:" in printed
    (row,) = results(folder)
    assert row["test"] == "bahdanau" and row["perplexity, teacher forcing"] > 1
    nats = json.loads((folder / "positions.json").read_text())["nats"]
    assert list(nats) == ["teacher forcing", "free running"]
    assert nats["teacher forcing"][0] == pytest.approx(nats["free running"][0], 1e-5)
    assert nats["teacher forcing"] != nats["free running"]
    for picture in ("curve.png", "positions.png", "attention/1.png", "attention/6.png"):
        assert (folder / picture).read_bytes().startswith(b"\x89PNG")
    monkeypatch.setattr(sys, "stdin", io.StringIO("may 3, 1987\n\n"))
    lines = command("translate", "--run", folder, "--num-beams", "1").split("\n")
    assert len(lines) == 3 and lines[1] == ""


def test_a_resumed_run_has_the_results_of_an_uninterrupted_one(command, files, tmp_path):
    whole, parts = tmp_path / "whole", tmp_path / "parts"
    options = [*files, *TINY, "--model", "sutskever", "--tokens", "words", "--bleu", "none"]
    command(*options, "--run", whole)
    command(*options, "--run", parts, "--epochs", "1")
    command("--run", parts, "--epochs", "2")
    assert results(whole) == results(parts)
    assert (whole / "translations.txt").read_text() == (parts / "translations.txt").read_text()


# --- Models --------------------------------------------------------------------------------------


def tokens_of(data, options):
    return data.Languages(*(data.make_tokenizer(t, options) for t in (SENTENCES, TRANSLATIONS)))


@pytest.mark.parametrize(
    ("name", "cell", "layers", "feed"),
    [
        ("sutskever", "lstm", 2, False),
        ("cho", "gru", 2, False),
        ("bahdanau", "lstm", 2, False),
        ("luong", "gru", 2, True),
        ("luong", "lstm", 1, False),
    ],
)
def test_models(translate, data, models, name, cell, layers, feed):
    """Shapes of logits; the source matters at the first step; attention weights sum to 1."""
    given = {"model": name, "cell": cell, "layers": layers, "input_feeding": feed, "dropout": 0.1}
    options = translate.Options(**given, features=5, embedding=4)
    languages = tokens_of(data, options)
    model = models.build(options, languages)
    params = models.init(model, jax.random.key(0))
    sources = Padded(np.array([[4, 5, 6], [7, 5, 0]]), np.array([3, 2]))
    tokens = np.full((2, 4), languages.target.start)
    logits = model(params, tokens, context={"source": sources})
    assert logits.shape == (2, 4, len(languages.target))
    assert not np.allclose(logits[0, 0], logits[1, 0])
    padded = sources._replace(steps=np.array([[4, 5, 6], [7, 5, 9]]))
    assert np.array_equal(logits, model(params, tokens, context={"source": padded}))
    if name in ("bahdanau", "luong"):
        viewer, parts = models.build_viewer(options, languages)
        params = params._replace(decoder=params.decoder[:parts])
        weights = viewer(params, tokens, context={"source": sources}).weights
        assert np.allclose(weights.sum(-1), 1, atol=1e-5) and not weights[1, :, 2].any()


def test_without_attention_the_decoder_starts_with_the_state_of_the_encoder(
    translate, data, models
):
    options = translate.Options(model="sutskever", features=3, embedding=2)
    languages = tokens_of(data, options)
    encoder, decoder = models.build_parts(options, languages)
    params = models.init(models.join(options, encoder, decoder), jax.random.key(0))
    source = np.array([4, 5, 6])
    last, _ = encoder.run(params.encoder, source)
    start = models.Start(options, (False, True, False)).apply({}, last)
    assert start[0] == start[2] == () and np.array_equal(start[1], last[1])


def nats_of(model, params, example, inputs):
    """The loss at each position, of a sentence alone that reads these inputs."""
    source = example.context["source"].steps[None]
    logits = np.asarray(model(params, inputs[None], context={"source": source})[0], np.float64)
    chances = np.exp(logits) / np.exp(logits).sum(-1, keepdims=True)
    targets = example.steps["target"]
    return -np.log(chances[np.arange(len(targets)), targets]), logits.argmax(-1)


def test_losses_by_position_are_those_of_each_sentence_alone(translate, data, models):
    options = translate.Options(model="luong", features=5, embedding=4, tokens="words")
    languages = tokens_of(data, options)
    model = models.build(options, languages)
    params = models.init(model, jax.random.key(1))
    examples = data.encode(map(data.Pair, SENTENCES, TRANSLATIONS), languages, options)
    (test,) = data.make_alike(examples, batch_size=4)
    found = translate.make_evaluate(model)(params, test)
    losses = {"forced": [], "free": []}
    for example in examples:
        inputs = example.steps["input"].copy()
        losses["forced"].append(nats_of(model, params, example, inputs)[0])
        for n in range(1, len(inputs)):  # it reads what it has chosen at the position before
            inputs[n] = nats_of(model, params, example, inputs)[1][n - 1]
        losses["free"].append(nats_of(model, params, example, inputs)[0])
    for way, rows in losses.items():
        assert found[way] == pytest.approx(np.concatenate(rows).mean(), 1e-5)
        for n, nats in enumerate(found[f"{way} by position"]):
            assert nats == pytest.approx(np.mean([row[n] for row in rows if len(row) > n]), 1e-5)


def test_bleu_and_exact_matches(translate):
    pairs = [translate.Pair("", "the cat sat on the mat"), translate.Pair("", "it is raining now")]
    texts = ["the cat sat on the mat", "it is raining today"]
    found = {"forced": np.log(2.0), "free": np.log(3.0)}
    row, signature = translate.score(translate.Options(), found, {"greedy": texts}, pairs)
    assert signature.startswith("nrefs:1|case:mixed|eff:no|tok:13a")
    assert row["exact, greedy"] == 0.5
    assert row["perplexity, teacher forcing"] == pytest.approx(2)
    assert row["perplexity, free running"] == pytest.approx(3)
    shares = (9 / 10, 7 / 8, 5 / 6, 3 / 4)  # n-grams that are in the references
    assert row["BLEU, greedy"] == pytest.approx(100 * np.prod(shares) ** 0.25)


# --- Data ----------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("form", "written"),
    [
        ("{d:02}/{m:02}/{y}", "03/05/1987"),
        ("{weekday} {month} {nth}, {y}", "sunday may 3rd, 1987"),
        ("{d:02}.{m:02}.{yy:02}", "03.05.87"),
        ("{y} {mon} {d:02}", "1987 may 03"),
    ],
)
def test_formats_of_dates(data, form, written):
    assert form in data.FORMATS
    assert data.write_date(data.datetime.date(1987, 5, 3), form) == written


def test_ordinal_numbers(data):
    days = [data.datetime.date(2000, 1, day) for day in range(1, 32)]
    found = [data.write_date(day, "{nth}") for day in days]
    assert found[:4] == ["1st", "2nd", "3rd", "4th"] and found[20:24] == [
        "21st",
        "22nd",
        "23rd",
        "24th",
    ]
    assert found[10:13] == ["11th", "12th", "13th"] and found[30] == "31st"


def test_no_test_date_is_in_training(translate):
    corpus = translate.read_corpus(translate.Options())
    days = [{pair.target for pair in part} for part in corpus]
    assert [len(part) for part in corpus] == [4500, 1500, 1500]
    assert not days[0] & days[1] and not days[0] & days[2] and not days[1] & days[2]


def test_tokens(translate, data):
    options = translate.Options(tokens="words", min_count=2, reverse_source=True)
    languages = tokens_of(data, options)
    assert set(languages.source.entries) == {"ein", "hund", "haus"}
    ids = data.encode_source("der hund bellt ein", languages, options).steps
    end = languages.source.end
    assert data.show(languages.source, ids) == ["ein", "<unk>", "hund", "<unk>", "</s>"]
    (example,) = data.encode([data.Pair("ein", "a dog")], languages, options)
    assert example.steps["input"][0] == languages.target.start
    assert example.steps["target"][-1] == languages.target.end and ids[-1] == end
    assert np.array_equal(example.steps["input"][1:], example.steps["target"][:-1])
    characters = translate.Options()
    shown = data.show(
        tokens_of(data, characters).source, tokens_of(data, characters).source.encode("er h")
    )
    assert shown == ["e", "r", "␣", "h"]


# --- Wrong input ---------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("target", "message"),
    [
        (TRANSLATIONS[:-1], "expected as many lines as in {0}, 6, got 5."),
        ([*TRANSLATIONS[:2], " ", *TRANSLATIONS[3:]], "{1}:3: expected a sentence, got a blank"),
        ([], "expected a text, got only blank lines."),
        (
            [*TRANSLATIONS[:-1], "he " * 60],
            "{1}:6: expected a translation of at most 49 tokens, got 60. Increase --max-length.",
        ),
    ],
)
def test_wrong_files(complaint, files, tmp_path, target, message):
    path = write(tmp_path / "b.en", target)
    files[2] = str(path)
    run = ["--tokens", "words", "--run", tmp_path / "run"]
    assert message.format(files[1], path) in complaint(*files, *run)
    assert not (tmp_path / "run").exists()


def test_wrong_options(complaint, files, tmp_path):
    assert "--valid: expected two files, SOURCE TARGET, got 0." in complaint(*files[:3])
    assert "--train: expected two files, SOURCE TARGET, got 1." in complaint("--train", files[1])
    assert "--input-feeding: expected --model luong, got cho." in complaint(
        "--model", "cho", "--input-feeding"
    )
    few = [*files, "--tokens", "words", "--min-count", "9", "--run", tmp_path / "run"]
    assert "words that occur at least 9 times" in complaint(*few)
    (tmp_path / "bad.de").write_bytes(b"\xff\n")
    files[1] = str(tmp_path / "bad.de")
    assert "bad.de:1: expected text in utf-8, got the byte 0xff" in complaint(*files)
    assert "expected the folder of a run" in complaint("translate", "--run", tmp_path / "none")
