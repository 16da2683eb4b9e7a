"""The tagger from the command line: data, baselines, runs that are resumed, and wrong files."""

import importlib
import itertools
import json
import os
import random
import signal

import numpy as np
import pytest

from recur.text import read_columns

SCRIPT = "tag"
TINY = "--features 4 --embedding 4 --no-characters --no-endings --cell gru --buckets 1".split()
TINY += ["--batch-size", "4"]
NAMES = {"PER": ["ada", "grace"], "LOC": ["paris", "rome"]}


@pytest.fixture(scope="module")
def data(scripts):
    return importlib.import_module("tag_data")


@pytest.fixture(scope="module")
def baselines(scripts):
    return importlib.import_module("tag_baselines")


@pytest.fixture
def files(tmp_path):
    """Three files of sentences with spans, such as "ada lovelace saw new rome"."""
    draws = random.Random(0)
    paths = []
    for name, count in (("train", 12), ("valid", 4), ("test", 5)):
        text = "# a comment\n"
        for _ in range(count):
            rows = ["she O", "saw O"][: draws.randint(1, 2)]
            kind = draws.choice(["PER", "LOC"])
            rows += [f"{draws.choice(NAMES[kind])} B-{kind}", f"{draws.randint(1, 9)} I-{kind}"]
            text += "\n".join(rows) + "\n\n"
        if name == "train":
            text += "both O\nada B-PER\n1 I-PER\nrome B-LOC\n2 I-LOC\n\n"
        paths.append(tmp_path / f"{name}.txt")
        paths[-1].write_text(text.removeprefix("# a comment\n"), encoding="utf-8")
    return ["--files", *paths]


def records(folder):
    return [json.loads(line) for line in (folder / "metrics.jsonl").read_text().splitlines()]


def test_a_quick_run_with_a_crf_and_its_predictions(command, files, tmp_path):
    folder = tmp_path / "run"
    printed = command(*files, "--run", folder, "--quick", "--head", "crf", "--batch-size", "4")
    assert "| most frequent tag | " in printed and "| hidden Markov model | " in printed
    table = {row["test"]: row for row in json.loads((folder / "results.json").read_text())}
    for name in ("curve.png", "sentences.png", "confusion.png"):
        assert (folder / name).read_bytes().startswith(b"\x89PNG")
    found = list(read_columns(folder / "test.tsv", (0, 1, 2)))
    assert [row[:2] for row in found] == list(read_columns(files[3]))
    _, targets, predicted = map(np.concatenate, zip(*found, strict=True))
    assert table["this model"]["accuracy"] == pytest.approx((targets == predicted).mean())
    for tags in (row[2] for row in found):  # the CRF gives no I-X after another type
        for before, tag in itertools.pairwise(["O", *tags]):
            assert tag[0] != "I" or before[2:] == tag[2:]
    command("predict", "--run", folder, "--file", files[3])
    again = command("predict", "--run", folder, "--file", files[3])
    (tmp_path / "again.txt").write_text(again, encoding="utf-8")
    assert list(read_columns(tmp_path / "again.txt")) == [(row[0], row[2]) for row in found]
    (tmp_path / "code.py").write_text("def f(x):\n    return x\n", encoding="utf-8")
    printed = command("predict", "--run", folder, "--file", tmp_path / "code.py")
    words = [line.split("\t")[0] for line in printed.split("\n")]
    assert words == [*"def f ( x ) : return x".split(), "", ""]


def test_the_default_is_pythons_library(command, tmp_path, monkeypatch):
    texts = {f"{n}.py": f"def f{n}(x):\n    return x + {n}\n" * 3 for n in range(300)}
    monkeypatch.setattr(importlib.import_module("tag_python"), "python_sources", lambda: texts)
    monkeypatch.chdir(tmp_path)
    printed = command("--quick", "--no-characters", "--cell", "gru")
    assert "Results are in runs/tag-1." in printed and "64 training sentences" in printed


def test_a_resumed_run_equals_one_that_was_not_stopped(command, files, tmp_path, monkeypatch):
    script = importlib.import_module(SCRIPT)
    run = [*files, *TINY, "--epochs", "3", "--run"]
    command(*run, tmp_path / "whole")
    make, stops = script.make_validate, [True]

    def make_validate(*given):
        validate = make(*given)

        def stopping(report):
            if stops:
                os.kill(os.getpid(), signal.SIGINT)
                stops.clear()
            return validate(report)

        return stopping

    monkeypatch.setattr(script, "make_validate", make_validate)
    with pytest.raises(SystemExit, match="tag: stopped"):
        command(*run, tmp_path / "resumed")
    assert not (tmp_path / "resumed" / "results.json").exists()
    command("--run", tmp_path / "resumed")
    for name in ("results.json", "test.tsv", "words.json"):
        whole, resumed = ((tmp_path / each / name).read_text() for each in ("whole", "resumed"))
        assert whole == resumed
    whole, resumed = records(tmp_path / "whole"), records(tmp_path / "resumed")
    assert [record["loss"] for record in whole] == pytest.approx([r["loss"] for r in resumed])


