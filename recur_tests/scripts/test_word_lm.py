"""The word model from the command line, its recipes against their papers, its sentences."""

import dataclasses
import importlib
import json
import random
import signal

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

from recur.train import Report, init_state

SCRIPT = "word_lm"
TINY = ["--features", "8", "--embedding", "6", "--batch-size", "2", "--unroll", "4",
        "--epochs", "2", "--report-every", "4"]  # fmt: skip
NOUNS, VERBS = ["cat", "dog", "bird"], ["sees", "hears", "likes"]


@pytest.fixture(scope="module")
def word_lm(scripts):
    return importlib.import_module(SCRIPT)


@pytest.fixture(scope="module")
def models(scripts):
    return importlib.import_module("word_models")


@pytest.fixture
def texts(tmp_path):
    """Three files of sentences, as options."""
    draws = random.Random(0)
    options = []
    for part, count in {"train": 60, "valid": 8, "test": 8}.items():
        lines = [
            f"the {draws.choice(NOUNS)} {draws.choice(VERBS)} the {draws.choice(NOUNS)}"
            for _ in range(count)
        ]
        (tmp_path / part).write_text("\n".join(lines) + "\n", "utf-8")
        options += [f"--{part}", str(tmp_path / part)]
    return options


def records(folder):
    return [json.loads(line) for line in (folder / "metrics.jsonl").read_text().splitlines()]


# --- Runs ----------------------------------------------------------------------------------------


def test_a_run_from_beginning_to_sentences(command, complaint, texts, tmp_path):
    folder = tmp_path / "run"
    begin = [*texts, "--run", folder, *TINY, "--vocabulary", "None"]
    printed = command(*begin)
    assert "a new run; lecture: 1 x elman of 8 units" in printed and "10 words." in printed
    table = json.loads((folder / "results.json").read_text())
    found = {row["perplexity"]: row for row in table}
    assert list(found) == ["unigrams", "3-grams, Katz", "5-grams, Kneser-Ney", "this model"]
    valid = [r["valid_perplexity"] for r in records(folder) if "valid_perplexity" in r]
    assert len(valid) == 2 and min(valid) == pytest.approx(
        found["this model"]["validation"], rel=1e-5
    )
    assert (folder / "curve.png").stat().st_size > 1000

    write = ["generate", "--run", folder, "--prompt", "the"]
    write += ["--min-tokens", "6", "--max-tokens", "9"]
    for choose, count in {"categorical": 3, "top-k": 3, "argmax": 1, "beam": 3}.items():
        options = [*write, "--choose", choose, "--count", "3", "--num-beams", "4"]
        sentences = command(*options).splitlines()
        assert len(sentences) == count
        for words in map(str.split, sentences):
            assert words[0] == "the" and 6 <= len(words) <= 9 and "<unk>" not in words
            assert set(words) <= {"the", *NOUNS, *VERBS}
    assert command(*write) == command(*write) != command(*write, "--seed", "1")

    assert "of which the model has 'the <unk>'" in complaint(*write, "--prompt", "the fox")
    assert "expected num_beams from 1 to the 10 tokens of the vocabulary, got 99" in complaint(
        *write, "--choose", "beam", "--num-beams", "99"
    )
    for most, prompt in (("5", "the"), ("6", " ".join(["the cat"] * 3))):
        count = len(prompt.split())
        message = f"at least --min-tokens, 6, and more than the {count} words of the prompt"
        told = complaint(*write, "--max-tokens", most, "--prompt", prompt)
        assert f"--max-tokens: expected {message}, got {most}" in told
    path = folder / "tokenizer.json"
    kept = path.read_text("utf-8")
    path.write_text(kept.replace("bird", "fish"), "utf-8")
    assert "expected the vocabulary that the run was started with" in complaint(*write)
    command("--run", folder)  # it is learned from the text once more
    assert path.read_text("utf-8") == kept
    assert "expected the features of the run that is there" in complaint(*begin, "--features", "9")
    for written, message in {
        '{"pieces": 3}': "expected the options of a run of this script",
        '{"features"': "expected JSON, got a damaged file",
        "[8]": "expected JSON of a dict, got list",
    }.items():
        (folder / "options.json").write_text(written)
        for arguments in (write, begin):
            assert f"options.json: {message}" in complaint(*arguments)


