"""Handwriting from the command line: runs, resuming, errors, and its own functions."""

import importlib
import itertools
import json
import re
import signal

import jax
import jax.numpy as jnp
import numpy as np
import pytest

SCRIPT = "handwrite"
LESS = ["--quick", "--batch-size", "8"]


@pytest.fixture(scope="module")
def data(scripts):
    return importlib.import_module("handwrite_data")


@pytest.fixture(scope="module")
def models(scripts):
    return importlib.import_module("handwrite_models")


def results(folder):
    return json.loads((folder / "results.json").read_text())


def test_writes_a_text_by_default(command, complaint, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    printed = command(*LESS, "--layers", "1")
    assert "Results and pictures are in runs/handwrite-1." in printed
    folder = tmp_path / "runs" / "handwrite-1"
    [row] = results(folder)
    names = ["errors, test set", "errors, written with bias 0", "errors, written with bias 1"]
    assert list(row)[2:] == names and all(np.isfinite(value) for value in row.values())
    assert (folder / "samples.png").read_bytes().startswith(b"\x89PNG")
    assert (folder / "samples.svg").read_text().startswith("<svg ")
    lines = (folder / "read.tsv").read_text().splitlines()
    assert lines[0].split("\t") == ["text", *names] and len(lines) == 9
    output = tmp_path / "it.svg"
    given = ["write", "--run", folder, "--output", output]
    assert "it.svg: 2 texts." in command(*given, "--texts", "ab cd", "e", "--bias", "0.5")
    assert output.read_text().startswith("<svg ")
    assert "--texts: expected characters of the training texts" in complaint(*given, "--texts", "é")
    assert "--texts: expected at least one text, got none" in complaint(*given, "--texts")


def test_resumed_without_a_text_it_gives_the_same_numbers(
    command, complaint, tmp_path, monkeypatch
):
    handwrite, calls = importlib.import_module("handwrite"), itertools.count()
    options = ["--no-conditioned", *LESS, "--texts", "ab", "--report-every", "1"]

    def stop_at_the_third_report(name):
        def show(metrics):
            if next(calls) == 2:
                signal.raise_signal(signal.SIGINT)
            return ""

        return show

    with monkeypatch.context() as patch:
        patch.setattr(handwrite, "show_progress", stop_at_the_third_report)
        patch.setattr(signal, "getsignal", lambda _: signal.default_int_handler)
        assert "stopped. The same --run resumes" in complaint(*options, "--run", tmp_path / "a")
    assert not (tmp_path / "a" / "results.json").exists()
    command("--run", tmp_path / "a")
    command(*options, "--run", tmp_path / "b")
    for name in ("results.json", "samples.svg", "writer/metrics.jsonl"):
        assert (tmp_path / "a" / name).read_text() == (tmp_path / "b" / name).read_text()
    assert not (tmp_path / "a" / "window.png").exists()


POINTS = "dx,dy,pen_up\n0,0,0\n1,0,0\n1,1,1\n"
WRONG = [
    ("a.csv\tab\n", POINTS.replace("1,1,1", "1,1,0"), "a.csv:4: expected strokes that end with p"),
    ("a.csv\tab\n", POINTS.replace("1,0,0", "1,x,0"), "a.csv:3: expected three numbers"),
    ("a.csv\tab\nb.csv\tab\n", POINTS, "train.tsv:2: [Errno 2] No such file"),
    (
        "a.csv\tab\n",
        "dx,dy,pen_up\n0,0,0\n0,0,1\n",
        "train.tsv:1 (a.csv): expected strokes of seve",
    ),
    ("a.csv ab\n", POINTS, "train.tsv:1: expected a file, a tab and a transcript"),
    ("", POINTS, "train.tsv: expected"),
    ("a.csv\tcd\n", POINTS, "valid.tsv:1 (a.csv): expected characters of the training texts"),
]


@pytest.mark.parametrize(("table", "points", "message"), WRONG)
def test_wrong_files(complaint, tmp_path, table, points, message):
    paths = [tmp_path / f"{name}.tsv" for name in ("train", "valid", "test")]
    for path in paths:
        path.write_text("a.csv\tab\n")
    paths[0].write_text(table)
    (tmp_path / "a.csv").write_text(points)
    given = ["--data", *paths, "--texts", table[6:7] or "a"]
    assert message in complaint(*given, "--run", tmp_path / "run")
    assert not (tmp_path / "run").exists()


def test_wrong_combinations(complaint, tmp_path):
    made = [*LESS, "--run", tmp_path / "run"]
    assert "--data: expected three files, the training," in complaint("--data", tmp_path / "a.tsv")
    assert "--texts: expected at least one text, got none" in complaint("--texts")
    assert "got 'É'" in complaint("--texts", "ÉÉ", "--examples", 16, "--run", tmp_path / "run")
    assert "--bias: expected at least 0, got -1" in complaint(*made, "--bias", "-1")
    assert not (tmp_path / "run").exists()


# --- Its own functions ----------------------------------------------------------------------------


def test_made_texts_may_have_letters_that_the_training_set_lacks(data):
    points = np.array([[0, 0, 0], [3, 0, 0], [0, 1, 1]], np.float32)
    items = [data.Item(points, "ba", "here")]
    encoder = data.make_encoder(items, True, data.strokes.ALPHABET)
    assert not encoder.vocabulary.unknown_in("hello world jq")
    with pytest.raises(ValueError, match="expected characters of the training texts"):
        data.make_encoder(items, True).text("abc", "--texts")


def test_steps_of_the_pen_and_back(data, models):
    points = np.array([[0, 0, 0], [3, 0, 0], [0, 1, 1], [-2, 0, 0], [0, -2, 1]], np.float32)
    items = [data.Item(points, "ba", "here")]
    encoder = data.make_encoder(items, conditioned=True)
    scale = np.array([3, 0, 0, 1, -2, 0, 0, -2]).std()
    assert encoder.scale == pytest.approx(scale)
    [example] = encoder(items)
    moves = np.array([[3, 0], [0, 1], [-2, 0], [0, -2], [0, 0]]) / scale
    np.testing.assert_allclose(example.steps["move"], moves, rtol=1e-6)
    assert example.steps["pen"].tolist() == [0, 1, 0, 1, 2]
    np.testing.assert_array_equal(example.steps["input"][0], models.BEGIN)
    flags = [[1, 0], [0, 0], [1, 0], [0, 0], [1, 0]]
    np.testing.assert_array_equal(example.steps["input"][:, 2:], flags)
    np.testing.assert_allclose(example.steps["input"][1:, :2], moves[:-1], rtol=1e-6)
    assert example.context["text"].steps.tolist() == [*encoder.vocabulary.encode("ba"), 0]
    more = np.concatenate([encoder.steps(points), np.ones((2, 4))])
    np.testing.assert_allclose(encoder.strokes(more), points, atol=1e-6)
    [frames] = encoder.for_reader([points[:4]])
    assert frames.shape == (2, 6) and not frames[1, 3:].any()
    assert encoder.for_reader([points[:1]])[0].shape == (1, 6)


def test_an_svg_has_a_line_for_each_stroke(data):
    points = np.array([[0, 0, 0], [3, 0, 0], [0, 1, 1], [-2, 0, 0], [0, -2, 1]], float)
    lines = re.findall(r'points="([^"]*)"', data.to_svg([points, points]))
    assert len(lines) == 4
    assert lines[:2] == ["1.00,2.00 4.00,2.00 4.00,1.00", "2.00,1.00 2.00,3.00"]
    assert lines[3] == "2.00,4.00 2.00,6.00"  # the second text is below the first


def test_a_bias_narrows_the_components_and_favors_the_likely_one(models):
    """Against the frequencies and the spread of the equations in the paper."""
    mixture = jnp.array([0.0, 1.0]), jnp.array([[-50.0, 0], [50.0, 0]]), jnp.full((2, 2), 2.0)
    y = models.Written(mixture, jnp.array([0.0, 1.0, -1.0]), jnp.zeros(0))
    keys = jax.random.split(jax.random.key(0), 4000)
    for bias in (0.0, 1.5):
        draws = np.asarray(jax.vmap(lambda key, b=bias: models.next_step(b, y, key))(keys))
        share = 1 / (1 + np.exp(-(1 + bias)))
        assert np.mean(draws[:, 0] > 0) == pytest.approx(share, abs=0.03)
        assert draws[:, 1].std() == pytest.approx(2 * np.exp(-bias), rel=0.05)
        pen = np.exp(np.array([0.0, 1.0, -1.0]) * (1 + bias))
        np.testing.assert_allclose(draws[:, 2:].mean(0), pen[1:] / pen.sum(), atol=0.03)


def test_a_text_ends_with_the_window(models):
    """On the end, or on the last character if the pen says so, but never before."""
    y = models.Written((jnp.zeros(1), jnp.zeros((1, 2)), jnp.ones((1, 2))), jnp.eye(3)[2] * 9, 0)
    y = y._replace(weights=jnp.ones(2))
    assert models.next_step(0.0, y, jax.random.key(0))[3] == 0
    at, says = np.eye(3)[[0, 0, 1, 1, 2, 2]], np.eye(3)[[0, 2, 0, 0, 0, 0]] * 9
    assert models.find_end(says, at) == 4
    assert models.find_end(np.eye(3)[[0, 2, 0, 2, 0, 0]] * 9, at) == 3
    assert models.find_end(says[:4], at[:4]) == 4


def test_outputs_are_split_as_the_equations_say(models):
    y = jnp.arange(13.0) / 10
    (logits, means, stddevs), pen, _ = models.split_outputs(y, jnp.zeros(0))
    np.testing.assert_allclose(logits, [0, 0.1])
    np.testing.assert_allclose(means, [[0.2, 0.3], [0.6, 0.7]], rtol=1e-6)
    expected = models.NARROWEST + np.exp([[0.4, 0.5], [0.8, 0.9]])
    np.testing.assert_allclose(stddevs, expected, rtol=1e-6)
    np.testing.assert_allclose(pen, [1.0, 1.1, 1.2], rtol=1e-6)


def test_made_texts_have_their_letters_and_length(data):
    handwrite = importlib.import_module("handwrite")
    items = data.make_items(60, handwrite.Options(longest=9), part=0)
    assert all(1 < len(item.text) <= 10 and item.text == item.text.strip() for item in items)
    assert len(set("".join(item.text for item in items))) == 27
    again = data.make_items(60, handwrite.Options(longest=9), part=1)
    assert not {i.text for i in items} & {i.text for i in again if len(i.text) > 4}