# --- Data -----------------------------------------------------------------------------------------


SOURCE = '''
import os, sys as system
from json import loads as read
LIMIT = 3

class Reader:
    @property
    def text(self, path: str = "ü", *rest, **more):
        """Reads."""
        found = os.path.join(path, *rest)
        for row in read(found, key=LIMIT).rows:
            try:
                row = row.strip() + len(more)
            except ValueError as error:
                print(error)
        return [each.size for each in row if each]

    def importing(self):
        import json

def list(x):
    def inner(y):
        return inner(y) + x
    return system.exit(list, inner)
'''
ROLES = {
    "text": """
        def/keyword text/definition (/operator self/parameter ,/operator path/parameter :/operator
        str/builtin =/operator "…"/string ,/operator */operator rest/parameter ,/operator
        **/operator more/parameter )/operator :/operator "…"/string found/variable =/operator
        os/imported ./operator path/attribute ./operator join/method (/operator path/parameter
        ,/operator */operator rest/parameter )/operator for/keyword row/variable in/keyword
        read/imported (/operator found/variable ,/operator key/argument =/operator LIMIT/global
        )/operator ./operator rows/attribute :/operator try/keyword :/operator row/variable
        =/operator row/variable ./operator strip/method (/operator )/operator +/operator
        len/builtin (/operator more/parameter )/operator except/keyword ValueError/builtin
        as/keyword error/variable :/operator print/builtin (/operator error/variable )/operator
        return/keyword [/operator each/variable ./operator size/attribute for/keyword
        each/variable in/keyword row/variable if/keyword each/variable ]/operator
    """,
    "list": """
        def/keyword list/definition (/operator x/parameter )/operator :/operator def/keyword
        inner/definition (/operator y/parameter )/operator :/operator return/keyword
        inner/variable (/operator y/parameter )/operator +/operator x/parameter return/keyword
        system/imported ./operator exit/method (/operator list/global ,/operator inner/variable
        )/operator
    """,
}


def test_roles_of_names(scripts, monkeypatch):
    script = importlib.import_module("tag_python")
    monkeypatch.setattr(script, "LONGEST", 100)
    found = {
        sentence.words[1]: [f"{word}/{tag}" for word, tag in zip(*sentence, strict=True)]
        for sentence in script.tag_functions(SOURCE)
    }
    assert found == {name: roles.split() for name, roles in ROLES.items()}


def test_held_out_files_do_not_depend_on_how_many_are_read(scripts, monkeypatch):
    script = importlib.import_module("tag_python")
    texts = {f"{n}.py": f"def f{n}(): pass" for n in range(400)}
    monkeypatch.setattr(script, "python_sources", lambda: texts)
    whole, some = script.read_python(), script.read_python(3)
    for all_of, part in zip(whole, some, strict=True):
        names, read = ({sentence.words[1] for sentence in each} for each in (all_of, part))
        assert read < names
    assert sum(map(len, whole)) == 400 and len(whole.test) < 80 > len(whole.validation)


def test_examples_have_words_characters_and_tags(data):
    vocabulary = data.learn_vocabulary([data.Sentence(["aé", "b", "b"], ["X", "Y", "Y"])])
    long = "aé" + 20 * "z" + "b"
    [example] = data.encode(vocabulary, [data.Sentence([long, "b"], ["Y", "X"])])
    assert example.steps["word"].tolist() == [1, 4] and example.steps["tag"].tolist() == [1, 0]
    spelled = example.steps["characters"]
    assert spelled.length.tolist() == [16, 1]
    text = [vocabulary.characters.decode(ids) for ids in spelled.steps]
    assert text[0] == "aé" + 13 * "\N{REPLACEMENT CHARACTER}" + "b"


# --- Baselines ------------------------------------------------------------------------------------