def test_awd_with_all_its_noise_resumes_to_the_same_numbers(command, texts, tmp_path):
    whole, stopped = tmp_path / "whole", tmp_path / "stopped"
    options = [*texts, "--preset", "awd", *TINY, "--vocabulary", "None", "--average-after", "1"]
    options += ["--learning-rate", "3", "--constant-epochs", "9"]
    printed = command(*options, "--epochs", "4", "--run", whole)
    assert "3 x lstm of 8 units" in printed
    command(*options, "--run", stopped)
    command("--run", stopped, "--epochs", "4")
    assert records(whole) == records(stopped)
    assert (whole / "results.json").read_text() == (stopped / "results.json").read_text()


def test_learns_pythons_documentation_by_default(word_lm, command, tmp_path, monkeypatch):
    texts = {f"module{n}": f"Return the object {n}. Its name isn't known." for n in range(200)}
    monkeypatch.setattr(word_lm, "documentation", lambda: texts)
    monkeypatch.chdir(tmp_path)
    printed = command(*TINY, "--epochs", "1", "--vocabulary", "15")
    assert "Results are in runs/word_lm-1." in printed
    tokenizer = word_lm.Tokenizer.load(tmp_path / "runs/word_lm-1/tokenizer.json")
    assert {"return", "object", ".", "isn't"} <= set(tokenizer.tokens) and len(tokenizer) == 15


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--valid", "None"], "--valid: expected a file for each of --train, --valid and --test"),
        (["--test", "empty"], "empty: expected"),
        (["--train", "latin"], "latin:1: expected text in utf-8, got the byte 0xfc"),
        (["--vocabulary", "99"], "size=99. None keeps every word."),
        (["--dropout", "1.5"], "--dropout: expected from 0 to below 1, got 1.5"),
        (["--learning-rate", "nan"], "--learning-rate: expected above 0, got nan"),
        (["--average-after", "0"], "--average-after: expected from 1 to 1,000,000,000, got 0"),
        (
            ["--batch-size", "1000"],
            "1000 streams of windows of 4 new steps need at least 4000 steps",
        ),
        (["--run", "precious"], "got one with other files"),
    ],
)
def test_what_cannot_be_learned(complaint, texts, tmp_path, monkeypatch, arguments, message):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "empty").touch()
    (tmp_path / "latin").write_bytes("für alle".encode("latin-1"))
    (tmp_path / "precious").mkdir()
    (tmp_path / "precious" / "thesis.tex").touch()
    vocabulary = ["--vocabulary", "None"]
    assert message in complaint(*texts, "--run", "run", *TINY, *vocabulary, *arguments)
    assert not (tmp_path / "run").exists()


# --- Recipes -------------------------------------------------------------------------------------


def test_zarembas_small_model_is_the_published_one(models):
    """4,653,200 weights, of which torch's second bias for each gate is 1,600."""
    options = models.PRESETS["zaremba-small"]
    params = jax.eval_shape(models.build_model(options, 10_000).init, jax.random.key(0))
    assert sum(leaf.size for leaf in jax.tree.leaves(params)) == 4_653_200 - 2 * 4 * 200
    small = models.build_model(dataclasses.replace(options, features=3, embedding=3), 50)
    for leaf in jax.tree.leaves(small.init(jax.random.key(0))):
        assert (np.abs(leaf) < 0.1).all() and len(set(leaf.ravel().tolist())) == leaf.size
    updates = models.build_optimizer(options, windows_per_epoch=5)
    state, rates = updates.init(jnp.zeros(())), []
    for _ in range(5 * 7):
        update, state = updates.update(jnp.ones(()), state, jnp.zeros(()))
        rates.append(-float(update))
    np.testing.assert_allclose(rates, np.repeat([1, 1, 1, 1, 0.5, 0.25, 0.125], 5))


def test_a_loss_is_summed_over_words_and_averaged_over_rows(word_lm, models):
    options = dataclasses.replace(models.PRESETS["zaremba-small"], features=5, embedding=5,
                                  batch_size=2, unroll=3)  # fmt: skip
    model = models.build_model(options, 7)
    state = word_lm.first_state(options, model, optax.sgd(1.0))
    document = np.random.default_rng(0).integers(0, 7, 8)
    window = next(word_lm.Streams([document], batch_size=2, k1=3))
    (value, (_, metrics)) = models.make_loss(options, model)(
        state.params, state.carry, window, jax.random.key(0)
    )
    hs = word_lm.recur.batch(model.body)(state.params.body, window.inputs)
    nats = nats_of(model.logits(state.params, hs), window.targets)
    assert value == pytest.approx(nats.sum() / 2, rel=1e-5)
    assert metrics["nats"] == pytest.approx(nats.mean(), rel=1e-5)


