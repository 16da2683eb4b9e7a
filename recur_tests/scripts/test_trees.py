"""Trees from the command line: runs, resuming, errors, and its own functions."""

import importlib
import itertools
import json
import random
import signal

import jax
import numpy as np
import pytest

from recur.sequences import Node, parse_tree, post_order

SCRIPT = "trees"
LESS = ["--quick", "--models", "child_sum_lstm", "--batch-size", "8", "--report-every", "2"]


@pytest.fixture(scope="module")
def data(scripts):
    return importlib.import_module("trees_data")


@pytest.fixture(scope="module")
def models(scripts):
    return importlib.import_module("trees_models")


def sentiment(seed, count=12):
    """Sentences in the format of SST, where the label of a node is that of its better word."""
    draws, scores = random.Random(seed), {"dull": 0, "a": 2, "film": 2, "great": 4}

    def tree(size):
        if size == 1:
            word = draws.choice([*scores])
            return scores[word], f"({scores[word]} {word})"
        left = tree(size // 2)
        right = tree(size - size // 2)
        label = max(left[0], right[0])
        return label, f"({label} {left[1]} {right[1]})"

    return "\n".join(tree(draws.randrange(1, 6))[1] for _ in range(count)) + "\n\n"


def write_files(folder):
    paths = [folder / f"{name}.txt" for name in ("train", "dev", "test")]
    for seed, path in enumerate(paths):
        path.write_text(sentiment(seed, 30 if seed == 0 else 12))
    return paths


def results(folder):
    return json.loads((folder / "results.json").read_text())


def test_list_operations_by_default(command, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    printed = command("--quick")
    folder = tmp_path / "runs" / "trees-1"
    assert "40 training, 10 validation, 40 test trees; 10 labels" in printed
    rows = results(folder)
    assert [row["model"] for row in rows] == [
        *("nary_lstm", "child_sum_lstm", "recursive_tanh", "flat_lstm")
    ]
    for row in rows:
        assert 0 <= row["deeper roots"] <= 1 and 0 <= row["all nodes"] <= 1
        assert (folder / row["model"] / "nodes.png").read_bytes().startswith(b"\x89PNG")
    assert (folder / "depth.png").read_bytes().startswith(b"\x89PNG")


def test_parse_trees_from_files_with_the_loss_at_the_root(command, tmp_path):
    options = ["--data", *write_files(tmp_path), "--models", "flat_lstm", "--loss", "root"]
    printed = command(*options, "--quick", "--min-count", "2", "--run", tmp_path / "run")
    assert "30 training, 12 validation, 12 test trees; 3 labels" in printed
    [row] = results(tmp_path / "run")
    assert "deeper roots" not in row or row["deeper roots"] <= 1


def test_stopped_and_resumed_it_gives_the_same_numbers(command, complaint, tmp_path, monkeypatch):
    trees = importlib.import_module("trees")
    calls = itertools.count()

    def stop_at_the_second_report(name):
        def show(metrics):
            if next(calls) == 1:
                signal.raise_signal(signal.SIGINT)
            return ""

        return show

    with monkeypatch.context() as patch:
        patch.setattr(trees, "show_progress", stop_at_the_second_report)
        patch.setattr(signal, "getsignal", lambda _: signal.default_int_handler)
        assert "stopped. The same --run resumes" in complaint(*LESS, "--run", tmp_path / "a")
    assert not (tmp_path / "a" / "results.json").exists()
    command("--run", tmp_path / "a")
    command(*LESS, "--run", tmp_path / "b")
    rows = [results(tmp_path / name)[0] for name in "ab"]
    assert "seconds" not in rows[0] and rows[1].pop("seconds") > 0 and rows[0] == rows[1]
    logs = [(tmp_path / n / "child_sum_lstm" / "metrics.jsonl").read_text() for n in "ab"]
    assert logs[0] == logs[1]


GOOD = "(3 (2 It) (4 works))\n"
WRONG = [
    ("(3 (2 It) (4 works)\n", "train.txt:1: position 19: expected ')', got the end."),
    (GOOD + "\n(3 (2 It)) (2 x)\n", "train.txt:3: position 11: expected one tree in brackets"),
    (GOOD + "(3 It works)\n", "train.txt:2: position 0: expected (label word) or (label tree"),
    (GOOD + "3\n", "train.txt:2: position 0: expected one tree in brackets, got '3'"),
    (GOOD + "(3 (2 It)))\n", "train.txt:2: position 10: expected one tree in brackets, got ')'"),
    (GOOD + "((2 It))\n", "train.txt:2: position 0: expected (label word) or (label tree"),
    ("", "train.txt: expected"),
    ("(1 no)\n", "dev.txt:1: expected a label of the training set (1), got '3'."),
]


@pytest.mark.parametrize(("content", "message"), WRONG)
def test_wrong_files(complaint, tmp_path, content, message):
    paths = [tmp_path / f"{name}.txt" for name in ("train", "dev", "test")]
    for path in paths:
        path.write_text(GOOD)
    paths[0].write_text(content)
    assert message in complaint("--data", *paths, "--run", tmp_path / "run")
    assert not (tmp_path / "run").exists()


def test_wrong_combinations(complaint, tmp_path):
    paths = write_files(tmp_path)
    assert "--data: expected three files, the training," in complaint("--data", *paths[:2])
    assert "--models: expected at least one" in complaint("--models")
    assert "No such file" in complaint("--data", *paths[:2], tmp_path / "none.txt")


# --- Its own functions ----------------------------------------------------------------------------


def evaluate(node):
    """The value of an operation, by recursion."""
    if not node.children:
        return int(node.x.word)
    values = [evaluate(child) for child in node.children]
    assert 2 <= len(values) <= 3
    return {
        "MAX": max(values),
        "MIN": min(values),
        "MED": sorted(values)[len(values) // 2],
        "SUM": sum(values) % 10,
    }[node.x.word]


def height(node):
    return max((1 + height(child) for child in node.children), default=0)


def test_list_operations(data):
    """Values and depths by recursion; held-out trees are in no other set."""
    split = data.make_split(30, 3, 5, seed=0, held_out=20)
    assert [len(part) for part in split] == [90, 30, 100]
    texts = []
    for part, most in zip(split, (3, 3, 5), strict=True):
        assert {item.depth for item in part} == set(range(1, most + 1))
        for item in part:
            assert height(item.root) == item.depth
            for node, _, _ in data.walk(item.root):
                assert evaluate(node) == int(node.x.label)
        texts.append([" ".join(token for token, _ in data.flatten(i.root)) for i in part])
    training, validation, test = texts
    assert len({*validation, *test}) == len(validation) + len(test)
    assert not {*training} & {*validation, *test}
    assert len(data.make_split(3000, 1, 2, 0, 200).training) == 3000  # there are 4,400 of depth 1


def test_a_flat_tree_has_its_tokens_and_the_nodes_are_in_the_same_order(data):
    root = parse_tree("(3 (2 It) (4 (4 works) (2 .)))", data.Label)
    tokens = [("(", None), ("It", "2"), ("(", None), ("works", "4"), (".", "2"), (")", "4")]
    assert data.flatten(root) == [*tokens, (")", "3")]
    split = data.Split(*[[data.Item(root, 2, "")]] * 3)
    encoder = data.make_encoder(split, 1)
    assert encoder.labels == ["2", "3", "4"] and encoder.arity == 2
    [nodes] = encoder([split.test[0]], flat=False, root_only=False)
    [flat] = encoder([split.test[0]], flat=True, root_only=False)
    expected = post_order(parse_tree("(3 (2 It) (4 (4 works) (2 .)))", lambda label, _: int(label)))
    assert nodes.steps["label"].tolist() == (expected.x - 2).tolist()
    assert nodes.steps["inputs"].back.tolist() == expected.back.tolist()
    kept = flat.steps["label"][flat.steps["counts"]]
    assert kept.tolist() == nodes.steps["label"].tolist() and nodes.steps["counts"].all()
    ids = nodes.steps["inputs"].x
    assert ids[2] != ids[0] and ids[3] == ids[4] == encoder.ids[None] > 0
    [only] = encoder([split.test[0]], flat=False, root_only=True)
    assert only.steps["counts"].tolist() == [False] * 4 + [True]
    unknown = Node(data.Label("2", "never"))
    assert encoder([data.Item(unknown, 0, "")], True, False)[0].steps["inputs"].tolist() == [0]


def test_deep_trees_need_no_recursion(data, tmp_path):
    path = tmp_path / "deep.txt"
    path.write_text("(1 " * 3000 + "(0 x)" + ")" * 3000)
    [item] = data.read_trees(path)
    assert item.depth == 3000 and len(data.flatten(item.root)) == 6001


def test_the_recursive_tanh_network_is_that_of_the_paper(models):
    cell = models.recursive_tanh(3, 2)
    params = cell.init(jax.random.key(0), np.ones(4, np.float32))
    params["b"] = np.array([0.1, -0.2, 0.3], np.float32)
    x, h = np.linspace(-1, 1, 4, dtype=np.float32), np.ones((2, 3), np.float32) * [[0.5], [-1.0]]
    children = importlib.import_module("recur.lift").Children(h, np.ones(2, bool))
    found, y = cell.step(params, children, x)
    U, W = np.asarray(params["U"]), np.asarray(params["W"])
    expected = np.tanh(h[0] @ U[:3] + h[1] @ U[3:] + x @ W + params["b"])
    np.testing.assert_allclose(found, expected, rtol=1e-5)
    np.testing.assert_array_equal(found, y)