def test_baselines_by_hand(data, baselines):
    """Most frequent tags, and the Viterbi path against all paths, of words seen and unseen."""
    sentences = [
        data.Sentence("the dog runs".split(), ["D", "N", "V"]),
        data.Sentence("the runs".split(), ["D", "N"]),
        data.Sentence("dog runs the".split(), ["N", "V", "D"]),
        data.Sentence(["cat"], ["N"]),
    ]
    vocabulary = data.learn_vocabulary(sentences)
    examples = data.encode(vocabulary, sentences)
    counts = baselines.count_tags(examples, vocabulary)
    unknown, runs = vocabulary.words.unknown, vocabulary.words.id_of("runs")
    assert counts[runs].tolist() == [0, 1, 2] and counts[unknown].tolist() == [0, 1, 0]
    given = data.encode(
        vocabulary, [data.Sentence(w.split(), []) for w in ("runs a", "a the runs")]
    )
    given = [e._replace(steps={"word": e.steps["word"], "tag": e.steps["tag"]}) for e in given]
    from recur.sequences import make_batches, pad

    batches = make_batches(given, pad(4))
    frequent = baselines.tag_all(baselines.frequent_tagger(counts), batches)
    assert [each.tolist() for each in frequent] == [[2, 1], [1, 0, 2]]
    small = baselines.PSEUDO_COUNT
    initial, transition = np.full(3, small), np.full((3, 3), small)
    for sentence in sentences:
        tags = ["DNV".index(tag) for tag in sentence.tags]
        initial[tags[0]] += 1
        for before, tag in itertools.pairwise(tags):
            transition[before, tag] += 1
    initial, transition = initial / initial.sum(), transition / transition.sum(1, keepdims=True)
    emission = (counts + small) / (counts + small).sum(0)

    def chance(path, ids):
        steps = [transition[pair] for pair in itertools.pairwise(path)]
        return initial[path[0]] * np.prod(steps) * np.prod(emission[ids, path])

    best = [
        max(
            itertools.product(range(3), repeat=len(ids)),
            key=lambda path, ids=ids: chance(path, ids),
        )
        for ids in (list(example.steps["word"]) for example in given)
    ]
    found = baselines.tag_all(baselines.markov_tagger(examples, counts), batches)
    assert [tuple(each.tolist()) for each in found] == best


def test_scores_of_all_and_of_unseen_words(data, baselines):
    training = [data.Sentence(["a", "b"], ["B-X", "I-X"]), data.Sentence(["c"], ["O"])]
    vocabulary = data.learn_vocabulary(training)
    test = [data.Sentence(["a", "new"], ["B-X", "I-X"]), data.Sentence(["b", "new"], ["I-X", "O"])]
    examples = data.encode(vocabulary, test)
    found = baselines.evaluate([np.array([0, 1]), np.array([2, 2])], examples, vocabulary)
    # Spans: both of length 2 and 1 are targets; the first is found.
    assert found == pytest.approx({"accuracy": 0.75, "unseen words": 1.0, "span F1": 2 / 3})
    assert not baselines.has_spans(["NOUN", "O"]) and baselines.has_spans(["O", "S-X", "E-X"])


# --- Wrong files ----------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("file", "text", "message"),
    [
        (
            1,
            "she O\nada\n",
            "train.txt:2: expected 2 columns, as in the first line of the sentence",
        ),
        (1, "she\nada\n", "train.txt:1: expected a column 1, counted from 0, got only 1 columns"),
        (1, "", "train.txt: expected a text, got an empty file"),
        (2, "\n \n", "valid.txt: expected a text, got only blank lines"),
        (2, "she O\n\nsaw O\n5 NUM\n", "valid.txt:4: expected a tag of "),
        (3, "NUM O\n5\tNUM\n", "test.txt:2: expected "),
        (3, "she O\n\xff", "test.txt:2: expected text in utf-8, got the byte 0xff at column 1"),
    ],
)
def test_wrong_files(complaint, files, tmp_path, file, text, message):
    files[file].write_bytes(text.encode("latin-1"))
    assert message in complaint(*files, "--run", tmp_path / "run", "--quick")
    assert not (tmp_path / "run").exists()


def test_wrong_options(complaint, files, tmp_path):
    message = complaint(*files[:3], "--run", tmp_path / "run")
    assert "--files: expected three, for training, validation and test, got 2." in message
    assert "No such file" in complaint(*files[:3], tmp_path / "none", "--run", tmp_path / "run")
    assert "expected the folder of a run" in complaint(
        "predict", "--run", tmp_path / "none", "--file", files[1]
    )


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("x = 1\n", "code.py: expected functions of at most 80 tokens, got none."),
        ("x = 1\ndef f(:\n", "code.py:2: expected Python, got invalid syntax."),
        ("def f(x):\n  if x:\n pass\n", "code.py:3: expected Python, got unindent does not match"),
    ],
)
def test_wrong_python_files(scripts, tmp_path, text, message):
    (tmp_path / "code.py").write_text(text, encoding="utf-8")
    with pytest.raises(ValueError) as caught:
        importlib.import_module("tag_python").read_functions(tmp_path / "code.py")
    assert message in str(caught.value)