def nats_of(logits, targets):
    exponentials = np.exp(np.asarray(logits, np.float64))
    chosen = np.take_along_axis(exponentials, np.asarray(targets)[..., None], -1)[..., 0]
    return -np.log(chosen / exponentials.sum(-1))


@pytest.mark.parametrize("tied", [False, True])
def test_perplexity_by_its_definition(word_lm, models, tied):
    options = models.Options(features=5, embedding=3, batch_size=2, tied=tied)
    model = models.build_model(options, 7)
    state = word_lm.first_state(options, model, models.build_optimizer(options, 1))
    documents = [np.random.default_rng(n).integers(0, 7, 3 + n) for n in range(4)]
    layer = model.decoding_layer(state.params)
    nats = [
        nats_of(layer((state.params.body, ()), d[None, :-1])[0], d[1:]).sum() for d in documents
    ]
    count = sum(len(document) - 1 for document in documents)
    assert word_lm.make_judge(model, documents)(state) == pytest.approx(sum(nats) / count, 1e-5)


def test_documents_are_sentences_or_running_text(word_lm):
    texts = [["a b", "c"], ["a"]]
    apart = word_lm.learn_words(word_lm.Options(train="", vocabulary=None), texts)
    running = word_lm.learn_words(
        word_lm.Options(train="", vocabulary=None, sentences=False), texts
    )
    assert apart.tokens == ("<unk>", "<s>", "</s>", "a", "b", "c")
    assert [d.tolist() for d in word_lm.encode(apart, texts)] == [
        [1, 3, 4, 2],
        [1, 5, 2],
        [1, 3, 2],
    ]
    assert running.tokens == ("<unk>", "<eos>", "a", "b", "c")
    assert [d.tolist() for d in word_lm.encode(running, texts)] == [[1, 2, 3, 1, 4, 1], [1, 2, 1]]


def test_averaging_begins_when_it_is_told_to(word_lm, models):
    options = models.Options(optimizer="sgd", average_after=1, learning_rate=1.0, clip=9.0)
    optimizer = models.build_optimizer(options, windows_per_epoch=100)
    state = init_state(jnp.zeros(2), optimizer, jax.random.key(0))
    seen = []
    for number in range(5):
        if number == 2:
            assert not models.has_begun(state)
            state = models.begin_average(state)
        updates, inner = optimizer.update(jnp.full(2, float(number)), state.optimizer, state.params)
        params = optax.apply_updates(state.params, updates)
        state = state._replace(params=params, optimizer=inner)
        seen.append(np.asarray(params))
        expected = np.mean(seen[2:], 0) if number >= 2 else seen[-1]
        np.testing.assert_allclose(models.weights_to_judge(state), expected, rtol=1e-6)


@pytest.mark.parametrize(
    ("found", "is_time"),
    [([9, 8, 7], False), ([9, 7, 8], False), ([9, 7, 8, 8], True), ([9, 7, 8, 6], False)],
)
def test_averaging_is_due_when_validations_get_no_better(word_lm, models, found, is_time):
    stop = word_lm.make_stop(2)
    answers = [stop(Report(n, n - 1, None, {"valid_perplexity": v})) for n, v in enumerate(found)]
    assert answers[-1] == is_time
    assert stop(Report(9, 8, None, {"nats": 1.0})) == is_time


def test_ctrl_c_changes_no_number(word_lm, command, complaint, texts, tmp_path, monkeypatch):
    """At any update: the first, one in between, the last of an epoch, and the last of all."""
    whole, stopped = tmp_path / "whole", tmp_path / "stopped"
    options = [*texts, *TINY, "--vocabulary", "None", "--batch-size", "8"]
    command(*options, "--run", whole)
    per_epoch = records(whole)[-1]["step"] // 2
    for update in (1, per_epoch - 1, per_epoch, 2 * per_epoch):
        read = word_lm.Streams.__next__

        def interrupted(reading, read=read, update=update):
            window = read(reading)
            if reading.get_state()["window"] == update:
                signal.raise_signal(signal.SIGINT)
            return window

        with monkeypatch.context() as patch:
            patch.setattr(word_lm.Streams, "__next__", interrupted)
            assert "stopped. " in complaint(*options, "--run", stopped)
    command(*options, "--run", stopped)
    assert (stopped / "metrics.jsonl").read_text() == (whole / "metrics.jsonl").read_text()
    assert (stopped / "results.json").read_text() == (whole / "results.json").read_text()
